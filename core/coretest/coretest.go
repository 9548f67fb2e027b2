// Package coretest holds the suites that every store of core's ports must pass:
// ExerciseStore for accounts, users, tokens and providers, ExerciseLedger for
// requests, deliveries, links, webhooks and suppressions. One suite for every engine; what goes wrong on
// one becomes a case for all.
//
// Limits first: it fakes nothing and never waits for a clock. Times in rows are
// the database's, so a case that needs an hour to pass moves the row by an hour.
// Production code must not import it.
package coretest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Store is every port that a store has.
type Store interface {
	core.Inbox
	core.Ledger
	core.Timelines
	core.Redemptions
	core.Reports
	core.Suppressions
	core.Users
	core.UserChanges
	core.UserImports
	core.Tries
	core.APITokens
	core.Providers
	core.Accounts
	core.Holds
	core.AuditLog
	core.Endpoints
	core.WebhookEvents
	core.System
}

// Database is a running store on an empty database of its own, and ways past it.
type Database struct {
	Store Store
	// Exec runs a statement on a connection that is not the store's. Its text is
	// what every engine reads; values stand for "?", and whoever opens an engine that
	// wants them otherwise rewrites it.
	Exec func(t testing.TB, query string, args ...any)
	// Count runs a query of one number in the same way.
	Count func(t testing.TB, query string, args ...any) int
	// Reopen closes the store and gives another on the same database.
	Reopen func(t testing.TB) Store
	// Commits is how many commits have held an accept so far.
	Commits func() int
}

// Open gives an empty database; what it opens is closed when the test ends.
type Open func(t *testing.T) Database

var lastID atomic.Uint64

// NewID gives a UUIDv7 (RFC 9562, section 5.7); later ones of the same process
// sort after earlier ones: a counter stands in its random bits.
func NewID() string {
	var id [16]byte
	_, _ = rand.Read(id[12:])
	serial := lastID.Add(1)
	binary.BigEndian.PutUint64(id[0:], uint64(time.Now().UnixMilli())<<16|serial>>30&0xfff)
	binary.BigEndian.PutUint32(id[8:], uint32(serial&0x3fffffff))
	id[6] |= 0x70
	id[8] |= 0x80
	text := hex.EncodeToString(id[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// fixture is a database with one account, as most cases want it.
type fixture struct {
	Database
	t       *testing.T
	account tenants.AccountID
}

func setup(t *testing.T, open Open) *fixture {
	t.Helper()
	f := &fixture{Database: open(t), t: t}
	f.account = f.newAccount()
	return f
}

func (f *fixture) newAccount() tenants.AccountID {
	f.t.Helper()
	id := tenants.AccountID(NewID())
	hash := sha256.Sum256([]byte(id))
	created, err := f.Store.CreateAccount(f.t.Context(), tenants.New(id, "a"+hex.EncodeToString(hash[:8]), "Example"))
	f.ok(err)
	return created.ID
}

func (f *fixture) newUser(account tenants.AccountID) core.User {
	f.t.Helper()
	id := NewID()
	user, err := f.Store.CreateUser(f.t.Context(), account, core.User{
		ID: core.UserID(id), Address: address(f.t, id+"@example.com"), Role: core.RoleUser, PasswordHash: []byte("old"),
	})
	f.ok(err)
	return user
}

func address(t testing.TB, typed string) core.Address {
	t.Helper()
	parsed, err := core.ParseAddress(typed)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func (f *fixture) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) is(err, want error) {
	f.t.Helper()
	if !errors.Is(err, want) {
		f.t.Fatalf("error is %v, want %v", err, want)
	}
}

func same(t testing.TB, got, want any, options ...cmp.Option) {
	t.Helper()
	options = append(options, cmp.Comparer(func(a, b core.Address) bool { return a == b }))
	if diff := cmp.Diff(want, got, options...); diff != "" {
		t.Fatalf("differs (-want +got):\n%s", diff)
	}
}

// recent says that a time is the database's of a moment ago.
func recent(t testing.TB, what string, at time.Time) {
	t.Helper()
	if age := time.Since(at); age < -time.Minute || age > time.Minute {
		t.Fatalf("%s is %s, want a moment ago", what, at)
	}
}
