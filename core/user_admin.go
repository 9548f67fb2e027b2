package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/passmend/passmend/tenants"
)

// Bounds of a user's attributes, in characters (contract.md, A4).
const (
	MaxUserAddressChars = 255
	MaxNameChars        = 255
)

// FieldError is what is wrong with one attribute of a user. It never holds the value.
type FieldError struct {
	Field string // as on the wire: email, firstName, lastName, metadata
	Code  string // INVALID, TOO_LONG, TOO_DEEP
	Text  string // for people: "is invalid"
}

func (e *FieldError) Error() string { return e.Field + " " + e.Text }

// UserAdmin makes, changes, bans and deletes users. Whoever asks has been allowed to.
type UserAdmin struct {
	Users     Users
	Changes   UserChanges
	Passwords Passwords
	// Resources, when set, show deleted users in their events.
	Resources Resources
	// Digester, when set, lets a new password end the row of wrong ones at sign-in.
	Digester Digester
	NewID    func() string
}

// NewUser describes a user to be made.
type NewUser struct {
	Email               string
	FirstName, LastName string
	Role                Role // empty: RoleUser
	Metadata            json.RawMessage
	Password            *tenants.Secret // nil: the user sets one by a link
}

// Create makes a user. *FieldError, ErrAddressTaken, the three of the password policy,
// ErrBusy when too many hashes wait.
func (a *UserAdmin) Create(ctx context.Context, account tenants.Account, want NewUser) (User, error) {
	user := User{ID: UserID(a.NewID()), Account: account.ID, FirstName: want.FirstName, LastName: want.LastName, Role: want.Role}
	if user.Role == "" {
		user.Role = RoleUser
	}
	var err error
	if user.Address, err = userAddress(want.Email); err != nil {
		return User{}, err
	}
	if err := namesFlaw(&want.FirstName, &want.LastName); err != nil {
		return User{}, err
	}
	if len(want.Metadata) > 0 {
		if user.Metadata, err = ParseMetadata(want.Metadata); err != nil {
			return User{}, err
		}
	}
	if want.Password != nil {
		// Looked up here only to spare the hashing; the store is who decides.
		if _, err := a.Users.UserByAddress(ctx, account.ID, user.Address); err == nil {
			return User{}, ErrAddressTaken
		}
		if user.PasswordHash, err = a.hash(ctx, account, user, *want.Password); err != nil {
			return User{}, err
		}
	}
	created, err := a.Users.CreateUser(ctx, account.ID, user, a.event(EventUserCreated, user.ID))
	if err != nil {
		return User{}, fmt.Errorf("create user: %w", err)
	}
	return created, nil
}

// UserPatch says what becomes different; nil fields stay.
type UserPatch struct {
	Email               *string
	FirstName, LastName *string
	Role                *Role
	Metadata            json.RawMessage
	Password            *tenants.Secret // of the empty secret: the user has none any more
}

// Update changes a user, as it was read. A new address or password ends the user's
// links. Errors as of Create, and ErrNotFound.
func (a *UserAdmin) Update(ctx context.Context, account tenants.Account, user User, patch UserPatch) (User, error) {
	change := UserChange{
		FirstName: patch.FirstName, LastName: patch.LastName, Role: patch.Role,
		Events: []Event{a.event(EventUserUpdated, user.ID)},
	}
	if patch.Email != nil {
		address, err := userAddress(*patch.Email)
		if err != nil {
			return User{}, err
		}
		change.Address = &address
	}
	if err := namesFlaw(patch.FirstName, patch.LastName); err != nil {
		return User{}, err
	}
	if len(patch.Metadata) > 0 {
		metadata, err := ParseMetadata(patch.Metadata)
		if err != nil {
			return User{}, err
		}
		change.Metadata = &metadata
	}
	if patch.Password != nil {
		hash, err := a.newHash(ctx, account, change.On(user), *patch.Password)
		if err != nil {
			return User{}, err
		}
		change.PasswordHash = &hash
		change.ClearTries = a.tries(user)
		change.Events = append(change.Events, a.event(EventPasswordChanged, user.ID))
	}
	changed, err := a.Changes.UpdateUser(ctx, account.ID, user.ID, change)
	if err != nil {
		return User{}, fmt.Errorf("update user %s: %w", user.ID, err)
	}
	return changed, nil
}

// SetBanned bans a user or lifts the ban; both end the user's links.
func (a *UserAdmin) SetBanned(ctx context.Context, account tenants.AccountID, user User, banned bool) (User, error) {
	if user.Banned == banned {
		return user, nil
	}
	name := EventUserUnbanned
	if banned {
		name = EventUserBanned
	}
	change := UserChange{Banned: &banned, Events: []Event{a.event(name, user.ID)}}
	if !banned {
		change.ClearTries = a.tries(user)
	}
	changed, err := a.Changes.UpdateUser(ctx, account, user.ID, change)
	if err != nil {
		return User{}, fmt.Errorf("change standing of user %s: %w", user.ID, err)
	}
	return changed, nil
}

// Delete removes a user with its API tokens and links; ErrNotFound.
func (a *UserAdmin) Delete(ctx context.Context, account tenants.AccountID, id UserID) error {
	err := a.Changes.DeleteUser(ctx, account, id, func(was User) (event Event, err error) {
		event = a.event(EventUserDeleted, id)
		if a.Resources != nil {
			event.Facts, err = shows(a.Resources.UserResource(was))
		}
		return event, err
	})
	if err != nil {
		return fmt.Errorf("delete user %s: %w", id, err)
	}
	return nil
}

// ChangePassword sets a new password for a user, as it was read, who knows the old
// one, and ends the user's links and all API tokens but the one in use (contract.md,
// A3). ErrWrongPassword also for a user without one, and for one whose password has
// changed meanwhile; then the three of the policy; ErrBusy.
func (a *UserAdmin) ChangePassword(ctx context.Context, account tenants.Account, user User, inUse TokenID, old, chosen tenants.Secret) (User, error) {
	matches, err := verify(ctx, a.Passwords, user, old)
	if err != nil {
		return User{}, fmt.Errorf("change password of user %s: %w", user.ID, err)
	}
	if !matches {
		return User{}, ErrWrongPassword
	}
	hash, err := a.hash(ctx, account, user, chosen)
	if err != nil {
		return User{}, err
	}
	changed, err := a.Changes.UpdateUser(ctx, account.ID, user.ID, UserChange{
		For: user.CredentialVersion, PasswordHash: &hash, EndTokens: true, KeepToken: inUse, ClearTries: a.tries(user),
		Events: []Event{a.event(EventPasswordChanged, user.ID)},
	})
	if errors.Is(err, ErrOutdated) {
		return User{}, ErrWrongPassword
	}
	if err != nil {
		return User{}, fmt.Errorf("change password of user %s: %w", user.ID, err)
	}
	return changed, nil
}

// newHash is hash, and nil for the empty password.
func (a *UserAdmin) newHash(ctx context.Context, account tenants.Account, user User, typed tenants.Secret) ([]byte, error) {
	if typed.Reveal() == "" {
		return nil, nil
	}
	return a.hash(ctx, account, user, typed)
}

func (a *UserAdmin) hash(ctx context.Context, account tenants.Account, user User, typed tenants.Secret) ([]byte, error) {
	chosen, err := ChoosePassword(account, user, typed)
	if err != nil {
		return nil, err
	}
	hash, err := a.Passwords.Hash(ctx, account.ID, user.ID, chosen)
	if err != nil {
		return nil, fmt.Errorf("hash password of user %s: %w", user.ID, err)
	}
	return hash, nil
}

// tries is what wrong passwords of the user are counted under.
func (a *UserAdmin) tries(user User) []byte {
	if a.Digester == nil {
		return nil
	}
	return TryKey(a.Digester, user.Account, user.Address)
}

func (a *UserAdmin) event(name EventName, user UserID) Event {
	return Event{ID: EventID(a.NewID()), Name: name, User: user}
}

// userAddress reads an address that a user can have.
func userAddress(typed string) (Address, error) {
	address, err := ParseUserAddress(typed)
	switch {
	case utf8.RuneCountInString(strings.TrimSpace(typed)) > MaxUserAddressChars, utf8.RuneCountInString(address.Reveal()) > MaxUserAddressChars:
		return Address{}, &FieldError{"email", "TOO_LONG", fmt.Sprintf("is too long (maximum is %d characters)", MaxUserAddressChars)}
	case err != nil:
		return Address{}, &FieldError{"email", "INVALID", "is invalid"}
	}
	return address, nil
}

// namesFlaw is what is wrong with names, the first that is; nil for nothing. A control
// character would break the line of a header when it is written there.
func namesFlaw(first, last *string) error {
	for _, name := range []struct {
		field string
		value *string
	}{{"firstName", first}, {"lastName", last}} {
		switch {
		case name.value == nil:
		case utf8.RuneCountInString(*name.value) > MaxNameChars:
			return &FieldError{name.field, "TOO_LONG", fmt.Sprintf("is too long (maximum is %d characters)", MaxNameChars)}
		case !utf8.ValidString(*name.value) || strings.ContainsFunc(*name.value, isControl):
			return &FieldError{name.field, "INVALID", "is invalid"}
		}
	}
	return nil
}
