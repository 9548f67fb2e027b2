package chaos

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// T36: a full disk stops acceptance, honestly, and nothing else for longer than it
// is full.
func TestChaosDiskFullOnSQLite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		open func(t *testing.T, dir string) (fill func(srv *server), free func())
	}{
		{"files may not grow", openLimited},
		{"a full file system", openSmall},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			data := filepath.Join(dir, "data")
			if err := os.Mkdir(data, 0o700); err != nil {
				t.Fatal(err)
			}
			fill, free := c.open(t, data)
			testDiskFull(t, dir, fill, free)
		})
	}
}

func testDiskFull(t *testing.T, dir string, fill func(*server), free func()) {
	hold := 2 * time.Second
	if thorough() {
		hold = time.Minute
	}
	rate := *flagRate
	s, _ := newSite(t, siteConfig{dir: dir, users: int((hold + 30*time.Second).Seconds()) * rate})
	srv := s.serve()
	load := s.load([]*server{srv}, s.addresses, rate)
	answered := func(status int, since time.Time) bool {
		ops, err := ReadOperations(load.config.Journal)
		if err != nil {
			return false // the last line is being written
		}
		for _, op := range ops {
			if op.Status == status && op.At.After(since) {
				return true
			}
		}
		return false
	}
	eventually(t, 20*time.Second, "requests are accepted", func() bool { return answered(http.StatusAccepted, time.Time{}) })
	s.ledger.checkpoint() // or what is left of the journal has room for seconds
	fill(srv)
	filled := time.Now()
	eventually(t, 20*time.Second, "the full disk shows", func() bool { return answered(http.StatusServiceUnavailable, filled) })
	full := time.Now()
	time.Sleep(hold)
	almost := time.Now()
	free()
	freed := time.Now()
	eventually(t, 10*time.Second, "requests are accepted again", func() bool { return answered(http.StatusAccepted, freed) })
	t.Logf("full for %s, showed after %s; accepted again %s after there was room", almost.Sub(filled).Round(time.Millisecond),
		full.Sub(filled).Round(time.Millisecond), time.Since(freed).Round(time.Millisecond))
	if !thorough() {
		// What went out and could not be written down is free again when its lease has
		// lapsed, in a minute, or when the server is started anew.
		time.Sleep(300 * time.Millisecond)
		ops := operations(t, load)
		if status, _ := srv.stop(); status != 0 {
			t.Errorf("exit status %d", status)
		}
		srv.up()
		srv.ready()
		judgeDiskFull(t, s, srv, ops, full, almost)
		return
	}
	judgeDiskFull(t, s, srv, operations(t, load), full, almost)
}

// judgeDiskFull: what the ledger knows decides about every answer.
func judgeDiskFull(t *testing.T, s *site, srv *server, ops []Operation, full, almost time.Time) {
	t.Helper()
	waitUntilSettled(t, s, !thorough())
	found := Compare(ops, s.mails(), s.ledger.requests())
	t.Logf("answers by status: %v; %d acknowledged, %d got mail; lost %d, phantom %d, duplicates %d", statuses(ops),
		found.Acknowledged, found.Delivered, len(found.Lost), len(found.Phantom), len(found.Duplicates))
	judge(t, s, found)
	accepted := 0
	for _, op := range ops {
		switch {
		case op.Outcome == Invoked:
		case op.Outcome == Info:
			t.Errorf("no answer: %s", op.Error)
		case op.Status == http.StatusServiceUnavailable && op.Retry == "":
			t.Error("503 without Retry-After")
		case op.Status != http.StatusServiceUnavailable && op.Status != http.StatusAccepted && op.Status != 0:
			t.Errorf("status %d", op.Status)
		case op.Status == http.StatusAccepted && op.At.After(full) && op.At.Before(almost):
			accepted++
		}
	}
	if accepted > 0 {
		t.Errorf("%d requests were accepted while the disk was full", accepted)
	}
	if ends := srv.ends.Load(); ends != 0 {
		t.Errorf("the server ended %d times by itself", ends)
	}
}

// openLimited keeps the server's files from growing beyond their present size.
func openLimited(t *testing.T, data string) (fill func(*server), free func()) {
	var limited int
	limit := func(bytes uint64) {
		var before unix.Rlimit
		if err := unix.Prlimit(limited, unix.RLIMIT_FSIZE, nil, &before); err != nil {
			t.Fatal(err)
		}
		if err := unix.Prlimit(limited, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: before.Max}, nil); err != nil {
			t.Fatal(err)
		}
	}
	fill = func(srv *server) {
		info, err := os.Stat(filepath.Join(data, "passmend.db-wal"))
		if err != nil {
			t.Fatal(err)
		}
		limited = srv.pid()
		limit(uint64(info.Size()))
	}
	return fill, func() { limit(unix.RLIM_INFINITY) }
}

// openSmall puts the data on a small file system of its own, which only root may
// make, and fills it with a file.
func openSmall(t *testing.T, data string) (fill func(*server), free func()) {
	if err := unix.Mount("tmpfs", data, "tmpfs", 0, "size=48m,mode=0700"); err != nil {
		t.Skipf("a file system of its own needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(data, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	filler := filepath.Join(data, "filler")
	fill = func(*server) {
		file, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for size := 1 << 20; size > 0; size /= 4 {
			for err = nil; err == nil; {
				_, err = file.Write(make([]byte, size))
			}
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
		}
	}
	return fill, func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}
}
