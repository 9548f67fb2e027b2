package serve

import (
	"strings"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/serve/internal/providerv1"
)

// eventKinds pairs the SDK's kinds with the wire's.
var eventKinds = map[sdk.EventKind]providerv1.EventKind{
	sdk.Delivered:  providerv1.EventKind_EVENT_KIND_DELIVERED,
	sdk.Bounced:    providerv1.EventKind_EVENT_KIND_BOUNCED,
	sdk.Deferred:   providerv1.EventKind_EVENT_KIND_DEFERRED,
	sdk.Complained: providerv1.EventKind_EVENT_KIND_COMPLAINED,
}

func callbackToWire(settings sdk.Settings, callback sdk.Callback) (*providerv1.ParseEventRequest, error) {
	wireSettings, err := settingsToWire(settings)
	if err != nil {
		return nil, err
	}
	headers, err := headersToWire(callback.Headers)
	if err != nil {
		return nil, err
	}
	return &providerv1.ParseEventRequest{Settings: wireSettings, Headers: headers, Body: callback.Body}, nil
}

func callbackFromWire(request *providerv1.ParseEventRequest) sdk.Callback {
	return sdk.Callback{Headers: headersFromWire(request.GetHeaders()), Body: request.GetBody()}
}

func eventsToWire(events []sdk.ProviderEvent) []*providerv1.ProviderEvent {
	var wire []*providerv1.ProviderEvent
	for _, event := range events {
		wire = append(wire, &providerv1.ProviderEvent{
			Id:        strings.ToValidUTF8(event.ID, "?"),
			Kind:      eventKinds[event.Kind],
			MessageId: strings.ToValidUTF8(event.MessageID, "?"),
			Recipient: strings.ToValidUTF8(event.Recipient, "?"),
			AtUnixMs:  timeToWire(event.At),
			Public:    strings.ToValidUTF8(event.Public, "?"),
			Private:   strings.ToValidUTF8(event.Private, "?"),
		})
	}
	return wire
}

// eventsFromWire leaves out kinds that are not known here: a newer plugin may
// report more than this host can use.
func eventsFromWire(wire []*providerv1.ProviderEvent) []sdk.ProviderEvent {
	var events []sdk.ProviderEvent
	for _, event := range wire {
		for kind, wireKind := range eventKinds {
			if wireKind != event.GetKind() {
				continue
			}
			events = append(events, sdk.ProviderEvent{
				ID:        event.GetId(),
				Kind:      kind,
				MessageID: event.GetMessageId(),
				Recipient: event.GetRecipient(),
				At:        timeFromWire(event.GetAtUnixMs()),
				Public:    event.GetPublic(),
				Private:   event.GetPrivate(),
			})
		}
	}
	return events
}
