package smtp

import (
	"strings"
	"testing"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/smtp/smtptest"
)

// benchMail has about the size of a real one, 5 KB.
func benchMail() *sdk.Mail {
	m := testMail()
	m.Text = strings.Repeat("Somebody asked for a new password for this account.\n", 20)
	m.HTML = strings.Repeat("<p>Somebody asked for a new password for this account.</p>\n", 70)
	return m
}

// BenchmarkSend is one mail after the other over a kept connection; the server's
// half is in the figure.
func BenchmarkSend(b *testing.B) {
	for way, greeted := range map[string]string{"at once": pipelining, "one by one": ""} {
		b.Run(way, func(b *testing.B) {
			server := smtptest.StartScripted(b, func(_ int, verb string) string {
				if verb == "EHLO" {
					return greeted
				}
				return ""
			})
			provider := New()
			defer provider.Close()
			request := requestTo(scriptedSettings(server), benchMail())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := provider.Send(b.Context(), request); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
		})
	}
}
