package coretest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/passmend/passmend/core"
)

// imports gives so many users that are not stored yet.
func (f *fixture) imports(n int, cost core.HashCost) []core.ImportedUser {
	users := make([]core.ImportedUser, n)
	for i := range users {
		id := NewID()
		users[i] = core.ImportedUser{User: core.User{
			ID: core.UserID(id), Account: f.account, Address: address(f.t, id+"@example.com"), FirstName: "Ö'Hara ?", Role: core.RoleUser,
			Banned: i%2 == 1, PasswordHash: []byte{0, 1, byte(i)}, CredentialVersion: 1, Metadata: json.RawMessage(`{"n":1}`),
		}, Hash: core.ImportedHash{Cost: cost}}
	}
	return users
}

func exerciseImports(t *testing.T, open Open) {
	t.Run("an import stores whom it can and says what became of each; again, it doubles nobody", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		users := f.imports(131, "$2b$10") // two statements of 64 and what is left
		there := f.newUser(f.account)
		users[3].Address, users[70].ID = there.Address, there.ID
		want := make([]core.ImportOutcome, len(users))
		want[3], want[70] = core.ImportPresent, core.ImportIDTaken
		foretold, err := f.Store.ImportOutcomes(t.Context(), f.account, users)
		f.ok(err)
		same(t, foretold, want)
		before, err := f.Store.CountUsers(t.Context(), f.account, core.UserQuery{})
		f.ok(err)
		same(t, before, 1)
		outcomes, err := f.Store.ImportUsers(t.Context(), f.account, users)
		f.ok(err)
		same(t, outcomes, want)
		for i, u := range users {
			if want[i] != core.ImportCreated {
				continue
			}
			read, err := f.Store.User(t.Context(), f.account, u.ID)
			f.ok(err)
			stored := u.User
			stored.Created, stored.Updated = read.Created, read.Updated
			same(t, read, stored)
		}
		read, err := f.Store.User(t.Context(), f.account, there.ID)
		f.ok(err)
		same(t, read, there)
		for i := range want {
			if want[i] == core.ImportCreated {
				want[i] = core.ImportPresent
			}
		}
		outcomes, err = f.Store.ImportUsers(t.Context(), f.account, users)
		f.ok(err)
		same(t, outcomes, want)
		after, err := f.Store.CountUsers(t.Context(), f.account, core.UserQuery{})
		f.ok(err)
		same(t, after, len(users)-1)
		// The audit log has one entry for a commit that stored somebody.
		imported, err := f.Store.AuditEvents(t.Context(), f.account, core.AuditQuery{Name: core.AuditUsersImported, Limit: 10})
		f.ok(err)
		same(t, len(imported), 1)
		// Of another account they are nobody, but an id is an account's own.
		outcomes, err = f.Store.ImportUsers(t.Context(), f.newAccount(), users[:2])
		f.ok(err)
		same(t, outcomes, []core.ImportOutcome{core.ImportCreated, core.ImportCreated})
	})
	t.Run("shares count imported hashes until they are made anew, set or gone", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.newUser(f.account)
		shares, err := f.Store.HashShares(t.Context(), f.account)
		f.ok(err)
		same(t, len(shares), 0)
		old, slow, none := f.imports(4, "$2b$10"), f.imports(2, "$scrypt$ln=14,r=8,p=1"), f.imports(1, "")
		none[0].PasswordHash = nil
		all := append(append(old, slow...), none...)
		_, err = f.Store.ImportUsers(t.Context(), f.account, all)
		f.ok(err)
		counted := func(want ...core.HashShare) {
			t.Helper()
			shares, err := f.Store.HashShares(t.Context(), f.account)
			f.ok(err)
			same(t, shares, want)
		}
		ours := func(n int) core.HashShare { return core.HashShare{Users: n} }
		bcrypt := func(n int) core.HashShare { return core.HashShare{Cost: "$2b$10", Users: n} }
		scrypt := func(n int) core.HashShare { return core.HashShare{Cost: "$scrypt$ln=14,r=8,p=1", Users: n} }
		counted(bcrypt(4), scrypt(2), ours(1))
		done, err := f.Store.UpgradePassword(t.Context(), f.account, old[0].ID, old[0].PasswordHash, []byte("new"))
		f.ok(err)
		same(t, done, true)
		counted(bcrypt(3), scrypt(2), ours(2))
		hash, name := []byte("set"), "Ada"
		_, err = f.Store.UpdateUser(t.Context(), f.account, slow[0].ID, core.UserChange{PasswordHash: &hash})
		f.ok(err)
		counted(bcrypt(3), scrypt(1), ours(3))
		_, err = f.Store.UpdateUser(t.Context(), f.account, slow[1].ID, core.UserChange{FirstName: &name})
		f.ok(err)
		counted(bcrypt(3), scrypt(1), ours(3))
		request, _ := f.resolved(old[1].User, func(p *core.Plan) { p.Mail = nil })
		_, err = f.Store.Redeem(t.Context(), f.account, redemption(request.ID, old[1].User))
		f.ok(err)
		counted(bcrypt(2), scrypt(1), ours(4))
		shares, err = f.Store.HashShares(t.Context(), f.newAccount())
		f.ok(err)
		same(t, len(shares), 0)
	})
}

func exerciseTries(t *testing.T, open Open) {
	key := bytes.Repeat([]byte{7}, 32)
	other := bytes.Repeat([]byte{8}, 32)
	// aged lets the last try of the key be so long ago.
	aged := func(f *fixture, seconds int) {
		f.Exec(t, `UPDATE sign_in_tries SET tried_at = tried_at - ? WHERE account_id = ?`, int64(seconds)*1_000_000, string(f.account))
	}
	take := func(f *fixture, key []byte, want bool) {
		f.t.Helper()
		taken, err := f.Store.TakeTry(t.Context(), f.account, key)
		f.ok(err)
		same(f.t, taken, want)
	}
	t.Run("ten tries are free, then each waits longer, and a hundred are the end", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		for n := range core.MaxTries {
			wait := int(core.TryDelay(n).Seconds())
			if wait > 0 {
				take(f, key, false)
				aged(f, wait-20)
				take(f, key, false)
				aged(f, 20)
			}
			take(f, key, true)
		}
		take(f, key, false)
		aged(f, 2*24*3600)
		take(f, key, false)
		take(f, other, true) // the control: of another key nothing was counted
		taken, err := f.Store.TakeTry(t.Context(), f.newAccount(), key)
		f.ok(err)
		same(t, taken, true)
		f.ok(f.Store.ClearTries(t.Context(), f.account, key))
		for range core.FreeTries {
			take(f, key, true)
		}
		take(f, key, false)
	})
	t.Run("of many at once as many are counted", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		const many = 30
		results := make(chan bool, many)
		for range many {
			go func() {
				taken, err := f.Store.TakeTry(t.Context(), f.account, key)
				results <- taken && err == nil
			}()
		}
		n := 0
		for range many {
			if <-results {
				n++
			}
		}
		same(t, n, core.FreeTries)
	})
	t.Run("a try that was not judged is given back; a day without one is a new beginning", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		for range 3 * core.FreeTries {
			take(f, key, true)
			f.ok(f.Store.ReturnTry(t.Context(), f.account, key))
		}
		for range core.FreeTries {
			take(f, key, true)
		}
		take(f, key, false)
		aged(f, 24*3600)
		for range core.FreeTries {
			take(f, key, true)
		}
		take(f, key, false)
	})
	t.Run("a new password ends the row, and so does a reset", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		hash := []byte("new")
		request, _ := f.resolved(user, func(p *core.Plan) { p.Mail = nil })
		for name, end := range map[string]func() error{
			"reset": func() error {
				r := redemption(request.ID, user)
				r.ClearTries = key
				_, err := f.Store.Redeem(t.Context(), f.account, r)
				return err
			},
			"password": func() error {
				_, err := f.Store.UpdateUser(t.Context(), f.account, f.newUser(f.account).ID, core.UserChange{PasswordHash: &hash, ClearTries: key})
				return err
			},
		} {
			for range core.FreeTries {
				take(f, key, true)
			}
			take(f, key, false)
			if err := end(); err != nil {
				t.Fatal(name, err)
			}
			take(f, key, true)
			f.ok(f.Store.ClearTries(t.Context(), f.account, key))
		}
	})
	t.Run("few tries are kept for a day, a hundred for longer", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		take(f, key, true)
		take(f, other, true)
		f.Exec(t, `UPDATE sign_in_tries SET tries = ? WHERE key = ?`, core.MaxTries, other)
		counted := func(want int) {
			t.Helper()
			_, err := f.Store.Retain(t.Context(), 30*24*3600e9, 100)
			f.ok(err)
			same(t, f.Count(t, `SELECT count(*) FROM sign_in_tries WHERE account_id = ?`, string(f.account)), want)
		}
		counted(2)
		aged(f, 24*3600+5)
		counted(1)
		aged(f, 90*24*3600)
		counted(0)
	})
	t.Run("delays double to an hour", func(t *testing.T) {
		t.Parallel()
		got := ""
		for _, n := range []int{0, 9, 10, 11, 12, 15, 16, 17, 50, 99} {
			got += fmt.Sprint(core.TryDelay(n), " ")
		}
		same(t, got, "0s 0s 30s 1m0s 2m0s 16m0s 32m0s 1h0m0s 1h0m0s 1h0m0s ")
	})
}
