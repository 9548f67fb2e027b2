package coretest

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// operator is where the suite's changes come from.
var operator = core.Origin{
	Actor:  core.Actor{Kind: core.ActorOperator, ID: "0197c0de-0000-7000-8000-000000000001"},
	Client: netip.MustParseAddr("192.0.2.77"), Request: "0197c0de-0000-7000-8000-000000000002",
}

// as gives the test's context with an origin.
func (f *fixture) as(origin core.Origin) context.Context {
	return core.WithOrigin(f.t.Context(), origin)
}

// log gives an account's entries, oldest first, without what differs from run to run.
func (f *fixture) log(account tenants.AccountID) []core.AuditEvent {
	f.t.Helper()
	links, err := f.Store.AuditLinks(f.t.Context(), account, 0, 1000)
	f.ok(err)
	for i := range links {
		recent(f.t, "recorded", links[i].At)
		links[i] = core.AuditEvent{
			Account: links[i].Account, Seq: links[i].Seq, Actor: links[i].Actor, Name: links[i].Name, Object: links[i].Object,
			Fields: links[i].Fields, Network: links[i].Network, Request: links[i].Request,
		}
	}
	return links
}

// verified walks a chain that is whole.
func (f *fixture) verified(account tenants.AccountID) core.AuditChain {
	f.t.Helper()
	chain, err := core.VerifyAudit(f.t.Context(), f.Store, account)
	f.ok(err)
	return chain
}

// record appends so many entries.
func (f *fixture) record(account tenants.AccountID, n int) {
	f.t.Helper()
	for i := range n {
		f.ok(f.Store.RecordAudit(f.t.Context(), account, core.Audit{
			Name: core.AuditPluginInstalled, Object: core.AuditObject{Type: "plugins", ID: fmt.Sprintf("p%d", i)}, Fields: []string{"version"},
		}))
	}
}

// refused says whether the database refuses a statement.
func (f *fixture) refused(query string, args ...any) bool {
	probe := &failing{TB: f.t}
	var wait sync.WaitGroup
	wait.Go(func() { f.Exec(probe, query, args...) })
	wait.Wait()
	return probe.failed
}

// failing notes a failure instead of failing the test.
type failing struct {
	testing.TB
	failed bool
}

func (p *failing) Fatal(...any)          { p.failed = true; runtime.Goexit() }
func (p *failing) Fatalf(string, ...any) { p.Fatal() }
func (p *failing) Error(...any)          { p.failed = true }
func (p *failing) Errorf(string, ...any) { p.failed = true }

// unguard takes the triggers away, as whoever owns the database can.
func (f *fixture) unguard() {
	f.t.Helper()
	for _, step := range []string{`CREATE TABLE copied_%[1]s AS SELECT * FROM %[1]s`, `DROP TABLE %s`, `ALTER TABLE copied_%[1]s RENAME TO %[1]s`} {
		for _, table := range []string{"audit_events", "audit_chains"} {
			f.Exec(f.t, fmt.Sprintf(step, table))
		}
	}
}

func exerciseAudit(t *testing.T, open Open) {
	t.Run("what is changed is recorded with it, by whom and from where", func(t *testing.T) {
		t.Parallel()
		auditEachChange(setup(t, open))
	})
	t.Run("without a caller it was the person concerned, or the service", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		request, _, _ := f.mailed(user)
		_, err := f.Store.Redeem(t.Context(), f.account, redemption(request.ID, user))
		f.ok(err)
		self, id := core.Self(user.ID), string(user.ID)
		same(t, f.log(f.account), []core.AuditEvent{
			{Account: f.account, Seq: 1, Actor: core.Actor{Kind: core.ActorService}, Name: core.AuditAccountCreated, Object: core.AuditObject{Type: "accounts", ID: string(f.account)}},
			{Account: f.account, Seq: 2, Actor: self, Name: core.AuditUserCreated, Object: core.AuditObject{Type: "users", ID: id}},
			{Account: f.account, Seq: 3, Actor: self, Name: core.AuditPasswordReset, Object: core.AuditObject{Type: "users", ID: id}, Fields: []string{"password"}},
		})
		f.verified(f.account)
	})
	t.Run("what did not happen, and what changed nothing, is not recorded", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		account, err := f.Store.AccountByID(t.Context(), f.account)
		f.ok(err)
		_, err = f.Store.UpdateAccount(t.Context(), f.account, account)
		f.ok(err)
		f.is(f.Store.DeleteProvider(t.Context(), f.account, "none"), core.ErrNotFound)
		f.is(f.Store.EndHold(t.Context(), f.account, "", 0, true), core.ErrNotFound)
		f.is(f.Store.Unsuppress(t.Context(), f.account, core.SuppressionID(NewID())), core.ErrNotFound)
		_, err = f.Store.CreateAccount(t.Context(), tenants.New(tenants.AccountID(NewID()), account.Slug, "Other"))
		f.is(err, core.ErrSlugTaken)
		f.accept(f.account)
		f.claimOne()
		same(t, len(f.log(f.account)), 1)
		same(t, f.Count(t, `SELECT count(*) FROM audit_events`), 1)
	})
	t.Run("many at once make one chain", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		other := f.newAccount()
		var writers sync.WaitGroup
		for i := range 8 {
			writers.Go(func() {
				for range 5 {
					account := []tenants.AccountID{f.account, other}[i%2]
					if err := f.Store.RecordAudit(t.Context(), account, core.Audit{Name: core.AuditUserUpdated}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writers.Wait()
		for _, account := range []tenants.AccountID{f.account, other} {
			same(t, f.verified(account).Seq, int64(21))
			same(t, len(f.log(account)), 21)
		}
	})
	t.Run("no entry is before the one before it, whatever the clock does", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.Exec(t, `UPDATE audit_chains SET head_at = head_at + ?`, (30 * time.Second).Microseconds())
		f.record(f.account, 1)
		links, err := f.Store.AuditLinks(t.Context(), f.account, 0, 10)
		f.ok(err)
		if ahead := links[1].At.Sub(links[0].At); ahead < 30*time.Second {
			t.Fatalf("the second entry is %s after the first, the clock had been 30 s ahead", ahead)
		}
		f.verified(f.account)
	})
	t.Run("the database refuses to change it", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.record(f.account, 3)
		for _, query := range []string{
			`UPDATE audit_events SET actor_id = 'somebody else'`,
			`DELETE FROM audit_events`,
			`DELETE FROM audit_events WHERE seq = 1`,
			`DELETE FROM audit_chains`,
			`UPDATE audit_chains SET seq = seq - 1`,
			`UPDATE audit_chains SET base_seq = seq, base_hash = previous FROM (SELECT previous FROM audit_events WHERE seq = 4) AS e`,
		} {
			if !f.refused(query) {
				t.Errorf("not refused: %s", query)
			}
		}
		if f.refused(`UPDATE audit_chains SET head_at = head_at + 1`) {
			t.Error("a statement that changes nothing of it was refused, so the others may have been for another reason")
		}
		same(t, f.verified(f.account).Seq, int64(4))
	})
	t.Run("the log of an account that was deleted stays", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		other := f.newAccount()
		f.ok(f.Store.DeleteAccount(f.as(operator), f.account))
		f.retain(10)
		f.retain(10)
		same(t, f.Count(t, `SELECT count(*) FROM accounts WHERE id = ?`, string(f.account)), 0)
		same(t, f.Count(t, `SELECT count(*) FROM accounts WHERE id = ?`, string(other)), 1)
		log := f.log(f.account)
		same(t, len(log), 2)
		same(t, log[1].Name, core.AuditAccountDeleted)
		same(t, log[1].Actor, operator.Actor)
		f.verified(f.account)
		all, err := f.Store.AllAuditEvents(t.Context(), core.AuditQuery{Limit: 10})
		f.ok(err)
		same(t, len(all), 3)
		same(t, []tenants.AccountID{all[0].Account, all[1].Account, all[2].Account}, []tenants.AccountID{f.account, other, f.account})
		chains, err := f.Store.AuditChains(t.Context(), "", 10)
		f.ok(err)
		same(t, len(chains), 2)
	})
	exerciseAuditLists(t, open)
	exerciseAuditTampering(t, open)
	exerciseAuditRetention(t, open)
}

func exerciseAuditLists(t *testing.T, open Open) {
	t.Run("a list is one account's, newest first, by event and actor", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		other := f.newAccount()
		f.record(f.account, 4)
		f.record("", 1)
		user := f.newUser(f.account)
		f.ok(f.Store.CreateProvider(f.as(operator), f.account, core.Provider{ID: core.ProviderID(NewID()), Name: "relay", Plugin: "smtp"}))
		list := func(account tenants.AccountID, query core.AuditQuery) (seqs []int64) {
			t.Helper()
			query.Limit = max(query.Limit, 1)
			events, err := f.Store.AuditEvents(t.Context(), account, query)
			f.ok(err)
			for _, event := range events {
				same(t, event.Account, account)
				seqs = append(seqs, event.Seq)
			}
			return seqs
		}
		same(t, list(f.account, core.AuditQuery{Limit: 100}), []int64{7, 6, 5, 4, 3, 2, 1})
		same(t, list(other, core.AuditQuery{Limit: 100}), []int64{1})
		same(t, list("", core.AuditQuery{Limit: 100}), []int64{1})
		same(t, list(f.account, core.AuditQuery{Limit: 100, Name: core.AuditUserCreated}), []int64{6})
		same(t, list(f.account, core.AuditQuery{Limit: 100, Kind: core.ActorService}), []int64{5, 4, 3, 2, 1})
		same(t, list(f.account, core.AuditQuery{Limit: 100, Actor: operator.Actor.ID}), []int64{7})
		same(t, list(f.account, core.AuditQuery{Limit: 100, Actor: string(user.ID), Name: core.AuditUserDeleted}), []int64(nil))

		first, err := f.Store.AuditEvents(t.Context(), f.account, core.AuditQuery{Limit: 3})
		f.ok(err)
		same(t, list(f.account, core.AuditQuery{Limit: 3, Before: first[2].ID}), []int64{4, 3, 2})
		same(t, list(other, core.AuditQuery{Limit: 3, Before: first[2].ID}), []int64(nil)) // another's cursor
		same(t, list(f.account, core.AuditQuery{Limit: 3, Before: core.AuditEventID(NewID())}), []int64(nil))
		all, err := f.Store.AllAuditEvents(t.Context(), core.AuditQuery{Limit: 2, Before: first[2].ID, Name: core.AuditPluginInstalled})
		f.ok(err)
		same(t, len(all), 2)
	})
	t.Run("whole entries read back, and a chain that never was is not found", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		_, err := f.Store.AuditChain(t.Context(), tenants.AccountID(NewID()))
		f.is(err, core.ErrNotFound)
		f.ok(f.Store.RecordAudit(f.as(operator), "", core.Audit{Name: core.AuditPluginTrusted, Object: core.AuditObject{Type: "plugin-keys", ID: "k?"}, Fields: []string{"a", "b'"}}))
		events, err := f.Store.AllAuditEvents(t.Context(), core.AuditQuery{Limit: 1})
		f.ok(err)
		same(t, events, []core.AuditEvent{{
			Seq: 1, Actor: operator.Actor, Name: core.AuditPluginTrusted, Object: core.AuditObject{Type: "plugin-keys", ID: "k?"},
			Fields: []string{"a", "b'"}, Network: "192.0.2.0/24", Request: operator.Request, Previous: core.AuditGenesis(""),
		}}, cmpopts.IgnoreFields(core.AuditEvent{}, "ID", "At", "Hash"))
		same(t, events[0].Hash, events[0].Digest())
		chain := f.verified("")
		same(t, chain, core.AuditChain{Seq: 1, Hash: events[0].Hash, BaseHash: core.AuditGenesis("")})
	})
}
