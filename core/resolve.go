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
	Users    Users
	Sealer   Sealer
	Keys     LinkKeys
	NewID    func() string
	// Coalesce is the time within which a repeat re-sends the link that is already
	// out; 0: never.
	Coalesce time.Duration
	// Limiter keys the recipient limits; Recipient is for an address in its account,
	// RecipientAll for an address over all accounts.
	Limiter      LimitKeys
	Recipient    Limit
	RecipientAll Limit
	// Admins is asked for requests to tenants.RecoverID.
	Admins Admins
}

// LimitKeys stands 16 keyed bytes for whom a limit counts, over all accounts.
type LimitKeys interface {
	LimitKey(scope string, value []byte) []byte
}

// Resolve gives the plan for the request of a resolve delivery. It writes nothing.
func (r *Resolver) Resolve(ctx context.Context, delivery Delivery) (Plan, error) {
	if delivery.Account == tenants.RecoverID {
		return r.resolveRecover(ctx, delivery)
	}
	account, err := r.Accounts.Resolve(ctx, string(delivery.Account))
	if err != nil {
		return Plan{}, fmt.Errorf("account of request %s: %w", delivery.Request, err)
	}
	address, err := openAddress(r.Sealer, delivery, delivery.Asked.SealedAddress)
	if err != nil {
		return Plan{}, err
	}
	if !address.Fits() {
		return Plan{Request: delivery.Request, Suppress: ReasonAddressTooLong}, nil
	}
	user, err := r.Users.UserByAddress(ctx, account.ID, address)
	if errors.Is(err, ErrNotFound) {
		return Plan{Request: delivery.Request, Suppress: ReasonUnknownUser}, nil
	}
	if err != nil {
		return Plan{}, fmt.Errorf("user of request %s: %w", delivery.Request, err)
	}
	return r.plan(account, delivery, user), nil
}

// openAddress gives the address that a delivery's request was made for.
func openAddress(sealer Sealer, delivery Delivery, sealed []byte) (Address, error) {
	canonical, err := sealer.Open(delivery.Account, string(delivery.Request), sealed)
	if err != nil {
		return Address{}, fmt.Errorf("open address of request %s: %w", delivery.Request, err)
	}
	return Address{tenants.NewSecret(string(canonical))}, nil
}

func (r *Resolver) plan(account tenants.Account, delivery Delivery, user User) Plan {
	plan := Plan{
		Request:   delivery.Request,
		User:      user.ID,
		Recipient: user,
		Address:   delivery.Asked.AddressDigest,
		Link:      LinkSeed{Key: r.Keys.PrimaryLinkKey(), CredentialVersion: user.CredentialVersion},
		LinkLife:  account.LinkLife,
		MaxLive:   MaxLiveLinks,
		Coalesce:  r.Coalesce,
		Event: Event{
			ID: EventID(r.NewID()), Name: EventPasswordReset,
			User: user.ID, Request: delivery.Request,
			Facts: json.RawMessage(`{"passwordResetToken":"[redacted]"}`),
		},
	}
	_, _ = rand.Read(plan.Link.Selector[:]) // never fails (crypto/rand, Go 1.24)
	_, _ = rand.Read(plan.Link.Seed[:])
	plan.Budgets = r.budgets(user.Account, user.Address)
	if delivery.Asked.Deliver {
		plan.Mail = &NewDelivery{
			ID: DeliveryID(r.NewID()), Lease: LeaseID(r.NewID()), Margin: linkMargin(account.LinkLife),
		}
	}
	return plan
}

// budgets are what a mail to somebody costs, silently: the caller had its 202.
// They count webhook-only requests too, whose receivers mail the same person.
func (r *Resolver) budgets(account tenants.AccountID, to Address) []Budget {
	address := []byte(to.Reveal())
	var budgets []Budget
	if len(r.Recipient.Rates) > 0 {
		key := r.Limiter.LimitKey("recipient", append([]byte(account+"\x00"), address...))
		budgets = append(budgets, Budget{Key: key, Rates: r.Recipient.Rates, Reason: ReasonRecipientLimit})
	}
	if len(r.RecipientAll.Rates) > 0 {
		budgets = append(budgets, Budget{Key: r.Limiter.LimitKey("recipient-all", address), Rates: r.RecipientAll.Rates, Reason: ReasonRecipientAll})
	}
	return budgets
}

// linkMargin is how long before a link's expiry no more mail with it goes out: a
// dead link never reaches an inbox.
func linkMargin(life time.Duration) time.Duration { return min(5*time.Minute, life/4) }
