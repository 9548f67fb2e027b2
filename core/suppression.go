package core

import (
	"context"
	"crypto/hmac"
	"errors"
	"time"

	"github.com/passmend/passmend/tenants"
)

// SuppressionReason says why an address is on an account's suppression list.
type SuppressionReason string

// The closed list of reasons for a suppression.
const (
	SuppressionBounced    SuppressionReason = "bounced"
	SuppressionComplained SuppressionReason = "complained"
	SuppressionManual     SuppressionReason = "manual"
)

// Suppression is an address that no mail of an account goes to. The address itself
// is not in it: it is known by the digest that requests have.
type Suppression struct {
	ID            SuppressionID
	Account       tenants.AccountID
	AddressDigest []byte // keyed per account, 32 bytes, as Request.AddressDigest
	Reason        SuppressionReason
	Provider      string // whose report it was; empty for SuppressionManual
	User          UserID // who had the address; empty: not known
	// Address is the user's if it still is the one that is suppressed, else the zero
	// value. Set by SuppressionList; a store gives the user's present address.
	Address Address
	Created time.Time
}

// SuppressionQuery chooses suppressions of an account.
type SuppressionQuery struct {
	AddressDigest []byte        // when set, the one of that address
	Before        SuppressionID // when set, continues a list after the one of that id
	Limit         int           // 1 to 100
}

// SuppressionFilter chooses suppressions as people do.
type SuppressionFilter struct {
	Address Address // the zero value: any
	Before  SuppressionID
	Limit   int // 1 to 100
}

// SuppressionList is an account's list, for its admins and operators.
type SuppressionList struct {
	Suppressions Suppressions
	Users        Users
	Digester     Digester
	NewID        func() string
}

// Add puts an address on the list. One that is there stays as it is, and fresh is
// false.
func (l *SuppressionList) Add(ctx context.Context, account tenants.AccountID, address Address) (found Suppression, fresh bool, err error) {
	wanted := Suppression{
		ID: SuppressionID(l.NewID()), Reason: SuppressionManual, AddressDigest: l.digest(account, address),
	}
	user, err := l.Users.UserByAddress(ctx, account, address)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Suppression{}, false, err
	}
	wanted.User = user.ID
	found, fresh, err = l.Suppressions.Suppress(ctx, account, wanted)
	return l.shown(found), fresh, err
}

// Suppression gives one; ErrNotFound.
func (l *SuppressionList) Suppression(ctx context.Context, account tenants.AccountID, id SuppressionID) (Suppression, error) {
	found, err := l.Suppressions.Suppression(ctx, account, id)
	return l.shown(found), err
}

// List gives those that the filter chooses, newest first.
func (l *SuppressionList) List(ctx context.Context, account tenants.AccountID, filter SuppressionFilter) ([]Suppression, error) {
	query := SuppressionQuery{Before: filter.Before, Limit: filter.Limit}
	if filter.Address.Reveal() != "" {
		query.AddressDigest = l.digest(account, filter.Address)
	}
	found, err := l.Suppressions.Suppressions(ctx, account, query)
	for i := range found {
		found[i] = l.shown(found[i])
	}
	return found, err
}

// Remove takes one off the list: mails go to its address again. ErrNotFound.
func (l *SuppressionList) Remove(ctx context.Context, account tenants.AccountID, id SuppressionID) error {
	return l.Suppressions.Unsuppress(ctx, account, id)
}

// shown leaves out the address of a user who has another one by now.
func (l *SuppressionList) shown(s Suppression) Suppression {
	if s.Address.Reveal() != "" && !hmac.Equal(l.digest(s.Account, s.Address), s.AddressDigest) {
		s.Address = Address{}
	}
	return s
}

func (l *SuppressionList) digest(account tenants.AccountID, address Address) []byte {
	return l.Digester.Digest(digestAddress, account, []byte(address.Reveal()))
}
