package smtp

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/smtp/smtptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testLink = "https://reset.example.com/r/AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA"

// newProvider gives a provider whose connections end with the test.
func newProvider(t *testing.T) *Provider {
	t.Helper()
	p := New()
	t.Cleanup(p.Close)
	return p
}

func testMail() *sdk.Mail {
	return &sdk.Mail{
		From:      sdk.Mailbox{Name: "Acme", Address: "noreply@acme.example"},
		To:        sdk.Mailbox{Name: "Ada Lovelace", Address: "ada@example.com"},
		Subject:   "Choose a new password",
		Text:      "Hello,\n\n" + testLink + "\n\nIt works for an hour.\n",
		HTML:      `<p>Hello,</p><p><a href="` + testLink + `">Choose</a></p><img src="cid:logo@acme">`,
		MessageID: "0197c0de@mail.acme.example",
		Facts:     sdk.Facts{Template: "reset", Locale: "en", Link: sdk.NewSecret(testLink)},
	}
}

func requestTo(settings []byte, mail *sdk.Mail) sdk.SendRequest {
	return sdk.SendRequest{IdempotencyKey: "key-1", Settings: sdk.Settings{Values: settings}, Mail: mail}
}

func withPassword(request sdk.SendRequest, password string) sdk.SendRequest {
	request.Settings.Secrets = map[string]sdk.Secret{"password": sdk.NewSecret(password)}
	return request
}

func scriptedSettings(s *smtptest.Scripted) []byte {
	return fmt.Appendf(nil, `{"host":%q,"port":%d,"tls":"none"}`, s.Host, s.Port)
}

// pipelining is an answer to EHLO that offers it.
const pipelining = "250-smtp.test\r\n250-PIPELINING\r\n250 8BITMIME"

// eachWay runs test with a server's answer to EHLO that offers PIPELINING, and with
// the usual one, which does not.
func eachWay(t *testing.T, name string, test func(t *testing.T, greeted string)) {
	t.Helper()
	for way, greeted := range map[string]string{
		"at once": pipelining, "one by one": "",
	} {
		t.Run(name+" "+way, func(t *testing.T) {
			t.Parallel()
			test(t, greeted)
		})
	}
}

// kindOf is the outcome of err, Accepted for nil.
func kindOf(err error) sdk.Outcome {
	if err == nil {
		return sdk.Accepted
	}
	return sdk.FailureOf(err).Kind
}
