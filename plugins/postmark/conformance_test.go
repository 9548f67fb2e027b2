package postmark_test

import (
	"testing"

	"github.com/passmend/passmend/plugins/postmark"
	"github.com/passmend/passmend/plugins/postmark/postmarktest"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/sdktest"
	"github.com/passmend/passmend/plugins/sdk/serve"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"in process", "over the wire"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			own := postmark.New()
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
	token := func(value string) map[string]sdk.Secret {
		return map[string]sdk.Secret{"serverToken": sdk.NewSecret(value)}
	}
	server := postmarktest.Start(t, postmarktest.Options{})
	stalled := postmarktest.Start(t, postmarktest.Options{
		Script: func(postmarktest.Request) *postmarktest.Answer { return &postmarktest.Answer{Hang: true} },
	})
	return sdktest.Target{
		Provider: provider,
		Name:     "postmark",
		Settings: sdk.Settings{Values: server.Settings(""), Secrets: token("server-token")},
		Stalled:  sdk.Settings{Values: stalled.Settings(""), Secrets: token("server-token")},
		Refused: []sdktest.Refused{
			{Case: "no token", Settings: sdk.Settings{Values: server.Settings("")}, Names: "serverToken"},
			{Case: "wrong token", Settings: sdk.Settings{Values: server.Settings(""), Secrets: token("wrong")}, Names: "serverToken"},
			{Case: "no such stream", Settings: sdk.Settings{Values: server.Settings(`,"messageStream":"none"`), Secrets: token("server-token")}, Names: "messageStream"},
			{Case: "plain to the outside", Settings: sdk.Settings{Values: []byte(`{"baseUrl":"http://a.example"}`), Secrets: token("server-token")}, Names: "baseUrl"},
		},
		Inbox: func() []sdktest.Sent {
			var sent []sdktest.Sent
			for _, m := range server.Messages() {
				sent = append(sent, sdktest.Sent{MessageID: m.MessageID, To: m.To, Text: m.Text, HTML: m.HTML})
			}
			return sent
		},
	}
}
