package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/passmend/passmend/tenants"
)

// ImportBatch is how many users an import stores in one commit.
const ImportBatch = 500

// HashCost says what verifying a password hash takes: its PHC string up to the salt.
// Empty: what a hash of today takes.
type HashCost string

// HashShare is how many users of an account have a hash of that cost.
type HashShare struct {
	Cost  HashCost
	Users int
}

// ImportedHash is the hash that another system made, sealed as our own are.
type ImportedHash struct {
	Sealed    []byte
	Cost      HashCost
	Algorithm string
	Weak      bool // worth a warning
}

// HashImports reads hashes of other systems within bounds, as package keys does.
type HashImports interface {
	// Import's error does not quote the text.
	Import(account tenants.AccountID, user UserID, text string) (ImportedHash, error)
}

// UserRecord is a user as the file of an import describes it. Empty fields are absent.
type UserRecord struct {
	ID                  string // a UUID that the user keeps
	Email               string
	PasswordHash        string // empty: the user sets a password by a link
	FirstName, LastName string
	Role                string // empty: RoleUser
	Banned              bool
	Metadata            json.RawMessage
}

// ImportedUser is a record that was found good.
type ImportedUser struct {
	User
	Hash ImportedHash // its zero value: no password
}

// UserImports takes users of other systems.
type UserImports interface {
	// ImportUsers stores, in one commit, those whose address and id nobody of the
	// account has, and says in their order what became of each. No event is recorded.
	// tenants.ErrUnknown.
	ImportUsers(ctx context.Context, account tenants.AccountID, users []ImportedUser) ([]ImportOutcome, error)
	// ImportOutcomes says what ImportUsers would, and stores nothing.
	ImportOutcomes(ctx context.Context, account tenants.AccountID, users []ImportedUser) ([]ImportOutcome, error)
	HashShares
}

// HashShares counts an account's users who have a password by what verifying it
// takes, those of today's cost last. It is a nil list when no hash is another's.
type HashShares interface {
	HashShares(ctx context.Context, account tenants.AccountID) ([]HashShare, error)
}

// ImportOutcome is what became of a record.
type ImportOutcome int

// The closed list of outcomes.
const (
	ImportCreated ImportOutcome = iota
	ImportPresent               // a user of the account has the address: an earlier run, perhaps
	ImportIDTaken               // the id is another user's
)

// Importer judges records.
type Importer struct {
	Hashes HashImports
	NewID  func() string
	// Hash says what is accepted in the place of a password's hash.
	Hash string
}

// Judge reads a record. A *FieldError names the field and what is accepted, and never
// the value.
func (i *Importer) Judge(account tenants.AccountID, record UserRecord) (ImportedUser, error) {
	user := ImportedUser{User: User{
		ID: UserID(i.NewID()), Account: account, FirstName: record.FirstName, LastName: record.LastName,
		Role: RoleUser, Banned: record.Banned,
	}}
	var err error
	if user.Address, err = userAddress(record.Email); err != nil {
		return ImportedUser{}, importFlaw(err, "email", fmt.Sprintf("%v, and %d characters at most", ErrAddressInvalid, MaxUserAddressChars))
	}
	if record.ID != "" {
		id, ok := tenants.ParseUUID(record.ID)
		if !ok {
			return ImportedUser{}, &FieldError{"id", "INVALID", "must be a UUID, or absent for a new one"}
		}
		user.ID = UserID(id)
	}
	if err := namesFlaw(&record.FirstName, &record.LastName); err != nil {
		return ImportedUser{}, importFlaw(err, "", fmt.Sprintf("must be at most %d characters, none of them a control character", MaxNameChars))
	}
	if record.Role != "" {
		user.Role = Role(record.Role)
	}
	if !slices.Contains(Roles(), user.Role) {
		return ImportedUser{}, &FieldError{"role", "INVALID", "must be one of " + roleList()}
	}
	if len(record.Metadata) > 0 {
		if user.Metadata, err = ParseMetadata(record.Metadata); err != nil {
			return ImportedUser{}, err
		}
	}
	if record.PasswordHash != "" {
		if user.Hash, err = i.Hashes.Import(account, user.ID, record.PasswordHash); err != nil {
			return ImportedUser{}, &FieldError{"passwordHash", "INVALID", i.Hash}
		}
		user.PasswordHash = user.Hash.Sealed
	}
	return user, nil
}

// importFlaw puts what is accepted in the place of what is wrong.
func importFlaw(err error, field, accepts string) error {
	var flaw *FieldError
	if !errors.As(err, &flaw) {
		return err
	}
	if field == "" {
		field = flaw.Field
	}
	return &FieldError{field, flaw.Code, accepts}
}

func roleList() string {
	names := make([]string, 0, len(Roles()))
	for _, role := range Roles() {
		names = append(names, string(role))
	}
	return strings.Join(names, ", ")
}
