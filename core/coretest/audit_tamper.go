package coretest

import (
	"errors"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

func exerciseAuditTampering(t *testing.T, open Open) {
	t.Run("without its triggers it verifies as before", func(t *testing.T) { // the control of the next
		t.Parallel()
		f := setup(t, open)
		f.record(f.account, 4)
		f.unguard()
		same(t, f.verified(f.account).Seq, int64(5))
	})
	for name, fault := range map[string]struct {
		query string
		seq   int64
		why   string
	}{
		"an actor":             {`UPDATE audit_events SET actor_id = 'x' WHERE seq = 3`, 3, "it was changed"},
		"a time":               {`UPDATE audit_events SET recorded_at = recorded_at + 1 WHERE seq = 3`, 3, "it was changed"},
		"fields":               {`UPDATE audit_events SET fields = 'no JSON' WHERE seq = 3`, 3, "it was changed"},
		"an entry and hash":    {`UPDATE audit_events SET name = 'x', hash = previous WHERE seq = 3`, 3, "it was changed"},
		"what it follows":      {`UPDATE audit_events SET previous = hash WHERE seq = 3`, 3, "it does not follow from the one before it"},
		"whose it is":          {`UPDATE audit_events SET account_id = '' WHERE seq = 3`, 3, "it is missing"},
		"one is gone":          {`DELETE FROM audit_events WHERE seq = 3`, 3, "it is missing"},
		"the first is gone":    {`DELETE FROM audit_events WHERE seq = 1`, 1, "it is missing"},
		"the last are gone":    {`DELETE FROM audit_events WHERE seq > 3`, 4, "it is missing"},
		"two are swapped":      {`UPDATE audit_events SET seq = 7 - seq WHERE seq IN (3, 4)`, 3, "it does not follow from the one before it"},
		"the end is another":   {`UPDATE audit_chains SET hash = base_hash`, 5, "the chain was to end with another"},
		"the beginning is not": {`UPDATE audit_chains SET base_hash = hash`, 0, "the beginning is not the account's"},
	} {
		t.Run("tampering is found where it was done: "+name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, open)
			f.record(f.account, 4)
			f.unguard()
			f.Exec(t, fault.query)
			_, err := core.VerifyAudit(t.Context(), f.Store, f.account)
			broken, ok := errors.AsType[*core.BrokenLink](err)
			if !ok {
				t.Fatalf("error is %v, want a broken link", err)
			}
			same(t, []any{broken.Account, broken.Seq, broken.Why}, []any{f.account, fault.seq, fault.why})
		})
	}
}

func exerciseAuditRetention(t *testing.T, open Open) {
	t.Run("the end of a deleted account's chain stays when its last entry has gone", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.record(f.account, 2)
		f.ok(f.Store.DeleteAccount(f.as(operator), f.account))
		f.retain(10)
		f.retain(10)
		last := f.verified(f.account)
		same(t, last.Seq, int64(4))
		n, err := f.Store.RetainAudit(t.Context(), 0, 100)
		f.ok(err)
		same(t, n, 4)
		same(t, f.Count(t, `SELECT count(*) FROM accounts WHERE id = ?`, string(f.account))+f.Count(t, `SELECT count(*) FROM audit_events`), 0)
		same(t, f.verified(f.account), core.AuditChain{Account: f.account, Seq: 4, Hash: last.Hash, Base: 4, BaseHash: last.Hash})
		chains, err := f.Store.AuditChains(t.Context(), "", 10)
		f.ok(err)
		same(t, len(chains), 1)
		if !f.refused(`DELETE FROM audit_chains WHERE account_id = ?`, string(f.account)) {
			t.Error("the database lets the chain go")
		}
	})
	t.Run("it is missed when the log of a deleted account is taken out before its time", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.ok(f.Store.DeleteAccount(f.as(operator), f.account))
		f.retain(10)
		f.retain(10)
		f.unguard()
		f.Exec(t, `DELETE FROM audit_events WHERE account_id = ?`, string(f.account))
		_, err := core.VerifyAudit(t.Context(), f.Store, f.account)
		broken, ok := errors.AsType[*core.BrokenLink](err)
		if !ok {
			t.Fatalf("nothing is missed: %v", err)
		}
		same(t, broken.Seq, int64(1))
		// The control, and why the row stays: without it nothing would be.
		f.Exec(t, `DELETE FROM audit_chains WHERE account_id = ?`, string(f.account))
		_, err = core.VerifyAudit(t.Context(), f.Store, f.account)
		f.is(err, core.ErrNotFound)
	})
	t.Run("it goes from the old end, and what is left verifies and goes on", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		other := f.newAccount()
		f.record(f.account, 6)
		retain := func(age time.Duration, batch int) int {
			t.Helper()
			n, err := f.Store.RetainAudit(t.Context(), age, batch)
			f.ok(err)
			return n
		}
		same(t, retain(time.Hour, 100), 0)
		same(t, retain(0, 0), 0)
		same(t, retain(0, 4), 4)
		same(t, f.Count(t, `SELECT count(*) FROM audit_events WHERE account_id = ?`, string(f.account)), 4)
		same(t, f.Count(t, `SELECT count(*) FROM audit_events WHERE account_id = ?`, string(other)), 0)
		chain := f.verified(f.account)
		same(t, []int64{chain.Base, chain.Seq}, []int64{3, 7})
		same(t, f.log(f.account)[0].Seq, int64(4))
		same(t, f.verified(other).Base, int64(1))

		same(t, retain(0, 100), 4)
		same(t, retain(0, 100), 0)
		f.verified(f.account)
		f.record(f.account, 2)
		same(t, f.verified(f.account).Seq, int64(9))

		f.unguard()
		f.Exec(t, `DELETE FROM audit_events WHERE seq = 8`)
		_, err := core.VerifyAudit(t.Context(), f.Store, f.account)
		if _, ok := errors.AsType[*core.BrokenLink](err); !ok {
			t.Fatalf("what is missing after what was removed is not found: %v", err)
		}
	})
}

// auditEachChange makes every change that there is, and looks at what was recorded.
func auditEachChange(f *fixture) {
	t := f.t
	ctx, id := f.as(operator), string(f.account)
	account, err := f.Store.AccountByID(ctx, f.account)
	f.ok(err)
	account.Name, account.Branding.FromAddress = "Another", "no-reply@example.com"
	_, err = f.Store.UpdateAccount(ctx, f.account, account)
	f.ok(err)
	f.ok(f.Store.SetLogo(ctx, f.account, []byte("png")))
	f.ok(f.Store.CreateProvider(ctx, f.account, core.Provider{ID: core.ProviderID(NewID()), Name: "relay", Plugin: "smtp"}))
	f.ok(f.Store.BeginHold(ctx, f.account, "relay", true))
	f.ok(f.Store.EndHold(ctx, f.account, "relay", 5, true))
	f.ok(f.Store.DeleteProvider(ctx, f.account, "relay"))
	f.ok(f.Store.BeginHold(ctx, f.account, "", true))
	f.ok(f.Store.EndHold(ctx, f.account, "", 0, true))

	user, err := f.Store.CreateUser(ctx, f.account, core.User{ID: core.UserID(NewID()), Address: address(t, "ada@example.com"), Role: core.RoleUser})
	f.ok(err)
	token, err := f.Store.CreateAPIToken(ctx, f.account, core.APIToken{ID: core.TokenID(NewID()), User: user.ID, Digest: []byte("d")})
	f.ok(err)
	quiet := func(core.APIToken) (core.Event, error) { return core.Event{}, nil }
	_, err = f.Store.RegenerateAPIToken(ctx, f.account, token.ID, []byte("e"), time.Hour, quiet)
	f.ok(err)
	moved, role, hash, yes, no := address(t, "bob@example.com"), core.RoleAdmin, []byte("hash"), true, false
	_, err = f.Store.UpdateUser(ctx, f.account, user.ID, core.UserChange{Address: &moved, Role: &role, PasswordHash: &hash, EndTokens: true})
	f.ok(err)
	for _, banned := range []*bool{&yes, &no} {
		_, err = f.Store.UpdateUser(ctx, f.account, user.ID, core.UserChange{Banned: banned})
		f.ok(err)
	}
	second, err := f.Store.CreateAPIToken(ctx, f.account, core.APIToken{ID: core.TokenID(NewID()), User: user.ID, Digest: []byte("f")})
	f.ok(err)
	f.ok(f.Store.DeleteAPIToken(ctx, f.account, second.ID, quiet))
	suppression := core.Suppression{ID: core.SuppressionID(NewID()), Reason: core.SuppressionManual, AddressDigest: make([]byte, 32)}
	for range 2 { // the second is there
		_, _, err = f.Store.Suppress(ctx, f.account, suppression)
		f.ok(err)
	}
	f.ok(f.Store.Unsuppress(ctx, f.account, suppression.ID))
	f.ok(f.Store.DeleteUser(ctx, f.account, user.ID, func(core.User) (core.Event, error) { return core.Event{}, nil }))

	var want []core.AuditEvent
	add := func(account tenants.AccountID, name core.AuditName, kind, object string, fields ...string) {
		want = append(want, core.AuditEvent{
			Account: account, Seq: int64(len(want) + 2), Actor: operator.Actor, Name: name,
			Object: core.AuditObject{Type: kind, ID: object}, Fields: fields, Network: "192.0.2.0/24", Request: operator.Request,
		})
	}
	about := string(user.ID)
	add(f.account, core.AuditAccountUpdated, "accounts", id, "name", "branding.fromAddress")
	add(f.account, core.AuditAccountUpdated, "accounts", id, "branding.logo")
	add(f.account, core.AuditProviderCreated, "providers", "relay")
	add(f.account, core.AuditHoldBegun, "providers", "relay")
	add(f.account, core.AuditHoldReleased, "providers", "relay", "rate")
	add(f.account, core.AuditProviderDeleted, "providers", "relay")
	add(f.account, core.AuditHoldBegun, "accounts", id)
	add(f.account, core.AuditHoldReleased, "accounts", id)
	add(f.account, core.AuditUserCreated, "users", about)
	add(f.account, core.AuditTokenCreated, "tokens", string(token.ID))
	add(f.account, core.AuditTokenRegenerated, "tokens", string(token.ID))
	add(f.account, core.AuditUserUpdated, "users", about, "email")
	add(f.account, core.AuditRoleChanged, "users", about, "role")
	add(f.account, core.AuditPasswordChanged, "users", about, "password", "tokens")
	add(f.account, core.AuditUserBanned, "users", about, "status")
	add(f.account, core.AuditUserUnbanned, "users", about, "status")
	add(f.account, core.AuditTokenCreated, "tokens", string(second.ID))
	add(f.account, core.AuditTokenRevoked, "tokens", string(second.ID))
	add(f.account, core.AuditSuppressionCreated, "suppressions", string(suppression.ID))
	add(f.account, core.AuditSuppressionDeleted, "suppressions", string(suppression.ID))
	add(f.account, core.AuditUserDeleted, "users", about)
	same(t, f.log(f.account)[1:], want)
	f.verified(f.account)
	for _, name := range want {
		if !name.Name.Valid() {
			t.Errorf("%s is not in the list", name.Name)
		}
	}
	if n := f.Count(t, `SELECT count(*) FROM audit_events WHERE object_id LIKE '%@%' OR fields LIKE '%@%' OR actor_id LIKE '%@%'`); n != 0 {
		t.Errorf("%d entries hold an address", n)
	}
}
