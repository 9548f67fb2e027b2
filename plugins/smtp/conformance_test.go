package smtp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/sdktest"
	"github.com/passmend/passmend/plugins/sdk/serve"
	"github.com/passmend/passmend/plugins/smtp"
	"github.com/passmend/passmend/plugins/smtp/smtptest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"in process", "over the wire"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			own := smtp.New()
			t.Cleanup(own.Close)
			var provider sdk.Provider = own
			if way == "over the wire" {
				over, stop, err := serve.Loopback(own)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(stop)
				provider = over
			}
			sdktest.ExerciseProvider(t, conformanceTarget(t, provider))
		})
	}
}

func conformanceTarget(t *testing.T, provider sdk.Provider) sdktest.Target {
	t.Helper()
	password := func(value string) map[string]sdk.Secret {
		return map[string]sdk.Secret{"password": sdk.NewSecret(value)}
	}
	server := smtptest.Start(t, smtptest.Options{TLS: "starttls", Users: map[string]string{"ada": "right-password"}})
	stalled := smtptest.StartScripted(t, func(int, string) string { return smtptest.Hang })
	settings := server.Settings(`,"username":"ada"`)
	return sdktest.Target{
		Provider: provider,
		Name:     "smtp",
		Settings: sdk.Settings{Values: settings, Secrets: password("right-password")},
		Stalled:  scripted(stalled),
		Scripted: failing(t),
		Refused: []sdktest.Refused{
			{Case: "no host", Settings: sdk.Settings{Values: []byte(`{}`)}, Names: "host"},
			{Case: "wrong port", Settings: sdk.Settings{Values: []byte(`{"host":"a.example","port":0}`)}, Names: "port"},
			{Case: "plain to the outside", Settings: sdk.Settings{Values: []byte(`{"host":"a.example","tls":"none"}`)}, Names: "tls"},
			{Case: "wrong password", Settings: sdk.Settings{Values: settings, Secrets: password("wrong-password")}, Names: "password"},
		},
		Inbox: smtptest.Inbox(server, func(message smtptest.Message) sdktest.Sent {
			parsed, err := sdktest.ParseMail(message.Raw, strings.Join(message.To, ","))
			if err != nil {
				t.Errorf("a mail cannot be read: %v", err)
			}
			return parsed
		}),
	}
}

// failing is a server for each class of failure.
func failing(t *testing.T) map[sdk.Outcome]sdk.Settings {
	t.Helper()
	servers := make(map[sdk.Outcome]sdk.Settings)
	for outcome, script := range map[sdk.Outcome][2]string{
		sdk.RecipientRefused:     {"RCPT", "550 5.1.1 no such user"},
		sdk.ContentRefused:       {smtptest.Dot, "554 5.7.1 spam"},
		sdk.Misconfigured:        {"MAIL", "550 5.1.8 not your domain"},
		sdk.AuthenticationFailed: {"MAIL", "530 5.7.0 log in first"},
		sdk.RateLimited:          {"RCPT", "450 4.7.28 slow down"},
		sdk.QuotaExhausted:       {"MAIL", "550 5.4.5 enough for today"},
		sdk.Temporary:            {"RCPT", "451 4.7.1 greylisted"},
		sdk.Unknown:              {smtptest.Dot, smtptest.Close},
	} {
		servers[outcome] = scripted(smtptest.StartScripted(t, func(_ int, verb string) string {
			if verb == script[0] {
				return script[1]
			}
			return ""
		}))
	}
	return servers
}

func scripted(s *smtptest.Scripted) sdk.Settings {
	return sdk.Settings{Values: fmt.Appendf(nil, `{"host":%q,"port":%d,"tls":"none"}`, s.Host, s.Port)}
}
