package core

import (
	"context"
	"encoding/json"

	"github.com/passmend/passmend/tenants"
)

// UserQuery chooses users of an account and lists them by id.
type UserQuery struct {
	Roles  []Role // any of these; none: every role
	Banned *bool  // nil: either
	// Metadata chooses by members of the metadata itself: a string by its text, an
	// integer or a boolean by its JSON. Every one of them holds.
	Metadata map[string]string
	Newest   bool   // the greatest id first, else the least
	After    UserID // continues the list after this one; empty: from its beginning
	Skip     int    // passes over so many
	Limit    int
}

// UserChanges changes one account's users.
type UserChanges interface {
	// UpdateUser changes a user and records the events of the change. ErrNotFound,
	// ErrAddressTaken; ErrOutdated when the user has not the credential version that the
	// change is for.
	UpdateUser(ctx context.Context, account tenants.AccountID, id UserID, change UserChange) (User, error)
	// DeleteUser removes a user with its API tokens and links, and records the event,
	// with the user as it was. ErrNotFound.
	DeleteUser(ctx context.Context, account tenants.AccountID, id UserID, event UserEvent) error
	// UpgradePassword replaces a hash by another of the same password, if it still is
	// the one that is stored, and says whether it was; links and times stay as they are.
	UpgradePassword(ctx context.Context, account tenants.AccountID, id UserID, from, to []byte) (done bool, err error)
}

// UserChange says what becomes different; nil fields stay.
type UserChange struct {
	// For is the credential version that the change was made for; 0: any.
	For                 int64
	Address             *Address
	FirstName, LastName *string
	Role                *Role
	Banned              *bool
	Metadata            *json.RawMessage
	PasswordHash        *[]byte // of nil: the user has no password any more
	// ClearTries, when set, is the key under which Tries of the user are counted: they
	// are forgotten with the change.
	ClearTries []byte
	// EndTokens deletes the user's API tokens but KeepToken.
	EndTokens bool
	KeepToken TokenID
	Events    []Event
}

// On gives the user as it is after the change. Another address, another standing and
// any new password end the user's links: they count as another credential
// (contract.md, R7).
func (c UserChange) On(user User) User {
	before := user
	set(&user.Address, c.Address)
	set(&user.FirstName, c.FirstName)
	set(&user.LastName, c.LastName)
	set(&user.Role, c.Role)
	set(&user.Banned, c.Banned)
	set(&user.Metadata, c.Metadata)
	set(&user.PasswordHash, c.PasswordHash)
	if user.Address != before.Address || user.Banned != before.Banned || c.PasswordHash != nil {
		user.CredentialVersion++
	}
	return user
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}
