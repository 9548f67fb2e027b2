package core

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/passmend/passmend/tenants"
)

// WebhookEvent is an event on its way to one endpoint. What is told again is another
// one about the same event.
type WebhookEvent struct {
	ID       DeliveryID
	Account  tenants.AccountID
	Event    Event
	Endpoint EndpointID
	// URL and APIVersion are the endpoint's when the event was recorded.
	URL        string
	APIVersion string
	State      DeliveryState
	// Payload is what the receiver is told, as JSON; EventDesk fills it in, with
	// [redacted] for a token.
	Payload json.RawMessage
	// Attempts is how many were made; LastCode and LastAnswer are the endpoint's in the
	// last of them, empty when it gave none.
	Attempts   int
	LastCode   string
	LastAnswer string
	Created    time.Time
	Updated    time.Time
}

// IdempotencyToken names an event to one endpoint, however often it is told: 64
// characters that end in v3 (contract.md, A7).
func (e WebhookEvent) IdempotencyToken() string {
	sum := sha256.Sum256([]byte(string(e.Event.ID) + " " + string(e.Endpoint)))
	return hex.EncodeToString(sum[:])[:62] + "v3"
}

// WebhookEventQuery chooses webhook events of an account and lists them by id, which
// is the order of time.
type WebhookEventQuery struct {
	Names  []EventName // empty: every event
	Newest bool        // the newest first, else the oldest
	After  DeliveryID  // continues the list after this one; empty: from its beginning
	Skip   int         // passes over so many
	Limit  int         // 1 to 100
}

// WebhookEvents is one account's webhook events. Lookups answer ErrNotFound.
type WebhookEvents interface {
	WebhookEvent(ctx context.Context, account tenants.AccountID, id DeliveryID) (WebhookEvent, error)
	// WebhookEvents lists those that the query chooses.
	WebhookEvents(ctx context.Context, account tenants.AccountID, query WebhookEventQuery) ([]WebhookEvent, error)
	// WebhookAttempts lists what was tried, oldest first.
	WebhookAttempts(ctx context.Context, account tenants.AccountID, id DeliveryID) ([]AttemptRecord, error)
	// RepeatWebhookEvent queues another one about the same event to the same endpoint.
	// ErrEndpointGone.
	RepeatWebhookEvent(ctx context.Context, account tenants.AccountID, id DeliveryID) (WebhookEvent, error)
	// DeleteWebhookEvent removes it with its attempts; one that waits is not sent.
	DeleteWebhookEvent(ctx context.Context, account tenants.AccountID, id DeliveryID) error
	// UsersByID gives those of the users that are there.
	UsersByID(ctx context.Context, account tenants.AccountID, ids []UserID) (map[UserID]User, error)
}

// Wire writes what receivers of webhooks read: the same resources as the API shows.
type Wire interface {
	UserResource(user User) (json.RawMessage, error)
	EndpointResource(endpoint Endpoint) (json.RawMessage, error)
	// EventDocument is the body of a webhook (contract.md, D). Whatever its state, an
	// event on its way is DELIVERING and has had no answer.
	EventDocument(event WebhookEvent) ([]byte, error)
}

// EventDesk shows an account its webhook events.
type EventDesk struct {
	Events WebhookEvents
	Wire   Wire
}

// Event gives one with its payload; ErrNotFound.
func (d *EventDesk) Event(ctx context.Context, account tenants.AccountID, id DeliveryID) (WebhookEvent, error) {
	event, err := d.Events.WebhookEvent(ctx, account, id)
	if err != nil {
		return WebhookEvent{}, err
	}
	return d.filled(ctx, account, event)
}

// List gives those that the query chooses with their payloads.
func (d *EventDesk) List(ctx context.Context, account tenants.AccountID, query WebhookEventQuery) ([]WebhookEvent, error) {
	events, err := d.Events.WebhookEvents(ctx, account, query)
	if err != nil {
		return nil, err
	}
	return events, d.fill(ctx, account, events)
}

// Attempts lists what was tried, oldest first; ErrNotFound.
func (d *EventDesk) Attempts(ctx context.Context, account tenants.AccountID, id DeliveryID) ([]AttemptRecord, error) {
	return d.Events.WebhookAttempts(ctx, account, id)
}

// Repeat tells the endpoint again; ErrNotFound, ErrEndpointGone.
func (d *EventDesk) Repeat(ctx context.Context, account tenants.AccountID, id DeliveryID) (WebhookEvent, error) {
	event, err := d.Events.RepeatWebhookEvent(ctx, account, id)
	if err != nil {
		return WebhookEvent{}, err
	}
	return d.filled(ctx, account, event)
}

// Delete forgets one; ErrNotFound.
func (d *EventDesk) Delete(ctx context.Context, account tenants.AccountID, id DeliveryID) error {
	return d.Events.DeleteWebhookEvent(ctx, account, id)
}

func (d *EventDesk) filled(ctx context.Context, account tenants.AccountID, event WebhookEvent) (WebhookEvent, error) {
	events := []WebhookEvent{event}
	err := d.fill(ctx, account, events)
	return events[0], err
}

// fill writes the payloads, of users as they are now.
func (d *EventDesk) fill(ctx context.Context, account tenants.AccountID, events []WebhookEvent) error {
	var ids []UserID
	for _, event := range events {
		if event.Event.User != "" {
			ids = append(ids, event.Event.User)
		}
	}
	users, err := d.Events.UsersByID(ctx, account, ids)
	if err != nil {
		return err
	}
	for i, event := range events {
		var about *User
		if user, ok := users[event.Event.User]; ok {
			about = &user
		}
		if events[i].Payload, err = payload(d.Wire, event.Event, about, nil); err != nil {
			return fmt.Errorf("payload of event %s: %w", event.Event.ID, err)
		}
	}
	return nil
}

// payload is what a receiver is told: data and, if there is anything to say, meta.
// secrets take the place of facts of their names, or are put beside them; one that is
// empty takes the fact away.
func payload(wire Wire, event Event, about *User, secrets map[string]tenants.Secret) (json.RawMessage, error) {
	facts := make(map[string]json.RawMessage)
	if len(event.Facts) > 0 {
		if err := json.Unmarshal(event.Facts, &facts); err != nil {
			return nil, fmt.Errorf("facts of event %s are no JSON object", event.ID)
		}
	}
	told := struct {
		Data json.RawMessage            `json:"data"`
		Meta map[string]json.RawMessage `json:"meta,omitempty"`
	}{Data: facts["data"], Meta: facts}
	delete(facts, "data")
	for name, secret := range secrets {
		if delete(facts, name); secret.Reveal() == "" {
			continue
		}
		text, err := json.Marshal(secret.Reveal())
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", name, err)
		}
		facts[name] = text
	}
	if told.Data == nil && about != nil {
		var err error
		if told.Data, err = wire.UserResource(*about); err != nil {
			return nil, fmt.Errorf("resource of user %s: %w", about.ID, err)
		}
	}
	return json.Marshal(told)
}
