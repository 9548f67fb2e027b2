package sqlstore_test

import (
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/coretest"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/core/sqlstore/pgtest"
	"github.com/passmend/passmend/tenants"
)

// T19: whoever reads the server's log or looks over its shoulder (pg_stat_activity)
// finds no address, also when one is refused because it is taken.
func TestT19PostgresTellsNoAddress(t *testing.T) {
	t.Parallel()
	cluster, err := pgtest.NewCluster(pgtest.Dir(t), nil)
	if errors.Is(err, pgtest.ErrNoBinaries) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(err)
	ok(cluster.Start())
	t.Cleanup(func() { _ = cluster.Stop() })
	url := cluster.URL("postgres")
	store, beside := startPostgres(t, url, sqlstore.Config{}), connectPostgres(t, url)
	account := tenants.AccountID(coretest.NewID())
	_, err = store.CreateAccount(t.Context(), tenants.New(account, "log", "Log"))
	ok(err)
	user := func(text string) core.User {
		address, err := core.ParseAddress(text)
		ok(err)
		return core.User{ID: core.UserID(coretest.NewID()), Address: address, Role: core.RoleUser}
	}
	tells := func() bool {
		log, err := cluster.Log()
		ok(err)
		seen := string(log)
		for _, hidden := range []string{"canary@example.com", hex.EncodeToString([]byte("canary@example.com"))} {
			if strings.Contains(seen, hidden) || beside.count(t, `SELECT count(*) FROM pg_stat_activity WHERE strpos(query, $1) > 0`, hidden) > 0 {
				return true
			}
		}
		return false
	}

	canary := user("canary@example.com")
	_, err = store.CreateUser(t.Context(), account, canary)
	ok(err)
	other, err := store.CreateUser(t.Context(), account, user("ada@example.com"))
	ok(err)
	_, err = store.UserByAddress(t.Context(), account, canary.Address)
	ok(err)
	if _, err := store.CreateUser(t.Context(), account, user("canary@example.com")); !errors.Is(err, core.ErrAddressTaken) {
		t.Errorf("CreateUser = %v", err)
	}
	if _, err := store.UpdateUser(t.Context(), account, other.ID, core.UserChange{Address: &canary.Address}); !errors.Is(err, core.ErrAddressTaken) {
		t.Errorf("UpdateUser = %v", err)
	}
	if tells() {
		t.Error("the server tells an address")
	}
	// The control: an address that the index refuses stands in the log.
	if _, err := beside.conn.Exec(t.Context(), `UPDATE users SET address = (SELECT address FROM users WHERE id = $1) WHERE id = $2`,
		string(canary.ID), string(other.ID)); err == nil || !tells() {
		t.Errorf("the control: %v, and nothing is found", err)
	}
}
