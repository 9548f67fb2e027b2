package webhook_test

import (
	"testing"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/sdktest"
	"github.com/passmend/passmend/plugins/sdk/serve"
	"github.com/passmend/passmend/plugins/webhook"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"in process", "over the wire"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			var provider sdk.Provider = webhook.New()
			if way == "over the wire" {
				over, stop, err := serve.Loopback(provider)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(stop)
				provider = over
			}
			sdktest.ExerciseProvider(t, sdktest.Target{
				Provider: provider,
				Name:     "webhook",
				// The kit's endpoint is on loopback, without TLS.
				Settings: sdk.Settings{Values: []byte(`{"insecure":true}`)},
				Refused: []sdktest.Refused{
					{Case: "a privileged port", Settings: sdk.Settings{Values: []byte(`{"ports":[22]}`)}, Names: "ports"},
					{Case: "an address for a network", Settings: sdk.Settings{Values: []byte(`{"allow":["10.0.0.1"]}`)}, Names: "allow"},
					{Case: "a text for a switch", Settings: sdk.Settings{Values: []byte(`{"insecure":"no"}`)}, Names: "insecure"},
				},
			})
		})
	}
}
