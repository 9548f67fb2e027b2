package pgtest_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/passmend/passmend/core/sqlstore/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestAStandbyTakesOver loses a primary that answers only when its standby has the
// commit on disk, too.
func TestAStandbyTakesOver(t *testing.T) {
	t.Parallel()
	primary, err := pgtest.NewCluster(pgtest.Dir(t), map[string]string{"synchronous_standby_names": "standby", "synchronous_commit": "local"})
	if errors.Is(err, pgtest.ErrNoBinaries) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	ok(t, err)
	started(t, primary)
	standby, err := primary.Standby(pgtest.Dir(t), "", nil)
	ok(t, err)
	started(t, standby)
	query(t, primary, `CREATE TABLE kept (n int)`)
	query(t, primary, `SET synchronous_commit = on; INSERT INTO kept VALUES (1)`)
	ok(t, primary.Kill())
	ok(t, standby.Promote())
	query(t, standby, `INSERT INTO kept SELECT n + 1 FROM kept`)
	ok(t, standby.Kill())
	ok(t, standby.Start())
	query(t, standby, `SELECT 1 / (count(*) - 1) FROM kept`) // divides by zero unless there are two
	ok(t, standby.Restart())
	ok(t, primary.Follow(standby, "")) // the lost one comes back behind the other
	ok(t, primary.Start())
	ok(t, standby.Kill())
	ok(t, primary.Promote())
	query(t, primary, `SELECT 1 / (count(*) - 1) FROM kept`)
}

// TestAClusterCanHaveAClockOfItsOwn: every process of the server sees a step, and
// goes on.
func TestAClusterCanHaveAClockOfItsOwn(t *testing.T) {
	t.Parallel()
	cluster, err := pgtest.NewCluster(pgtest.Dir(t), nil)
	if errors.Is(err, pgtest.ErrNoBinaries) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	ok(t, err)
	if err = cluster.OwnClock(); errors.Is(err, pgtest.ErrNoClock) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	ok(t, err)
	started(t, cluster)
	conn, err := pgx.Connect(t.Context(), cluster.URL("postgres"))
	ok(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	for _, offset := range []time.Duration{0, 2 * time.Hour, -2 * time.Hour, 0} {
		ok(t, cluster.SetClock(offset))
		var at time.Time
		ok(t, conn.QueryRow(t.Context(), `SELECT statement_timestamp()`).Scan(&at))
		if off := time.Until(at) - offset; off.Abs() > 10*time.Second {
			t.Errorf("the clock is %s beside %s", off, offset)
		}
		for _, work := range []string{`CREATE TABLE IF NOT EXISTS kept (n int)`, `VACUUM ANALYZE`, `CHECKPOINT`} {
			query(t, cluster, work)
		}
	}
	if !cluster.Running() {
		t.Error("the server has ended")
	}
}

func TestADatabaseIsOnesOwnAndGoneAfterwards(t *testing.T) {
	t.Parallel()
	var url string
	t.Run("inner", func(t *testing.T) {
		url = pgtest.URL(t)
		if other := pgtest.URL(t); other == url {
			t.Fatal("two tests share a database")
		}
		execute(t, url, `CREATE TABLE mine (n int)`)
	})
	if url == "" {
		t.Skip("no server")
	}
	if _, err := pgx.Connect(t.Context(), url); err == nil {
		t.Fatal("the database is still there")
	}
}

func started(t *testing.T, cluster *pgtest.Cluster) {
	t.Helper()
	ok(t, cluster.Start())
	t.Cleanup(func() { ok(t, cluster.Stop()) })
}

func query(t *testing.T, cluster *pgtest.Cluster, text string) {
	t.Helper()
	execute(t, cluster.URL("postgres"), text)
}

func execute(t *testing.T, url, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	ok(t, err)
	_, err = conn.Exec(ctx, text)
	ok(t, errors.Join(err, conn.Close(ctx)))
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
