package sdktest

import (
	"crypto/rand"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// request makes a mail that no other request of this or an earlier run has the
// Message-ID of.
func (r *run) request(name string) sdk.SendRequest {
	id := name + "." + rand.Text()
	link := "https://reset.example.com/r/AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA"
	return sdk.SendRequest{
		IdempotencyKey: id,
		Settings:       r.Settings,
		TraceParent:    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		Mail: &sdk.Mail{
			From:      sdk.Mailbox{Name: "Acme", Address: r.From},
			To:        sdk.Mailbox{Address: r.To},
			Subject:   "Choose a new password",
			Text:      "Hello,\n\n" + link + "\n\nThe link works for an hour.\n",
			HTML:      `<p>Hello,</p><p><a href="` + link + `">Choose a new password</a></p>`,
			MessageID: id + "@acme.example",
			Headers:   []sdk.Header{{Name: "Auto-Submitted", Value: "auto-generated"}},
			Facts: sdk.Facts{
				Template: "reset", Locale: "en", Link: sdk.NewSecret(link), ExpiresAt: time.Now().Add(time.Hour),
			},
		},
	}
}

// send sends what must be accepted.
func (r *run) send(request sdk.SendRequest) sdk.Receipt {
	r.t.Helper()
	ctx, cancel := r.context()
	defer cancel()
	receipt, err := r.Provider.Send(ctx, request)
	if err != nil {
		r.fatalf("Send: %s", tell(err))
	}
	return receipt
}

// arrived gives what the far side took of a request, after waiting for it; n > 0
// says how many it must be.
func (r *run) arrived(request sdk.SendRequest, n int) []Sent {
	r.t.Helper()
	var got []Sent
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got = got[:0]
		for _, sent := range r.Inbox() {
			if sent.MessageID == request.Mail.MessageID {
				got = append(got, sent)
			}
		}
		if n == 0 || len(got) == n {
			return got
		}
		if len(got) > n || time.Now().After(end) {
			r.fatalf("%d mails arrived with the Message-ID, want %d", len(got), n)
		}
	}
}

// tell is all that an error says, to its reader and to the operator.
func tell(err error) string {
	failure := sdk.FailureOf(err)
	return err.Error() + " " + failure.Public + " " + failure.Private
}
