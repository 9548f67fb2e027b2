// Package pgtest gives tests PostgreSQL databases of their own.
//
// Limits first. It is test support: production code must not import it. The server
// is the one that PASSMEND_TEST_POSTGRES_URL names, else one throw-away cluster for
// each test process, made from binaries that it finds in PATH or where Debian has
// them; for that, TestMain must call Main. Without either a test is skipped, and
// fails where CI is "true". Only databases that it made itself are ever dropped.
package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// serverVariable names a server whose role may create databases.
const serverVariable = "PASSMEND_TEST_POSTGRES_URL"

// namePrefix begins the name of every database that is made here.
const namePrefix = "passmend_test_"

// statementTime bounds one statement of this package.
const statementTime = time.Minute

// server is what the tests of this process share.
type server struct {
	once    sync.Once
	main    bool // Main will stop the cluster
	dir     string
	cluster *Cluster
	url     string
	err     error
}

var shared server

// Main runs the tests of a package and then stops what they shared. TestMain
// passes its result to os.Exit.
func Main(m *testing.M) int {
	shared.main = true
	defer shared.stop()
	return m.Run()
}

// URL gives the URL of a new, empty database, which is dropped when the test ends.
// Clauses, such as TEMPLATE template0 LOCALE_PROVIDER icu, go into its CREATE
// DATABASE.
func URL(t testing.TB, clauses ...string) string {
	t.Helper()
	shared.once.Do(shared.start)
	switch {
	case errors.Is(shared.err, ErrNoBinaries) && os.Getenv("CI") != "true":
		t.Skipf("NOT TESTED on PostgreSQL: set %s, or install the server (Debian: postgresql): %v", serverVariable, shared.err)
	case shared.err != nil:
		t.Fatalf("PostgreSQL: %v", shared.err)
	}
	random := make([]byte, 8)
	_, _ = rand.Read(random)
	name := namePrefix + hex.EncodeToString(random)
	if err := shared.exec("CREATE DATABASE " + name + " " + strings.Join(clauses, " ")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := shared.exec("DROP DATABASE IF EXISTS " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	address, err := url.Parse(shared.url)
	if err != nil {
		t.Fatalf("%s is no URL", serverVariable)
	}
	address.Path = "/" + name
	return address.String()
}

// Dir gives an empty directory for a cluster, which is removed when the test ends.
// The test's own t.TempDir is closed to the user that the server runs as.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratch(), "passmend-pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (s *server) start() {
	if s.url = os.Getenv(serverVariable); s.url != "" {
		return
	}
	if !s.main {
		s.err = errors.New("TestMain of this package must call pgtest.Main")
		return
	}
	if s.dir, s.err = os.MkdirTemp(scratch(), "passmend-pg"); s.err != nil {
		return
	}
	if s.cluster, s.err = NewCluster(s.dir, nil); s.err != nil {
		return
	}
	if s.err = s.cluster.Start(); s.err == nil {
		s.url = s.cluster.URL("postgres")
	}
}

// scratch is where a cluster that nobody keeps is quickest: in memory, where there
// is enough of it. Nothing about the server's own settings changes.
func scratch() string {
	const memory, enough = "/dev/shm", 1 << 30
	var free syscall.Statfs_t
	if os.Getenv("TMPDIR") == "" && syscall.Statfs(memory, &free) == nil && free.Bavail*uint64(free.Bsize) > enough {
		return memory
	}
	return ""
}

func (s *server) stop() {
	if s.cluster != nil {
		if err := s.cluster.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop PostgreSQL:", err)
		}
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

func (s *server) exec(statement string) error { return execute(s.url, statement) }

// execute runs one statement on a connection of its own.
func execute(address, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), statementTime)
	defer cancel()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}
