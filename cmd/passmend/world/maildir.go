package world

import (
	netmail "net/mail"
	"os"
	"path/filepath"

	"github.com/passmend/passmend/plugins/sdk/sdktest"
)

// readMaildir gives the mails of a maildir's new and cur. There is no envelope: the
// recipient is that of Delivered-To, or of To.
func readMaildir(dir string) []sdktest.Sent {
	var all []sdktest.Sent
	for _, folder := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(dir, folder))
		if err != nil {
			continue // not made yet
		}
		for _, entry := range entries {
			raw, err := os.ReadFile(filepath.Join(dir, folder, entry.Name()))
			if err != nil {
				continue // moved meanwhile
			}
			sent := parsed(raw, "")
			for _, name := range []string{"To", "Delivered-To"} {
				for _, h := range sent.Header {
					if address, err := netmail.ParseAddress(h.Value); h.Name == name && err == nil {
						sent.To = address.Address
					}
				}
			}
			all = append(all, sent)
		}
	}
	return all
}
