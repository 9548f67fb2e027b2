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
		Stalled:  sdk.Settings{Values: fmt.Appendf(nil, `{"host":%q,"port":%d,"tls":"none"}`, stalled.Host, stalled.Port)},
		Refused: []sdktest.Refused{
			{Case: "no host", Settings: sdk.Settings{Values: []byte(`{}`)}, Names: "host"},
			{Case: "wrong port", Settings: sdk.Settings{Values: []byte(`{"host":"a.example","port":0}`)}, Names: "port"},
			{Case: "plain to the outside", Settings: sdk.Settings{Values: []byte(`{"host":"a.example","tls":"none"}`)}, Names: "tls"},
			{Case: "wrong password", Settings: sdk.Settings{Values: settings, Secrets: password("wrong-password")}, Names: "password"},
		},
		Inbox: func() []sdktest.Sent {
			var sent []sdktest.Sent
			for _, message := range server.Messages() {
				parsed := smtptest.Parse(t, message.Raw)
				sent = append(sent, sdktest.Sent{
					MessageID: parsed.MessageID(), To: strings.Join(message.To, ","), Text: parsed.Text, HTML: parsed.HTML,
				})
			}
			return sent
		},
	}
}
