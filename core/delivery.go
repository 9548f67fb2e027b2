package core

import (
	"time"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

// Kind is what a delivery does.
type Kind string

// The closed list of kinds. KindResolve finds the user of a request and adds the
// others; it is made with the request, in the same commit. KindAccounts is the mail of
// a request to tenants.RecoverID.
const (
	KindResolve  Kind = "resolve"
	KindMail     Kind = "mail"
	KindAccounts Kind = "accounts"
	KindNotice   Kind = "notice"
	KindWebhook  Kind = "webhook"
)

// EndsRequest says whether the request ends as its delivery of this kind does.
func (k Kind) EndsRequest() bool { return k == KindMail || k == KindAccounts }

// Delivery is one piece of work of the ledger, and what became of it.
type Delivery struct {
	ID      DeliveryID
	Account tenants.AccountID
	Request RequestID // empty for a notice that no request led to
	User    UserID    // empty for KindResolve and KindAccounts
	Kind    Kind
	// Provider is the configured provider that the next attempt goes to; empty:
	// the first of the account's chain.
	Provider string
	// Attempt counts claims, the present one included, so that a delivery that
	// kills its worker is counted too.
	Attempt int
	// Lost counts the leases that lapsed without a result.
	Lost     int
	NotAfter time.Time // zero: none
	Queued   time.Time
	// Now is the database's clock when the delivery was claimed; NotAfter and a
	// link's expiry are judged by it.
	Now         time.Time
	Lease       LeaseID
	TraceParent string // of the request
	// Event and Endpoint are what a KindWebhook tells whom.
	Event    EventID
	Endpoint EndpointID
	// Asked is what the request of a KindResolve asks for.
	Asked *Asked
	// Known is what the resolving found out, when the mail follows it at once; nil for a
	// list of accounts.
	Known *Known
}

// Asked is the part of a Request that its resolving begins with; claimed with the
// delivery, or every request would be read once more.
type Asked struct {
	SealedAddress []byte
	AddressDigest []byte
	Deliver       bool
}

// Known is what a mail needs that follows its resolving at once: nothing is read
// twice that cannot have changed.
type Known struct {
	User    User
	Link    LinkSeed
	Expires time.Time // of the link
}

// Lease is the right to settle a delivery until another worker holds it.
type Lease struct {
	Delivery DeliveryID
	ID       LeaseID
}

// LeaseOf gives the lease that the delivery was claimed under.
func (d Delivery) LeaseOf() Lease { return Lease{Delivery: d.ID, ID: d.Lease} }

// DeliveryState is where a delivery stands. Queued covers waiting and leased.
type DeliveryState string

// The closed list of delivery states. The provider has taken what is done; the
// three after it are what its service reported since.
const (
	DeliveryQueued      DeliveryState = "queued"
	DeliveryDone        DeliveryState = "done"
	DeliveryDelivered   DeliveryState = "delivered"
	DeliveryBounced     DeliveryState = "bounced"
	DeliveryComplained  DeliveryState = "complained"
	DeliveryFailed      DeliveryState = "failed"
	DeliveryExpired     DeliveryState = "expired"
	DeliverySuperseded  DeliveryState = "superseded"
	DeliveryQuarantined DeliveryState = "quarantined"
)

// Settlement is what an attempt came to. The store writes it under the lease, and
// moves a mail's request along with it.
type Settlement struct {
	// State is DeliveryQueued to try again, else an end.
	State  DeliveryState
	Reason Reason // of DeliveryFailed
	// Delay until the next attempt and the Provider it goes to; DeliveryQueued only.
	Delay    time.Duration
	Provider string
	// Attempt is recorded as a row; nil: nothing was tried.
	Attempt *Attempt
	// MessageID is the provider's own name for the message.
	MessageID string
	// Snoozed gives the attempt back: the provider is known to be down and was not
	// asked. DeliveryQueued only.
	Snoozed bool
	// Parked is the provider that is held: the delivery waits until it is released.
	// With Snoozed only.
	Parked ProviderID
	// Event is recorded with the settlement; nil: none. A failover leaves one.
	Event *Event
	// Endpoint is what the attempt says of a webhook's endpoint; nil: nothing.
	Endpoint *EndpointNews
}

// EndpointNews is what an attempt says of an endpoint: that it took the event, or
// failed, and then perhaps that it is to be disabled, with the event that tells so,
// which is recorded if it was not disabled before.
type EndpointNews struct {
	ID      EndpointID
	Healthy bool
	Warned  int            // percent of the way to its being disabled; 0: none
	Disable DisabledReason // empty: it stays as it is
	Event   Event
}

// Attempt is one try, as support and the account's owner see it.
type Attempt struct {
	Provider string
	Outcome  string // an sdk.Outcome
	Detail   string // public: for the account's owner, at most 256 characters
	// Code is the receiving side's status and Answer what a webhook's endpoint said, as
	// in sdk.Receipt; either may be empty.
	Code     string
	Answer   string
	Duration time.Duration
}

// Unknown says whether the attempt may have delivered: nobody can tell.
func (a Attempt) Unknown() bool { return a.Outcome == string(sdk.Unknown) }
