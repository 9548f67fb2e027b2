package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

// ProviderEvent is what a provider's service told of an earlier message, as support
// and the account's owner see it.
type ProviderEvent struct {
	Provider string    // the configured provider's name
	Kind     string    // an sdk.EventKind
	Detail   string    // public: for the account's owner, at most 256 characters
	At       time.Time // by the service's clock; zero: unknown
}

// ProviderEventRecord is a provider event with its place in time.
type ProviderEventRecord struct {
	ProviderEvent
	Recorded time.Time
}

// Report is a provider event on its way into the ledger, and what follows from it.
type Report struct {
	ProviderEvent
	// MessageID is the provider's own name for the message (sdk.Receipt.MessageID).
	MessageID string
	// Key is 32 bytes, keyed, the same for an event that is told again.
	Key []byte
	// State is what the delivery becomes, unless what it is outranks it: delivered,
	// bounced, complained, each over those before it. Empty: it stays.
	State DeliveryState
	// Suppression, when it has an id, puts the address of the delivery's request on
	// the account's list, unless it is there already.
	Suppression Suppression
	// Event is recorded if the delivery came to State by this report; without id: none.
	// The delivery's user and request are put in.
	Event Event
}

// Callback is one HTTP request of a provider's service.
type Callback struct {
	Headers map[string][]string // names in canonical form (RFC 9110, section 5.1)
	Body    []byte              // at most 1 MiB
}

// forPlugin gives the headers in the order of their names.
func (c Callback) forPlugin() sdk.Callback {
	told := sdk.Callback{Body: c.Body}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		for _, value := range c.Headers[name] {
			told.Headers = append(told.Headers, sdk.Header{Name: name, Value: value})
		}
	}
	return told
}

// ProviderEvents takes what providers' services report of earlier messages.
type ProviderEvents struct {
	Providers ProviderLookup // not a ProviderCache: strangers choose what is looked up
	Parser    EventParser
	Messages  Messages
	Reports   Reports
	Sealer    Sealer
	Digester  Digester
	NewID     func() string
}

// Messages finds whose message it was that a provider of the platform reports of;
// System does.
type Messages interface {
	AccountOfMessage(ctx context.Context, provider, messageID string) (tenants.AccountID, error)
}

// digestProviderEvent is the digest scope of the keys of events.
const digestProviderEvent = "provider-event"

// Take has the plugin read a callback that came for the account's provider of that
// name, or for the platform's when the account has none, and records what it tells.
// Events about no message of ours, or told before, are no error: whoever sends them
// learns nothing. ErrNotFound when there is no such provider or it reads no
// callbacks; ErrUnproven, ErrUnreadable, ErrProviderAway.
//
// An event is a transaction of its own: when one cannot be recorded, those before it
// stay, and the service tells all of them again.
func (p *ProviderEvents) Take(ctx context.Context, account tenants.AccountID, name string, callback Callback) error {
	if !tenants.ValidName(name) {
		return ErrNotFound
	}
	provider, err := findProvider(ctx, p.Providers, account, name)
	if err != nil {
		return fmt.Errorf("provider %s: %w", name, err)
	}
	settings, err := OpenSettings(p.Sealer, provider)
	if err != nil {
		return fmt.Errorf("settings of provider %s: %w", name, err)
	}
	events, err := p.Parser.ParseEvent(ctx, provider.Plugin, settings, callback.forPlugin())
	if err != nil {
		return fmt.Errorf("callback for provider %s: %w", name, refusedCallback(err))
	}
	for _, event := range events {
		if err := p.record(ctx, provider, event); err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("event of provider %s: %w", name, err)
		}
	}
	return nil
}

// refusedCallback tells apart what the caller is told apart. Texts of plugins stay
// out of it: they speak of settings, and nobody has proved yet who asks.
func refusedCallback(err error) error {
	switch sdk.FailureOf(err).Kind {
	case sdk.Misconfigured:
		return ErrNotFound
	case sdk.AuthenticationFailed:
		return ErrUnproven
	case sdk.ContentRefused:
		return ErrUnreadable
	default:
		return ErrProviderAway
	}
}

// record puts an event into the ledger; ErrNotFound when it is about no message of
// the provider's owner. A message of the platform's may be any account's.
func (p *ProviderEvents) record(ctx context.Context, provider Provider, event sdk.ProviderEvent) error {
	if event.MessageID == "" {
		return ErrNotFound
	}
	account := provider.Account
	if account == "" {
		var err error
		if account, err = p.Messages.AccountOfMessage(ctx, provider.Name, event.MessageID); err != nil {
			return err
		}
	}
	_, err := p.Reports.Report(ctx, account, p.report(account, provider, event))
	return err
}

// reactions are what follows from each kind of event; from any other nothing does.
var reactions = map[sdk.EventKind]struct {
	state    DeliveryState
	suppress SuppressionReason
	tell     EventName
}{
	sdk.Delivered:  {state: DeliveryDelivered},
	sdk.Bounced:    {DeliveryBounced, SuppressionBounced, EventBounced},
	sdk.Complained: {DeliveryComplained, SuppressionComplained, EventComplained},
}

func (p *ProviderEvents) report(account tenants.AccountID, provider Provider, event sdk.ProviderEvent) Report {
	report := Report{
		ProviderEvent: ProviderEvent{Provider: provider.Name, Kind: string(event.Kind), Detail: event.Public, At: event.At},
		MessageID:     event.MessageID,
		Key:           p.Digester.Digest(digestProviderEvent, account, eventName(event)),
		State:         reactions[event.Kind].state,
	}
	if event.Recipient != "" {
		report.Detail = strings.ReplaceAll(report.Detail, event.Recipient, "[redacted]")
	}
	if reason := reactions[event.Kind].suppress; reason != "" {
		report.Suppression = Suppression{ID: SuppressionID(p.NewID()), Reason: reason, Provider: provider.Name}
	}
	if tell := reactions[event.Kind].tell; tell != "" {
		facts, err := json.Marshal(map[string]string{"provider": provider.Name, "reason": report.Detail})
		if err != nil {
			facts = []byte(`{}`) // cannot happen: strings always encode
		}
		report.Event = Event{ID: EventID(p.NewID()), Name: tell, Facts: facts}
	}
	return report
}

// eventName is the service's own name for an event, or what tells it from others.
func eventName(event sdk.ProviderEvent) []byte {
	if event.ID != "" {
		return fmt.Appendf(nil, "%q", event.ID)
	}
	return fmt.Appendf(nil, "%q %q %q", event.Kind, event.MessageID, event.Recipient)
}
