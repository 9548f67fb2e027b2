package core

import (
	"time"

	"github.com/passmend/passmend/tenants"
)

// Selector finds a request by its link; it proves nothing.
type Selector [8]byte

// Seed is the random part of a link that the row keeps. Without the token key
// it is worth nothing; without it the token key is.
type Seed [16]byte

// KeyID names the token key that a link was made with.
type KeyID uint32

// RequestState is where a request stands; see the drawing in doc.go.
type RequestState string

// The closed list of states. Everything but StatePending is an end, except that
// a sent request may still become redeemed.
const (
	StatePending    RequestState = "pending"
	StateSent       RequestState = "sent"
	StateSuppressed RequestState = "suppressed"
	StateFailed     RequestState = "failed"
	StateExpired    RequestState = "expired"
	StateSuperseded RequestState = "superseded"
	StateRedeemed   RequestState = "redeemed"
)

// Reason says why a request was suppressed or failed; a closed list.
type Reason string

// The closed list of reasons.
const (
	ReasonUnknownUser      Reason = "unknown_user"
	ReasonAddressTooLong   Reason = "address_too_long"
	ReasonSuppressed       Reason = "suppressed_address"  // on the account's suppression list: no mail goes there
	ReasonRecipientLimit   Reason = "recipient_limit"     // too many for the address in this account
	ReasonRecipientAll     Reason = "recipient_limit_all" // too many for the address over all accounts
	ReasonRecipientRefused Reason = "recipient_refused"
	ReasonContentRefused   Reason = "content_refused"
	ReasonMisconfigured    Reason = "misconfigured"
	ReasonNoProvider       Reason = "no_provider"
	ReasonQuarantined      Reason = "quarantined"
	ReasonEndpointGone     Reason = "endpoint_gone"      // a webhook's endpoint answered 410
	ReasonExhausted        Reason = "attempts_exhausted" // a webhook was tried for days
)

// Request is one "I forgot my password".
type Request struct {
	ID      RequestID
	Account tenants.AccountID
	State   RequestState
	Reason  Reason

	// SealedAddress is the canonical address as asked for, under the seal key with
	// account and request id as associated data; nil once the request has ended.
	SealedAddress []byte
	// AddressDigest is keyed per account, 32 bytes, for limits and for support.
	AddressDigest []byte
	Deliver       bool
	TraceParent   string // W3C, may be empty

	// Set when the request is resolved to a user. A repeat that re-sends an
	// earlier link names that request in LinkRequest and has no seed of its own.
	User        UserID
	LinkRequest RequestID
	Link        LinkSeed

	Accepted time.Time
	Expires  time.Time // zero until resolved
	Spent    time.Time // zero until redeemed
	Disputed time.Time // zero until somebody with the link said that they did not ask for it
}

// LinkSeed is what a link is recomputed from, together with the token key.
// Erased when the link is redeemed or disputed, and 24 hours after its expiry.
type LinkSeed struct {
	Selector          Selector
	Seed              Seed
	Key               KeyID
	CredentialVersion int64
}
