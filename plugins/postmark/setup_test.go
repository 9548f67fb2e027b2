package postmark

import (
	"net/http"
	"testing"

	"go.uber.org/goleak"

	"github.com/passmend/passmend/plugins/postmark/postmarktest"
	"github.com/passmend/passmend/plugins/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testLink  = "https://reset.example.com/r/AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA"
	testToken = "server-token"
)

// newProvider gives a provider whose connections end with the test.
func newProvider(t testing.TB) *Provider {
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

// settingsOf are usable ones for server.
func settingsOf(server *postmarktest.Server, more string) sdk.Settings {
	return sdk.Settings{Values: server.Settings(more), Secrets: secrets("serverToken", testToken)}
}

func secrets(pairs ...string) map[string]sdk.Secret {
	all := make(map[string]sdk.Secret)
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = sdk.NewSecret(pairs[i+1])
	}
	return all
}

func requestTo(server *postmarktest.Server, mail *sdk.Mail) sdk.SendRequest {
	return sdk.SendRequest{IdempotencyKey: "key-1", Settings: settingsOf(server, ""), Mail: mail}
}

// kindOf is the outcome of err, Accepted for nil.
func kindOf(err error) sdk.Outcome {
	if err == nil {
		return sdk.Accepted
	}
	return sdk.FailureOf(err).Kind
}

// tell is all that an error says, to its reader and to the operator.
func tell(err error) string {
	failure := sdk.FailureOf(err)
	return err.Error() + " | " + failure.Public + " | " + failure.Private + " | " + failure.Code
}

// trust makes the provider take the server's certificate.
func trust(p *Provider, server *postmarktest.Server) {
	p.client.http.Transport.(*http.Transport).TLSClientConfig.RootCAs = server.Roots()
}
