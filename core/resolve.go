package core

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/passmend/passmend/tenants"
)

// MaxLiveLinks is how many unexpired links a user can have (contract.md, R7).
const MaxLiveLinks = 3

// AccountFinder gives an account by id or slug; tenants.Resolver does.
type AccountFinder interface {
	Resolve(ctx context.Context, ref string) (tenants.Account, error)
}

// Resolver finds the user behind a request, where nobody outside can see or time
// it, and plans what follows.
type Resolver struct {
	Accounts AccountFinder
	Ledger   Ledger
	Users    Users
	Sealer   Sealer
	Keys     LinkKeys
	NewID    func() string
	// Coalesce is the time within which a repeat re-sends the link that is already
	// out; 0: never.
	Coalesce time.Duration
}

// Resolve gives the plan for the request of a resolve delivery. It writes nothing.
func (r *Resolver) Resolve(ctx context.Context, delivery Delivery) (Plan, error) {
	account, err := r.Accounts.Resolve(ctx, string(delivery.Account))
	if err != nil {
		return Plan{}, fmt.Errorf("account of request %s: %w", delivery.Request, err)
	}
	request, err := r.Ledger.Request(ctx, account.ID, delivery.Request)
	if err != nil {
		return Plan{}, fmt.Errorf("request %s: %w", delivery.Request, err)
	}
	canonical, err := r.Sealer.Open(account.ID, string(request.ID), request.SealedAddress)
	if err != nil {
		return Plan{}, fmt.Errorf("open address of request %s: %w", request.ID, err)
	}
	address := Address{tenants.NewSecret(string(canonical))}
	if !address.Fits() {
		return Plan{Request: request.ID, Suppress: ReasonAddressTooLong}, nil
	}
	user, err := r.Users.UserByAddress(ctx, account.ID, address)
	if errors.Is(err, ErrNotFound) {
		return Plan{Request: request.ID, Suppress: ReasonUnknownUser}, nil
	}
	if err != nil {
		return Plan{}, fmt.Errorf("user of request %s: %w", request.ID, err)
	}
	return r.plan(account, request, user), nil
}

func (r *Resolver) plan(account tenants.Account, request Request, user User) Plan {
	plan := Plan{
		Request:  request.ID,
		User:     user.ID,
		Link:     LinkSeed{Key: r.Keys.PrimaryLinkKey(), CredentialVersion: user.CredentialVersion},
		LinkLife: account.LinkLife,
		MaxLive:  MaxLiveLinks,
		Coalesce: r.Coalesce,
		Event: Event{
			ID: EventID(r.NewID()), Name: EventPasswordReset,
			User: user.ID, Request: request.ID,
			Facts: json.RawMessage(`{"meta":{"passwordResetToken":"[redacted]"}}`),
		},
	}
	_, _ = rand.Read(plan.Link.Selector[:]) // never fails (crypto/rand, Go 1.24)
	_, _ = rand.Read(plan.Link.Seed[:])
	if request.Deliver {
		plan.Mail = &NewDelivery{ID: DeliveryID(r.NewID()), Margin: linkMargin(account.LinkLife)}
	}
	return plan
}

// linkMargin is how long before a link's expiry no more mail with it goes out: a
// dead link never reaches an inbox.
func linkMargin(life time.Duration) time.Duration { return min(5*time.Minute, life/4) }
