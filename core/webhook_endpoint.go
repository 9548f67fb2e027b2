package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/passmend/passmend/tenants"
)

const (
	// MaxEndpoints is how many endpoints an account can have (threats.md, Abuse limits).
	MaxEndpoints = 20
	// SecretOverlap is how long after a rotation the former secret signs too.
	SecretOverlap = 24 * time.Hour
	// AllEvents subscribes to whatever there is.
	AllEvents EventName = "*"
)

// What an endpoint can be refused for, beside its URL.
var (
	// ErrNoSubscriptions: the list is empty.
	ErrNoSubscriptions = errors.New("subscriptions must not be empty")
	// ErrUnknownEvent: neither AllEvents nor one of EventNames.
	ErrUnknownEvent = errors.New("subscriptions name an event that there is not")
	// ErrUnknownRecipient: no public key that a token can be sealed to.
	ErrUnknownRecipient = errors.New("encryption key must be an age recipient (age1...) or 32 bytes of X25519 in base64")
	// ErrTooManyEndpoints: the account has MaxEndpoints.
	ErrTooManyEndpoints = fmt.Errorf("an account has %d webhook endpoints at most", MaxEndpoints)
	// ErrEndpointGone: what is to be told again has nobody to be told to: its endpoint
	// was removed or is disabled.
	ErrEndpointGone = errors.New("webhook endpoint is gone")
)

// Endpoint is where an account wants to be told of its events.
type Endpoint struct {
	ID            EndpointID
	Account       tenants.AccountID
	URL           string      // as EndpointURLs.Parse gives it
	Subscriptions []EventName // at least one, each once
	Algorithm     SignatureAlgorithm
	APIVersion    string
	// Recipient is the public key that password reset tokens are encrypted to, in its
	// canonical form; empty: they are told in clear.
	Recipient string
	// SealedSecret signs by Standard Webhooks, under the seal key with account and id
	// as associated data; so does SealedFormer until FormerUntil.
	SealedSecret []byte
	SealedFormer []byte    // nil: none
	FormerUntil  time.Time // zero: none

	// Failures counts the attempts in a row that failed, the first of them at
	// FailingSince; Warned is the last of its warnings, in percent of the way to being
	// disabled.
	Failures     int
	FailingSince time.Time // zero: the last attempt succeeded, or there was none
	Warned       int

	Disabled       time.Time // zero: it is told of events
	DisabledReason DisabledReason
	Created        time.Time
	Updated        time.Time
}

// DisabledReason says why an endpoint is told of nothing more.
type DisabledReason string

// The closed list of reasons to disable an endpoint.
const (
	DisabledGone    DisabledReason = "gone"    // it answered 410
	DisabledFailing DisabledReason = "failing" // nothing but failures for days
)

// Wants says whether the endpoint is told of events of that name.
func (e Endpoint) Wants(name EventName) bool {
	return e.Disabled.IsZero() && (slices.Contains(e.Subscriptions, AllEvents) || slices.Contains(e.Subscriptions, name))
}

// Endpoints is one account's webhook endpoints. Lookups answer ErrNotFound.
type Endpoints interface {
	Endpoint(ctx context.Context, account tenants.AccountID, id EndpointID) (Endpoint, error)
	// Endpoints lists newest first, from before (exclusive; empty: the newest).
	Endpoints(ctx context.Context, account tenants.AccountID, before EndpointID, limit int) ([]Endpoint, error)
	// CreateEndpoint stores one: ID, URL, Subscriptions, Algorithm, APIVersion,
	// Recipient and SealedSecret. ErrTooManyEndpoints, also of many at once;
	// tenants.ErrUnknown.
	CreateEndpoint(ctx context.Context, account tenants.AccountID, endpoint Endpoint) (Endpoint, error)
	// UpdateEndpoint replaces URL, Subscriptions, Algorithm, APIVersion and Recipient.
	UpdateEndpoint(ctx context.Context, account tenants.AccountID, endpoint Endpoint) (Endpoint, error)
	// RotateSecret puts another secret in place; the present one becomes the former,
	// until overlap from now.
	RotateSecret(ctx context.Context, account tenants.AccountID, id EndpointID, sealed []byte, overlap time.Duration) (Endpoint, error)
	// EnableEndpoint forgets failures and that the endpoint was disabled.
	EnableEndpoint(ctx context.Context, account tenants.AccountID, id EndpointID) (Endpoint, error)
	DeleteEndpoint(ctx context.Context, account tenants.AccountID, id EndpointID) error
}

// Recipients encrypts to public keys of others.
type Recipients interface {
	// Recipient gives the canonical form of a public key; ErrUnknownRecipient.
	Recipient(typed string) (string, error)
	// SealTo encrypts to a canonical recipient, so that nobody else can read it, and
	// gives printable text.
	SealTo(recipient string, plaintext []byte) (string, error)
}

// EndpointDesk is where an account's webhook endpoints are made and changed.
type EndpointDesk struct {
	Endpoints  Endpoints
	URLs       EndpointURLs
	Recipients Recipients
	Sealer     Sealer
	NewID      func() string
}

// EndpointChange is what somebody wants of an endpoint; nil leaves a field as it is,
// or at its default in a new one: every event, SignatureDefault, the account's
// version, tokens in clear.
type EndpointChange struct {
	URL           *string
	Subscriptions []EventName // nil: as it is; empty is refused
	Algorithm     *SignatureAlgorithm
	APIVersion    *string // one of tenants.APIVersions
	Recipient     *string // empty: tokens in clear
}

// Create makes an endpoint. Its secret is in the answer and nowhere else. Errors are
// those of EndpointURLs.Parse, those of this file, and ErrUnknownAlgorithm.
func (d *EndpointDesk) Create(ctx context.Context, account tenants.Account, want EndpointChange) (Endpoint, tenants.Secret, error) {
	endpoint := Endpoint{
		ID: EndpointID(d.NewID()), Account: account.ID, Subscriptions: []EventName{AllEvents},
		Algorithm: SignatureDefault, APIVersion: account.APIVersion,
	}
	if want.URL == nil {
		return Endpoint{}, tenants.Secret{}, ErrURLInvalid
	}
	if err := d.apply(&endpoint, want); err != nil {
		return Endpoint{}, tenants.Secret{}, err
	}
	secret := newWebhookSecret()
	var err error
	if endpoint.SealedSecret, err = d.seal(account.ID, endpoint.ID, secret); err != nil {
		return Endpoint{}, tenants.Secret{}, err
	}
	endpoint, err = d.Endpoints.CreateEndpoint(ctx, account.ID, endpoint)
	if err != nil {
		return Endpoint{}, tenants.Secret{}, err
	}
	return endpoint, secret, nil
}

// Update changes an endpoint; errors are those of Create, and ErrNotFound.
func (d *EndpointDesk) Update(ctx context.Context, account tenants.AccountID, id EndpointID, want EndpointChange) (Endpoint, error) {
	endpoint, err := d.Endpoints.Endpoint(ctx, account, id)
	if err != nil {
		return Endpoint{}, err
	}
	if err := d.apply(&endpoint, want); err != nil {
		return Endpoint{}, err
	}
	return d.Endpoints.UpdateEndpoint(ctx, account, endpoint)
}

// Rotate gives an endpoint a new secret, which is in the answer and nowhere else. For
// SecretOverlap both sign. ErrNotFound.
func (d *EndpointDesk) Rotate(ctx context.Context, account tenants.AccountID, id EndpointID) (Endpoint, tenants.Secret, error) {
	secret := newWebhookSecret()
	sealed, err := d.seal(account, id, secret)
	if err != nil {
		return Endpoint{}, tenants.Secret{}, err
	}
	endpoint, err := d.Endpoints.RotateSecret(ctx, account, id, sealed, SecretOverlap)
	if err != nil {
		return Endpoint{}, tenants.Secret{}, err
	}
	return endpoint, secret, nil
}

func (d *EndpointDesk) seal(account tenants.AccountID, id EndpointID, secret tenants.Secret) ([]byte, error) {
	sealed, err := d.Sealer.Seal(account, string(id), []byte(secret.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("seal secret of webhook endpoint %s: %w", id, err)
	}
	return sealed, nil
}

// apply puts what is wanted into the endpoint, in the order in which it is refused.
func (d *EndpointDesk) apply(endpoint *Endpoint, want EndpointChange) (err error) {
	if want.URL != nil {
		if endpoint.URL, err = d.URLs.Parse(*want.URL); err != nil {
			return err
		}
	}
	if want.Subscriptions != nil {
		if endpoint.Subscriptions, err = subscriptions(want.Subscriptions); err != nil {
			return err
		}
	}
	if want.Algorithm != nil {
		if endpoint.Algorithm = *want.Algorithm; !endpoint.Algorithm.Valid() {
			return ErrUnknownAlgorithm
		}
	}
	if want.APIVersion != nil {
		endpoint.APIVersion = *want.APIVersion
	}
	if want.Recipient != nil {
		if endpoint.Recipient = *want.Recipient; endpoint.Recipient != "" {
			endpoint.Recipient, err = d.Recipients.Recipient(endpoint.Recipient)
		}
	}
	return err
}

// subscriptions gives each name once, in the order of its first mention.
func subscriptions(names []EventName) ([]EventName, error) {
	var once []EventName
	for _, name := range names {
		if name != AllEvents && !name.Valid() {
			return nil, ErrUnknownEvent
		}
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	if len(once) == 0 {
		return nil, ErrNoSubscriptions
	}
	return once, nil
}
