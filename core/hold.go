package core

import (
	"context"
	"time"

	"github.com/passmend/passmend/tenants"
)

// Hold keeps deliveries back: requests are accepted as ever, and what they lead to
// waits. What is under way when a hold begins ends as it would have.
//
//	          hold              release             nothing waits any more
//	(none) ────────► held ─────────────────► draining ───────► (none)
//	                  ▲  ◄──── hold ──────────┘
type Hold struct {
	// Account is whose deliveries wait; empty: everybody's. Of a Provider it is the
	// owner, empty for the platform's.
	Account tenants.AccountID
	// Provider keeps back only what goes to that provider; empty: everything.
	Provider string
	Since    time.Time
	// Released is when it began to drain; zero: nothing goes out.
	Released time.Time
	// Firm: an operator holds it, and an operator lets it go.
	Firm bool
	// Rate is how many deliveries a second drain; 0: as fast as they can.
	Rate int
	// Waiting counts what waits and could go out now but for the hold. UnderWay counts
	// what was claimed before it and has not ended; always 0 with a Provider.
	Waiting, UnderWay int
}

// HoldCount is how many holds of a scope are in a state.
type HoldCount struct {
	Scope string // HoldOfAll, HoldOfAccount or HoldOfProvider
	State string // HoldHeld or HoldDraining
	Holds int64
}

// What a hold is about, and how it stands.
const (
	HoldOfAll      = "all"
	HoldOfAccount  = "account"
	HoldOfProvider = "provider"

	HoldHeld     = "held"
	HoldDraining = "draining"
)

// MostDrained is the highest Rate.
const MostDrained = 10_000

// Holds are the switches. With no account and no provider they are about
// everything, with an account about its deliveries, with a provider about that
// provider of the account, or of the platform.
type Holds interface {
	// Holds lists those of an account and its providers; with no account, that about
	// everything and those about the platform's providers.
	Holds(ctx context.Context, account tenants.AccountID) ([]Hold, error)
	// BeginHold begins a hold, or takes back a release; one that holds already stays as it
	// is, and firm if it was. A claim that begins after it returns gets nothing of it. tenants.ErrUnknown; ErrNotFound for
	// a provider that is not there.
	BeginHold(ctx context.Context, account tenants.AccountID, provider string, firm bool) error
	// EndHold lets what waits go out, rate a second (0: as fast as it can, at most
	// MostDrained); a hold that drains already changes its rate. ErrNotFound when
	// there is no hold; ErrFirmHold when it is firm and who lets go is not.
	EndHold(ctx context.Context, account tenants.AccountID, provider string, rate int, firm bool) error
}
