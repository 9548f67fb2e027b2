package serve

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/serve/internal/providerv1"
)

// listener is a provider that reads callbacks.
type listener struct {
	stub
	parse func(sdk.Settings, sdk.Callback) ([]sdk.ProviderEvent, error)
}

func (l *listener) ParseEvent(_ context.Context, s sdk.Settings, c sdk.Callback) ([]sdk.ProviderEvent, error) {
	return l.parse(s, c)
}

func TestEventsCrossTheWireWhole(t *testing.T) {
	t.Parallel()
	var want []sdk.ProviderEvent
	for kind := range eventKinds {
		want = append(want, sdk.ProviderEvent{
			ID: "1", Kind: kind, MessageID: "m", Recipient: "ada@example.com",
			At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Public: "public", Private: "private",
		})
	}
	if len(eventKinds) != len(providerv1.EventKind_name)-1 {
		t.Fatalf("%d kinds of %d", len(eventKinds), len(providerv1.EventKind_name))
	}
	settings := fullRequest().Settings
	callback := sdk.Callback{Headers: []sdk.Header{{Name: "Authorization", Value: "Basic eDp5"}}, Body: []byte{0, 0xff}}
	client := over(t, &listener{parse: func(s sdk.Settings, c sdk.Callback) ([]sdk.ProviderEvent, error) {
		if diff := cmp.Diff(settings, s, cmp.Comparer(secrets)); diff != "" {
			t.Errorf("settings (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(callback, c); diff != "" {
			t.Errorf("callback (-want +got):\n%s", diff)
		}
		return want, nil
	}})
	got, err := client.(sdk.EventParser).ParseEvent(t.Context(), settings, callback)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("events: %v (-want +got):\n%s", err, diff)
	}
	if d, err := client.Describe(t.Context()); err != nil || !d.ParsesEvents {
		t.Errorf("Describe = %+v, %v", d, err)
	}
}

func TestAKindOfEventThatIsNotKnownIsLeftOut(t *testing.T) {
	t.Parallel()
	client := over(t, &listener{parse: func(sdk.Settings, sdk.Callback) ([]sdk.ProviderEvent, error) {
		return []sdk.ProviderEvent{{ID: "1", Kind: "opened"}, {ID: "2", Kind: sdk.Delivered}}, nil
	}})
	got, err := client.(sdk.EventParser).ParseEvent(t.Context(), sdk.Settings{}, sdk.Callback{})
	if err != nil || len(got) != 1 || got[0].ID != "2" {
		t.Errorf("ParseEvent = %+v, %v", got, err)
	}
}

// A plugin of version 1, and any that reads no callbacks, says so.
func TestAProviderThatReadsNoCallbacks(t *testing.T) {
	t.Parallel()
	client := over(t, &stub{})
	_, err := client.(sdk.EventParser).ParseEvent(t.Context(), sdk.Settings{}, sdk.Callback{})
	var failure *sdk.Failure
	if !errors.As(err, &failure) || failure.Kind != sdk.Misconfigured {
		t.Errorf("ParseEvent = %v", err)
	}
	if d, err := client.Describe(t.Context()); err != nil || d.ParsesEvents {
		t.Errorf("Describe = %+v, %v", d, err)
	}
}
