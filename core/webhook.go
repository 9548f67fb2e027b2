package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

// WebhookConfig is what a WebhookDispatcher works with; what has no default is
// needed.
type WebhookConfig struct {
	Endpoints  Endpoints
	Events     WebhookEvents
	Ledger     Ledger
	Users      Users
	Keys       LinkKeys
	Sealer     Sealer
	Signatures Signatures
	Recipients Recipients
	Wire       Wire
	Plugins    Plugins
	// Plugin is the name of the one that posts events, and Settings are the
	// platform's for it.
	Plugin   string
	Settings sdk.Settings
	// Forbidden gives the networks that no event may go to, in CIDR form, whatever the
	// settings allow; it is asked for every attempt. nil: none.
	Forbidden func(ctx context.Context) []string
	Breakers  Breakers // one for each endpoint, named BreakerOf; nil: none
	// Concurrency is how many attempts one endpoint gets at once; 0 means 4.
	Concurrency int
	// SendTimeout bounds one attempt; 0 means 20 s.
	SendTimeout time.Duration
	Version     string // of the build, in User-Agent
	NewID       func() string
	Now         func() time.Time // stamps signatures; nil: time.Now
	Logger      *slog.Logger     // warns of endpoints that fail; nil: nothing is logged
}

// WebhookDispatcher makes one attempt to tell an endpoint of an event.
type WebhookDispatcher struct {
	c    WebhookConfig
	pace *pace
}

// NewWebhookDispatcher gives a WebhookDispatcher; it starts nothing.
func NewWebhookDispatcher(c WebhookConfig) *WebhookDispatcher {
	if c.Forbidden == nil {
		c.Forbidden = func(context.Context) []string { return nil }
	}
	if c.Breakers == nil {
		c.Breakers = noBreakers{}
	}
	if c.Concurrency == 0 {
		c.Concurrency = defaultConcurrency
	}
	if c.SendTimeout == 0 {
		c.SendTimeout = 20 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &WebhookDispatcher{c: c, pace: newPace(c.Concurrency)}
}

// BreakerOf names an endpoint to Breakers.
func BreakerOf(endpoint EndpointID) string { return "webhook:" + string(endpoint) }

// Dispatch writes the event as it stands now, signs it, hands it to the plugin, and
// says what that came to. An endpoint that was removed, disabled or unsubscribed
// since the event was recorded is not told: its delivery is superseded, and so is one
// whose token is worth nothing any more. An error means that no attempt was made.
func (d *WebhookDispatcher) Dispatch(ctx context.Context, delivery Delivery) (Settlement, error) {
	if !delivery.NotAfter.IsZero() && !delivery.Now.Before(delivery.NotAfter) {
		return Settlement{State: DeliveryExpired}, nil
	}
	turn, wait := d.pace.enter(delivery.Account, delivery.Endpoint)
	if wait > 0 {
		return snooze(delivery, wait), nil
	}
	defer turn.leave()
	call, err := d.prepare(ctx, delivery)
	if errors.Is(err, errNotLive) {
		return Settlement{State: DeliverySuperseded}, nil
	}
	if err != nil {
		return Settlement{}, err
	}
	if wait, ok := d.c.Breakers.Allow(delivery.Account, BreakerOf(call.endpoint.ID)); !ok {
		return snooze(delivery, wait), nil
	}
	return d.attempt(ctx, delivery, call, turn)
}

// webhookCall is an event written down for its endpoint.
type webhookCall struct {
	endpoint Endpoint
	body     []byte
	tokened  bool // it holds a reset token
}

// prepare reads what the attempt needs and writes the body; errNotLive when there is
// nothing to tell, or nobody.
func (d *WebhookDispatcher) prepare(ctx context.Context, delivery Delivery) (webhookCall, error) {
	endpoint, err := d.c.Endpoints.Endpoint(ctx, delivery.Account, delivery.Endpoint)
	if errors.Is(err, ErrNotFound) {
		return webhookCall{}, errNotLive
	}
	if err != nil {
		return webhookCall{}, fmt.Errorf("endpoint of delivery %s: %w", delivery.ID, err)
	}
	event, err := d.c.Events.WebhookEvent(ctx, delivery.Account, delivery.ID)
	if errors.Is(err, ErrNotFound) || err == nil && !endpoint.Wants(event.Event.Name) {
		return webhookCall{}, errNotLive
	}
	if err != nil {
		return webhookCall{}, fmt.Errorf("event of delivery %s: %w", delivery.ID, err)
	}
	if event.Payload, err = d.payload(ctx, delivery, endpoint, event.Event); err != nil {
		return webhookCall{}, err
	}
	body, err := d.c.Wire.EventDocument(event)
	if err != nil {
		return webhookCall{}, fmt.Errorf("write event %s: %w", event.Event.ID, err)
	}
	return webhookCall{endpoint: endpoint, body: body, tokened: event.Event.Name == EventPasswordReset}, nil
}

// payload is what the receiver is told: the user as it is now, and for a reset the
// token, which is computed for this attempt and kept nowhere.
func (d *WebhookDispatcher) payload(ctx context.Context, delivery Delivery, endpoint Endpoint, event Event) (json.RawMessage, error) {
	about, err := d.user(ctx, delivery.Account, event)
	if err != nil {
		return nil, err
	}
	var secrets map[string]tenants.Secret
	if event.Name == EventPasswordReset {
		if about == nil {
			return nil, errNotLive
		}
		if secrets, err = d.token(ctx, delivery, endpoint, *about); err != nil {
			return nil, err
		}
	}
	told, err := payload(d.c.Wire, event, about, secrets)
	if err != nil {
		return nil, fmt.Errorf("payload of event %s: %w", event.ID, err)
	}
	return told, nil
}

// user gives whom the event is about; nil for nobody, or nobody any more.
func (d *WebhookDispatcher) user(ctx context.Context, account tenants.AccountID, event Event) (*User, error) {
	if event.User == "" {
		return nil, nil
	}
	user, err := d.c.Users.User(ctx, account, event.User)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("user of event %s: %w", event.ID, err)
	}
	return &user, nil
}

// token gives the member that holds the reset token, encrypted for an endpoint that
// has a key of its own; errNotLive when the link is spent or was made for an older
// credential.
func (d *WebhookDispatcher) token(ctx context.Context, delivery Delivery, endpoint Endpoint, user User) (map[string]tenants.Secret, error) {
	request, err := linkRequest(ctx, d.c.Ledger, delivery.Account, delivery.Request)
	if errors.Is(err, ErrNotFound) {
		return nil, errNotLive
	}
	if err != nil {
		return nil, err
	}
	if request.Link.Seed == (Seed{}) || !request.Spent.IsZero() || request.Link.CredentialVersion != user.CredentialVersion {
		return nil, errNotLive
	}
	token, err := mintToken(d.c.Keys, user, request.Link)
	if err != nil {
		return nil, err
	}
	const member = "passwordResetToken"
	if endpoint.Recipient == "" {
		return map[string]tenants.Secret{member: token}, nil
	}
	sealed, err := d.c.Recipients.SealTo(endpoint.Recipient, []byte(token.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("encrypt to webhook endpoint %s: %w", endpoint.ID, err)
	}
	return map[string]tenants.Secret{member: {}, "sealedPasswordResetToken": tenants.NewSecret(sealed)}, nil
}

// attempt signs and posts the body once.
func (d *WebhookDispatcher) attempt(ctx context.Context, delivery Delivery, call webhookCall, turn *turn) (Settlement, error) {
	headers, err := d.signedHeaders(ctx, call, delivery)
	if err != nil {
		return Settlement{}, err
	}
	if err := ctx.Err(); err != nil {
		return Settlement{}, err // nothing was sent, and that is known
	}
	bounded, cancel := context.WithTimeout(ctx, d.c.SendTimeout)
	defer cancel()
	begun := time.Now()
	receipt, err := d.c.Plugins.Send(bounded, d.c.Plugin, sdk.SendRequest{
		IdempotencyKey: string(delivery.ID),
		Settings:       d.c.Settings,
		Event:          &sdk.Event{URL: call.endpoint.URL, Headers: headers, Body: call.body, Forbidden: d.c.Forbidden(bounded)},
	})
	took := time.Since(begun)
	turn.took(took, err)
	if ctx.Err() == nil { // else it was broken off here, which says nothing about the endpoint
		d.c.Breakers.Report(delivery.Account, BreakerOf(call.endpoint.ID), healthy(err))
	}
	settlement := settleWebhook(delivery, call.tokened, d.c.Plugin, receipt, err, took)
	return d.judge(ctx, settlement, delivery, call.endpoint, err)
}
