package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/passmend/passmend/tenants"
)

// noticeLife is how long the "your password was changed" mail is worth sending.
const noticeLife = 24 * time.Hour

// RedeemConfig is what a Redeemer works with; what is not optional is needed.
type RedeemConfig struct {
	Requests    LinkLookup
	Users       Users
	Redemptions Redemptions
	Keys        LinkKeys
	Passwords   Passwords
	NewID       func() string

	// Digester, when set, lets a reset end the row of wrong passwords at sign-in.
	Digester Digester
	// Ages, when set, tells Upgraded of which algorithm the hash was that a reset replaced
	// by one of today's.
	Ages     PasswordAges
	Upgraded func(from string)
	// Guesses, when set, bounds what is tried with one link.
	Guesses LinkGuesses
}

// LinkGuesses bounds what is tried with one link. It may count by this process alone:
// it saves work, and what it stands before is a tag of 184 bits.
type LinkGuesses interface {
	// Frozen says that so many wrong tags came with the link's selector that not even
	// the right one is looked at for a while. WrongTag counts one.
	Frozen(account tenants.AccountID, selector Selector) bool
	WrongTag(account tenants.AccountID, selector Selector)
	// BadPassword counts a password that the policy refused, of a link that was proved;
	// false when there have been too many.
	BadPassword(account tenants.AccountID, selector Selector) bool
}

// LinkLookup finds a request by its link.
type LinkLookup interface {
	RequestBySelector(ctx context.Context, account tenants.AccountID, selector Selector) (found Request, expired bool, err error)
}

// Redeemer takes a link and a new password.
type Redeemer struct{ c RedeemConfig }

// NewRedeemer gives a Redeemer; it starts nothing.
func NewRedeemer(c RedeemConfig) *Redeemer { return &Redeemer{c} }

// Holder is the user a genuine link belongs to.
type Holder struct {
	User    User
	Request RequestID
	Expires time.Time
}

// Inspect says whose a link is and changes nothing, however often it is asked:
// mail scanners open links. ErrUnknownLink, or ErrExpiredLink together with the
// holder: only a genuine link is told that it is too old.
func (r *Redeemer) Inspect(ctx context.Context, account tenants.Account, raw tenants.Secret) (Holder, error) {
	token, ok := parseToken(raw)
	if !ok {
		return Holder{}, ErrUnknownLink
	}
	request, expired, err := r.c.Requests.RequestBySelector(ctx, account.ID, token.Selector)
	if errors.Is(err, ErrNotFound) {
		return Holder{}, ErrUnknownLink
	}
	if err != nil {
		return Holder{}, fmt.Errorf("find link: %w", err)
	}
	user, err := r.c.Users.User(ctx, account.ID, request.User)
	if errors.Is(err, ErrNotFound) {
		return Holder{}, ErrUnknownLink
	}
	if err != nil {
		return Holder{}, fmt.Errorf("user of request %s: %w", request.ID, err)
	}
	genuine, err := token.proves(r.c.Keys, user, request.Link)
	if err != nil && !errors.Is(err, ErrUnknownKey) {
		return Holder{}, fmt.Errorf("prove link of request %s: %w", request.ID, err)
	}
	// Asked after the proof, so that the clock does not tell either.
	frozen := r.c.Guesses != nil && r.c.Guesses.Frozen(account.ID, token.Selector)
	if !genuine && r.c.Guesses != nil {
		r.c.Guesses.WrongTag(account.ID, token.Selector)
	}
	if !genuine || frozen || !request.Spent.IsZero() || user.CredentialVersion != request.Link.CredentialVersion {
		return Holder{}, ErrUnknownLink
	}
	holder := Holder{User: user, Request: request.ID, Expires: request.Expires}
	if expired {
		return holder, ErrExpiredLink
	}
	return holder, nil
}

// UserRef is a user as named in a path: an id or an address; the zero value names
// nobody and matches every user.
type UserRef struct {
	id      UserID
	address Address
	named   bool
}

// ParseUserRef reads a UUID (any letter case, hyphens optional) or an address.
// What is neither is a reference that matches nobody.
func ParseUserRef(s string) UserRef {
	if id, ok := tenants.ParseUUID(s); ok {
		return UserRef{id: UserID(id), named: true}
	}
	address, err := ParseAddress(s)
	if err != nil {
		return UserRef{named: true}
	}
	return UserRef{address: address, named: true}
}

// Matches says whether the reference means the user.
func (ref UserRef) Matches(user User) bool {
	switch {
	case !ref.named:
		return true
	case ref.id != "":
		return ref.id == user.ID
	default:
		return ref.address.Fits() && ref.address == user.Address
	}
}

// Find looks the user up; ErrNotFound.
func (ref UserRef) Find(ctx context.Context, users Users, account tenants.AccountID) (User, error) {
	switch {
	case ref.id != "":
		return users.User(ctx, account, ref.id)
	case ref.address.Fits():
		return users.UserByAddress(ctx, account, ref.address)
	default:
		return User{}, ErrNotFound
	}
}

// Redeem sets a new password and kills every link and API token of the user. The
// password is judged, then hashed, then everything is changed in one transaction:
// of many calls at once one wins and the others get ErrUnknownLink. Further
// errors: ErrExpiredLink, the three of the password policy (the link survives
// them), ErrBusy when too many hashes wait.
func (r *Redeemer) Redeem(ctx context.Context, account tenants.Account, ref UserRef, raw, password tenants.Secret) (User, error) {
	holder, err := r.Inspect(ctx, account, raw)
	if err != nil && !errors.Is(err, ErrExpiredLink) {
		return User{}, err
	}
	if !ref.Matches(holder.User) {
		return User{}, ErrUnknownLink
	}
	if err != nil {
		return User{}, err
	}
	if account.Protected && holder.User.Role == RoleUser && len(holder.User.PasswordHash) == 0 {
		return User{}, ErrManaged
	}
	chosen, err := ChoosePassword(account, holder.User, password)
	if err != nil {
		if token, ok := parseToken(raw); ok && r.c.Guesses != nil && !r.c.Guesses.BadPassword(account.ID, token.Selector) {
			return User{}, ErrTooManyTries
		}
		return User{}, err
	}
	hash, err := r.c.Passwords.Hash(ctx, account.ID, holder.User.ID, chosen)
	if err != nil {
		return User{}, fmt.Errorf("hash password of user %s: %w", holder.User.ID, err)
	}
	redemption := Redemption{
		Request:           holder.Request,
		User:              holder.User.ID,
		CredentialVersion: holder.User.CredentialVersion,
		PasswordHash:      hash,
		NoticeLife:        noticeLife,
		Event: Event{
			ID: EventID(r.c.NewID()), Name: EventPasswordChanged,
			User: holder.User.ID, Request: holder.Request, Facts: json.RawMessage(`{}`),
		},
	}
	if account.DeliverPolicy != tenants.DeliverNever {
		redemption.Notice = DeliveryID(r.c.NewID())
	}
	if r.c.Digester != nil {
		redemption.ClearTries = TryKey(r.c.Digester, account.ID, holder.User.Address)
	}
	user, err := r.c.Redemptions.Redeem(ctx, account.ID, redemption)
	if err != nil {
		return User{}, fmt.Errorf("redeem request %s: %w", holder.Request, err)
	}
	r.upgraded(holder.User)
	return user, nil
}

// Dispute ends a link whose holder did not ask for it, and with it whatever sends it
// again; the password stays, and so do other links. The account's endpoints are told.
// ErrUnknownLink, ErrExpiredLink.
func (r *Redeemer) Dispute(ctx context.Context, account tenants.Account, raw tenants.Secret) error {
	holder, err := r.Inspect(ctx, account, raw)
	if err != nil {
		return err
	}
	err = r.c.Redemptions.Dispute(ctx, account.ID, Dispute{
		Request: holder.Request, User: holder.User.ID, CredentialVersion: holder.User.CredentialVersion,
		Event: Event{
			ID: EventID(r.c.NewID()), Name: EventPasswordDisputed,
			User: holder.User.ID, Request: holder.Request, Facts: json.RawMessage(`{}`),
		},
	})
	if err != nil {
		return fmt.Errorf("dispute request %s: %w", holder.Request, err)
	}
	return nil
}

// upgraded tells of a hash that is not one of today's and is gone now.
func (r *Redeemer) upgraded(before User) {
	if r.c.Ages == nil || r.c.Upgraded == nil {
		return
	}
	if from, outdated, err := r.c.Ages.Outdated(before.Account, before.ID, before.PasswordHash); err == nil && outdated {
		r.c.Upgraded(from)
	}
}
