package chaos

import (
	"context"
	"errors"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/passmend/passmend/core/sqlstore/pgtest"
)

// onPostgres skips a test that is not to run on PostgreSQL.
func onPostgres(t *testing.T) {
	t.Helper()
	if !*flagPostgres && !thorough() {
		t.Skip("takes -chaos.postgres, or at least 25 kills")
	}
}

// newDatabase gives the URL of an empty database, on a server that the test must
// leave alone.
func newDatabase(t *testing.T) string {
	t.Helper()
	onPostgres(t)
	return pgtest.URL(t)
}

// newCluster starts a PostgreSQL of the test's own and gives the URL of an empty
// database on it.
func newCluster(t *testing.T) (*pgtest.Cluster, string) {
	t.Helper()
	cluster := makeCluster(t, clusterDir(t), nil)
	return cluster, startEmpty(t, cluster)
}

// clusterDir is an empty directory for a cluster. Not t.TempDir: its parent is
// closed to the user that PostgreSQL runs as. Not pgtest.Dir: here the disk counts.
func clusterDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "passmend-chaos-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// makeCluster makes a cluster, which is stopped when the test ends.
func makeCluster(t *testing.T, dir string, settings map[string]string) *pgtest.Cluster {
	t.Helper()
	onPostgres(t)
	cluster, err := pgtest.NewCluster(dir, settings)
	if errors.Is(err, pgtest.ErrNoBinaries) && os.Getenv("CI") != "true" {
		t.Skipf("NOT TESTED on PostgreSQL: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Stop() })
	return cluster
}

// startEmpty starts it for the first time and gives the URL of an empty database.
func startEmpty(t *testing.T, cluster *pgtest.Cluster) string {
	t.Helper()
	startCluster(t, cluster)
	if _, err := queryOnce(t.Context(), cluster.URL("postgres"), `CREATE DATABASE chaos`); err != nil {
		t.Fatal(err)
	}
	return cluster.URL("chaos")
}

// queryOnce runs one statement on a connection of its own and gives the first value
// of its answer, as text; empty when there is none.
func queryOnce(ctx context.Context, database, statement string) (value string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	results, err := conn.PgConn().Exec(ctx, statement).ReadAll()
	if err == nil && len(results) > 0 && len(results[0].Rows) > 0 {
		value = string(results[0].Rows[0][0])
	}
	return value, err
}

// startCluster starts it, again when its port was taken while it was down.
func startCluster(t *testing.T, cluster *pgtest.Cluster) {
	t.Helper()
	var err error
	for range 5 {
		if err = cluster.Start(); err == nil {
			return
		}
		time.Sleep(time.Second)
	}
	t.Fatal(err)
}

// T35 with two replicas on PostgreSQL.
func TestChaosKillsOnPostgres(t *testing.T) {
	t.Parallel()
	cluster, database := newCluster(t)
	s, _ := newSite(t, siteConfig{database: database, users: usersFor(time.Duration(*flagKills) * 6 * time.Second)})
	first, second := s.serve(), s.serve()
	load := s.load([]*server{first, second}, s.addresses, *flagRate)
	n := newNemesis(t, s, first, second)
	n.cluster = cluster
	n.storm(*flagKills, "server", "plugin", "postmaster", "backend", "group")
	first.ready()
	second.ready()
	n.judge(n.settle(load, false))
	for _, srv := range n.servers {
		if ends := srv.ends.Load(); ends != 0 {
			t.Errorf("a server ended %d times by itself: one whose database is away stays", ends)
		}
	}
}

// The control: a PostgreSQL that answers before its disk loses what it answered.
func TestChaosControlAsynchronousCommit(t *testing.T) {
	t.Parallel()
	cluster, database := newCluster(t)
	s, _ := newSite(t, siteConfig{
		database: database, users: usersFor(40 * time.Second),
		env: []string{"PASSMEND_ALLOW_UNSAFE_DURABILITY=true"},
	})
	// Only now: commands refuse such a database.
	s.ledger.exec(`ALTER SYSTEM SET synchronous_commit = 'off'`)
	s.ledger.exec(`SELECT pg_reload_conf()`)
	srv := s.serve()
	load := s.load([]*server{srv}, s.addresses, *flagRate)
	n := newNemesis(t, s, srv)
	n.cluster = cluster
	n.storm(3, "postmaster")
	srv.ready()
	// The worker's outcomes are lost too: only the ledger is asked, not whether it
	// settles.
	ops := n.outages.unsure(operations(t, load))
	found := Compare(ops, s.mails(), s.ledger.requests())
	t.Logf("%d acknowledged, lost %d, vanished %d", found.Acknowledged, len(found.Lost), len(found.Vanished))
	if len(found.Vanished) == 0 {
		t.Error("nothing vanished: the run proves nothing")
	}
}

// T40 with two replicas: while one restarts the other serves.
func TestChaosRollingRestartOnPostgres(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t, siteConfig{database: newDatabase(t), users: usersFor(time.Duration(restarts()+2) * 8 * time.Second)})
	testRollingRestart(t, s, s.serve(), s.serve())
}

// T38 between the server and PostgreSQL.
func TestChaosNetworkToPostgres(t *testing.T) {
	t.Parallel()
	onPostgres(t)
	for _, c := range []struct {
		name   string
		faults Faults
		lasts  time.Duration
	}{
		{"latency of 50 ms and jitter", Faults{Latency: 50 * time.Millisecond, Jitter: 50 * time.Millisecond}, 5 * time.Second},
		{"latency of 2 s", Faults{Latency: 2 * time.Second}, 10 * time.Second},
		{"every connection is reset", Faults{Reset: true}, 3 * time.Second},
		{"10 kB a second", Faults{Bandwidth: 10_000}, 10 * time.Second},
		{"a black hole", Faults{BlackHole: true}, 10 * time.Second},
		{"a side closes late", Faults{SlowClose: time.Second}, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			database := newDatabase(t)
			proxy, address := newProxy(t, database), parseURL(t, database)
			address.Host = proxy.Addr()
			s, _ := newSite(t, siteConfig{database: database, through: address.String(), users: 50 * int((c.lasts + 20*time.Second).Seconds())})
			srv := s.serve()
			load := s.load([]*server{srv}, s.addresses, 50)
			n := newNemesis(t, s, srv)
			time.Sleep(time.Second)
			n.outage(func() {
				proxy.Set(c.faults)
				time.Sleep(c.lasts)
				proxy.Set(Faults{})
			})
			healed := time.Now()
			eventually(t, 20*time.Second, "the server is ready again", func() bool {
				status, _ := fetch(srv.admin + "/readyz")
				return status == 200
			})
			t.Logf("ready %s after the network was", time.Since(healed).Round(time.Millisecond))
			time.Sleep(2 * time.Second)
			found := n.settle(load, false)
			judge(t, s, found)
			if ends := srv.ends.Load(); ends != 0 {
				t.Errorf("the server ended %d times by itself", ends)
			}
		})
	}
}

// newProxy leads to a database's server.
func newProxy(t *testing.T, database string) *Proxy {
	t.Helper()
	proxy, err := NewProxy(parseURL(t, database).Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	return proxy
}

func parseURL(t *testing.T, database string) *url.URL {
	t.Helper()
	address, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	return address
}
