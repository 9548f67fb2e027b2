package chaos

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/coretest"
	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/tenants"
)

// ledger looks at a site's database from the side, on a connection of its own.
// Its queries are the same for every engine and name no time, whose type differs.
type ledger struct {
	t       *testing.T
	site    *site
	db      *sql.DB
	account tenants.AccountID
}

func openLedger(t *testing.T, s *site) *ledger {
	t.Helper()
	driver, name := "pgx", s.database
	if path, ok := strings.CutPrefix(s.database, "sqlite://"); ok {
		driver, name = "sqlite", "file:"+path+"?_busy_timeout=10000"
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(0) // a database that was killed leaves dead connections
	t.Cleanup(func() { _ = db.Close() })
	l := &ledger{t: t, site: s, db: db}
	l.account = tenants.AccountID(l.strings(`SELECT id FROM accounts WHERE slug = '` + account + `'`)[0])
	return l
}

// store opens the site's store beside the server, until the test ends.
func (l *ledger) store() *sqlstore.Store {
	l.t.Helper()
	store, err := sqlstore.Open(l.t.Context(), sqlstore.Config{URL: l.site.database, NewID: coretest.NewID})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = store.Close() })
	return store
}

func (l *ledger) createUsers(addresses []string) {
	l.t.Helper()
	store := l.store()
	if err := store.Start(l.t.Context()); err != nil { // so that they share commits
		l.t.Fatal(err)
	}
	var group sync.WaitGroup
	next := make(chan string)
	for range 64 {
		group.Go(func() {
			for text := range next {
				if err := l.createUser(store, text); err != nil {
					l.t.Errorf("create user: %v", err)
				}
			}
		})
	}
	for _, text := range addresses {
		next <- text
	}
	close(next)
	group.Wait()
	if err := store.Stop(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

func (l *ledger) createUser(store *sqlstore.Store, text string) error {
	address, err := core.ParseUserAddress(text)
	if err != nil {
		return err
	}
	_, err = store.CreateUser(l.t.Context(), l.account, core.User{
		ID: core.UserID(coretest.NewID()), Account: l.account, Address: address, Role: core.RoleUser,
		PasswordHash: []byte("none that anybody knows"),
	})
	return err
}

// try gives the first column of a query's rows.
func (l *ledger) try(query string) (values []string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.t.Context()), 15*time.Second)
	defer cancel()
	rows, err := l.db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var value string
		if err := rows.Scan(&value); err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, rows.Err()
}

func (l *ledger) strings(query string) []string {
	l.t.Helper()
	values, err := l.try(query)
	if err != nil {
		l.t.Fatalf("%s: %v", query, err)
	}
	return values
}

func (l *ledger) count(from string) string {
	l.t.Helper()
	return l.strings(`SELECT count(*) FROM ` + from)[0]
}

// underWay names the mails that somebody holds a lease on.
func (l *ledger) underWay() ([]string, error) {
	return l.try(`SELECT id FROM deliveries WHERE lease IS NOT NULL AND kind = 'mail'`)
}

// unfinished is how much is pending; -1 when the database does not answer.
func (l *ledger) unfinished() (n int) {
	values, err := l.try(`SELECT count(*) FROM deliveries WHERE state = 'queued'
		UNION ALL SELECT count(*) FROM requests WHERE state = 'pending'`)
	if err != nil || len(values) != 2 {
		return -1
	}
	for _, value := range values {
		var part int
		if _, err := fmt.Sscan(value, &part); err != nil {
			return -1
		}
		n += part
	}
	return n
}

// hurry lets what waits for a later hour be due: times in rows are the tests' to
// move.
func (l *ledger) hurry() {
	l.t.Helper()
	l.exec(`UPDATE deliveries SET run_at = queued_at WHERE state = 'queued' AND lease IS NULL AND ready = FALSE`)
}

// lapse ends the leases that are held on and on while nothing new is asked for: no
// mail takes that long.
func (l *ledger) lapse() {
	l.t.Helper()
	const held = `SELECT lease FROM deliveries WHERE lease IS NOT NULL`
	before := l.strings(held)
	if len(before) == 0 {
		return
	}
	time.Sleep(3 * time.Second)
	for _, lease := range l.strings(held) {
		if slices.Contains(before, lease) {
			l.exec(`UPDATE deliveries SET lease_until = queued_at WHERE lease = '` + lease + `'`)
		}
	}
}

// checkpoint empties SQLite's write-ahead log, if nobody is in it.
func (l *ledger) checkpoint() { l.t.Helper(); l.exec(`PRAGMA wal_checkpoint(TRUNCATE)`) }

func (l *ledger) exec(statement string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 15*time.Second)
	defer cancel()
	if _, err := l.db.ExecContext(ctx, statement); err != nil {
		l.t.Fatal(err)
	}
}

// digests maps the digests of the addresses, as hexadecimal, back to them.
func (l *ledger) digests(addresses []string) map[string]string {
	l.t.Helper()
	ring, err := keys.Open(filepath.Join(l.site.dir, "data", "keys.json"))
	if err != nil {
		l.t.Fatal(err)
	}
	known := make(map[string]string, len(addresses))
	for _, address := range addresses {
		known[fmt.Sprintf("%x", ring.Digest("address", l.account, []byte(address)))] = address
	}
	return known
}

// requests gives what became of each address's request.
func (l *ledger) requests() map[string]Request {
	l.t.Helper()
	rows, err := l.db.QueryContext(l.t.Context(), `SELECT address_digest, state, reason FROM requests`)
	if err != nil {
		l.t.Fatal(err)
	}
	defer rows.Close()
	known, found := l.digests(l.site.addresses), make(map[string]Request)
	for rows.Next() {
		var digest []byte
		var state, reason string
		if err := rows.Scan(&digest, &state, &reason); err != nil {
			l.t.Fatal(err)
		}
		address := known[fmt.Sprintf("%x", digest)]
		r := found[address]
		r.Count++
		if state != "pending" && state != "sent" && state != "redeemed" {
			r.Ended = state + " " + reason
		}
		found[address] = r
	}
	if err := rows.Err(); err != nil {
		l.t.Fatal(err)
	}
	return found
}

// ids gives the ids of an address's requests.
func (l *ledger) ids(address string) (ids []string) {
	l.t.Helper()
	known := l.digests([]string{address})
	rows, err := l.db.QueryContext(l.t.Context(), `SELECT id, address_digest FROM requests`)
	if err != nil {
		l.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var digest []byte
		if err := rows.Scan(&id, &digest); err != nil {
			l.t.Fatal(err)
		}
		if known[fmt.Sprintf("%x", digest)] != "" {
			ids = append(ids, id)
		}
	}
	if err := rows.Err(); err != nil {
		l.t.Fatal(err)
	}
	return ids
}

// timeline is everything that the ledger knows of an address's requests.
func (l *ledger) timeline(address string) string {
	l.t.Helper()
	ids := l.ids(address)
	if len(ids) == 0 {
		return "  no request"
	}
	var lines []string
	for _, id := range ids {
		if strings.Trim(id, "0123456789abcdef-") != "" {
			l.t.Fatalf("a request's id is %q", id)
		}
		lines = append(lines, l.strings(`SELECT '  request '||id||' '||state||' '||reason||' accepted '||CAST(accepted_at AS TEXT) FROM requests WHERE id = '`+id+`'`)...)
		lines = append(lines, l.strings(`SELECT '  delivery '||id||' '||kind||' '||state||' '||reason||' attempt '||CAST(attempt AS TEXT)||' lost '||CAST(lost AS TEXT)||
			' queued '||CAST(queued_at AS TEXT)||' ended '||coalesce(CAST(ended_at AS TEXT), '-') FROM deliveries WHERE request_id = '`+id+`' ORDER BY queued_at, id`)...)
		lines = append(lines, l.strings(`SELECT '  attempt '||a.delivery_id||' number '||CAST(a.number AS TEXT)||' '||a.provider||' '||a.outcome||' '||a.detail||
			' ended '||CAST(a.ended_at AS TEXT) FROM attempts a JOIN deliveries d ON d.account_id = a.account_id AND d.id = a.delivery_id
			WHERE d.request_id = '`+id+`' ORDER BY a.ended_at`)...)
	}
	return strings.Join(lines, "\n")
}

// balanced says whether the states add up to what was accepted.
func (l *ledger) balanced() error {
	l.t.Helper()
	balance, err := l.store().Balance(l.t.Context())
	if err != nil {
		return err
	}
	sum := int64(0)
	for _, count := range balance.States {
		sum += count
	}
	if balance.Accepted != sum {
		return fmt.Errorf("accepted %d, states %v", balance.Accepted, balance.States)
	}
	return nil
}

// inFlight collects what was under way when something was killed.
type inFlight map[string]bool

func (f inFlight) add(ids []string) (more int) {
	before := len(f)
	for _, id := range ids {
		f[id] = true
	}
	return len(f) - before
}

// explains says whether a duplicate's mail was under way at a kill.
func (f inFlight) explains(d Duplicate) bool {
	return !slices.ContainsFunc(d.Mails, func(m Mail) bool {
		id, _, _ := strings.Cut(m.MessageID, "@")
		return !f[id]
	})
}
