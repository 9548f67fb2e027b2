package sqlstore_test

import (
	"errors"
	"testing"

	"github.com/passmend/passmend/core/coretest"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/core/sqlstore/pgtest"
	"github.com/passmend/passmend/tenants"
)

// An accept beside the removal of its account waits for it, is refused and leaves no
// row; those that share its commit are accepted. The control inserts without holding the
// account, as nothing but acceptAllQuery keeps from it.
func TestAcceptBesideARemovalLeavesNothing(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	store, removal, beside := startPostgres(t, url, sqlstore.Config{}), connectPostgres(t, url), connectPostgres(t, url)
	going := newAccount(t, store)
	staying, err := store.CreateAccount(t.Context(), tenants.New(tenants.AccountID(coretest.NewID()), "staying", "Staying"))
	if err != nil {
		t.Fatal(err)
	}
	removal.exec(t, `BEGIN`)
	removal.exec(t, `SELECT id FROM accounts WHERE id = ? FOR UPDATE`, string(going))
	refused := make(chan error, 1)
	go func() { refused <- store.Accept(t.Context(), going, benchRequest()) }()
	soon(t, "the accept waits", func() bool {
		return beside.count(t, `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`) == 1
	})
	if err := store.Accept(t.Context(), staying.ID, benchRequest()); err != nil {
		t.Errorf("another account's accept: %v", err)
	}
	removal.exec(t, `DELETE FROM accounts WHERE id = ?`, string(going))
	removal.exec(t, `COMMIT`)
	if err := <-refused; !errors.Is(err, tenants.ErrUnknown) {
		t.Errorf("Accept = %v, want tenants.ErrUnknown", err)
	}
	orphans := func() int {
		t.Helper()
		return beside.count(t, `SELECT count(*) FROM requests r WHERE NOT EXISTS (SELECT FROM accounts a WHERE a.id = r.account_id)`)
	}
	if n := orphans(); n != 0 {
		t.Errorf("%d requests of no account", n)
	}
	beside.exec(t, `INSERT INTO requests (account_id, id, address_digest, deliver, traceparent, state, accepted_at) VALUES (?, 'control', '', TRUE, '', 'pending', 1)`, string(going))
	if n := orphans(); n != 1 {
		t.Errorf("the control: %d requests of no account, want 1", n)
	}
}
