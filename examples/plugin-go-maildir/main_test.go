package main

import (
	"encoding/json"
	netmail "net/mail"
	"os"
	"path/filepath"
	"testing"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/sdktest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	settings := func(directory string) sdk.Settings {
		values, err := json.Marshal(map[string]string{"directory": directory})
		if err != nil {
			t.Fatal(err)
		}
		return sdk.Settings{Values: values}
	}
	sdktest.ExerciseProvider(t, sdktest.Target{
		Provider: provider{},
		Name:     "maildir",
		Settings: settings(dir),
		Refused: []sdktest.Refused{
			{Case: "no folder", Settings: settings(""), Names: "directory"},
			{Case: "a folder that does not exist", Settings: settings(filepath.Join(dir, "none")), Names: "directory"},
		},
		Scripted: map[sdk.Outcome]sdk.Settings{sdk.Misconfigured: settings("/nonexistent/maildir")},
		Inbox:    func() []sdktest.Sent { return read(t, dir) },
	})
}

// read gives the mails of a Maildir.
func read(t *testing.T, dir string) []sdktest.Sent {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var all []sdktest.Sent
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sent, err := sdktest.ParseMail(raw, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range sent.Header {
			if to, err := netmail.ParseAddress(h.Value); h.Name == "To" && err == nil {
				sent.To = to.Address
			}
		}
		all = append(all, sent)
	}
	return all
}
