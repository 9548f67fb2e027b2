package chaos

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/passmend/passmend/core/sqlstore/pgtest"
)

// T36 on PostgreSQL. Without room for a table's next page it refuses the statement
// and stays, and still takes, for good, what fits into a page that is there; without room for its write-ahead log it ends, cannot start again, and
// is started by its supervisor until there is room. passmend is not started again.
func TestChaosDiskFullOnPostgres(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		log  bool // the write-ahead log needs room at once
	}{
		{"no room for tables", false},
		{"no room for the write-ahead log", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			onPostgres(t)
			dir := clusterDir(t)
			write, remove := mountSmall(t, dir, "256m")
			cluster := makeCluster(t, dir, map[string]string{"max_wal_size": "64MB", "min_wal_size": "32MB"})
			database := startEmpty(t, cluster)
			watch := supervise(t, cluster)
			s, _ := newSite(t, siteConfig{database: database, users: usersFor(diskHold() + 30*time.Second)})
			var away outages
			ops, full, almost := testDiskFull(t, s, disk{
				fill: func(s *site, _ *server) {
					var end func()
					if c.log {
						end = endLog(t, s.ledger, cluster)
					} else {
						s.ledger.exec(`SELECT pg_switch_wal()`) // a segment of the log has room for longer than this takes
						s.ledger.exec(`CHECKPOINT`)
					}
					write()
					if c.log {
						begun := time.Now()
						end()
						away = append(away, [2]time.Time{begun, time.Now()})
					}
				},
				free:    remove,
				release: func(s *site, _ *server) { s.ledger.lapse() },
			})
			judgeDiskFull(t, s, ops, away.unsure(slices.Clone(ops)))
			ended, started := watch()
			accepted := acceptedWithin(ops, full, almost)
			t.Logf("PostgreSQL was found ended %d times and came back %d times; %d requests were accepted while the disk was full", ended, started, accepted)
			if c.log && (started != 1 || accepted > 0) {
				t.Error("it must have come back once, when there was room, and nothing be accepted before")
			}
		})
	}
}

// endLog gives what writes into the log until there is no room for its next segment.
// A slot keeps the segments that there are from being used again, and the connection
// is made while there is room: later there is none for what a new one writes.
func endLog(t *testing.T, l *ledger, cluster *pgtest.Cluster) (end func()) {
	t.Helper()
	connection, err := l.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run := func(query string) error {
		_, err := connection.ExecContext(t.Context(), query)
		return err
	}
	if err := run(`SELECT pg_create_physical_replication_slot('keep', true)`); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		eventually(t, time.Minute, "PostgreSQL has ended for want of room", func() bool {
			_ = run(`SELECT pg_logical_emit_message(false, 'fill', repeat('x', 4000000))`)
			return !cluster.Running()
		})
		_ = connection.Close() // the ledger has no other
	}
}

// supervise starts a cluster again when it ends, every second as a service manager
// does, until the test ends or it is asked how often that was.
func supervise(t *testing.T, cluster *pgtest.Cluster) (watch func() (ended, started int)) {
	t.Helper()
	var supervisor sync.WaitGroup
	stop := make(chan struct{})
	var ended, started int
	supervisor.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Second):
			}
			if cluster.Running() {
				continue
			}
			ended++
			if cluster.Start() == nil {
				started++
			}
		}
	})
	once := sync.OnceFunc(func() { close(stop); supervisor.Wait() })
	t.Cleanup(once)
	return func() (int, int) { once(); return ended, started }
}
