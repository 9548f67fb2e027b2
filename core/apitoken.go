package core

import (
	"time"

	"github.com/passmend/passmend/tenants"
)

// APIToken lets its bearer call the API. Only the digest of its value is kept.
type APIToken struct {
	ID      TokenID
	Account tenants.AccountID // empty: an operator's
	User    UserID            // empty: an operator's
	Role    Role              // of the user, read with the token; empty: an operator's
	Digest  []byte            // SHA-256 of the whole value
	Name    string
	Expires time.Time // zero: never
	// Life is for a token about to be created without Expires: how long from now,
	// by the database's clock; 0: for ever.
	Life    time.Duration
	Expired bool // by the database's clock, when it was read
	Created time.Time
	Updated time.Time
}

// Operator says whether the token governs accounts and not one of them.
func (t APIToken) Operator() bool { return t.Account == "" }
