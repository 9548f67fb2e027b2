package chaos

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// disk is one that a test can fill, and what that asks for afterwards.
type disk struct {
	fill func(*site, *server)
	free func()
	// release ends the leases of what went out and could not be written down.
	release func(*site, *server)
}

// T36: a full disk stops acceptance, honestly, and nothing else for longer than it
// is full.
func TestChaosDiskFullOnSQLite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		open func(t *testing.T, dir string) (fill func(*site, *server), free func())
	}{
		{"files may not be written", openLimited},
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
			s, _ := newSite(t, siteConfig{dir: dir, users: usersFor(diskHold() + 30*time.Second)})
			ops, full, almost := testDiskFull(t, s, disk{fill: fill, free: free, release: func(_ *site, srv *server) {
				if status, _ := srv.stop(); status != 0 {
					t.Errorf("exit status %d", status)
				}
				srv.up()
				srv.ready()
			}})
			judgeDiskFull(t, s, ops, ops)
			if accepted := acceptedWithin(ops, full, almost); accepted > 0 {
				t.Errorf("%d requests were accepted while the disk was full", accepted)
			}
		})
	}
}

// diskHold is how long a disk is full.
func diskHold() time.Duration {
	if thorough() {
		return time.Minute
	}
	return 2 * time.Second
}

// testDiskFull gives what was told, and the first and the last moment at which the
// disk was full for certain.
func testDiskFull(t *testing.T, s *site, d disk) (ops []Operation, full, almost time.Time) {
	t.Helper()
	srv := s.serve()
	load := s.load([]*server{srv}, s.addresses, *flagRate)
	answered := func(status int, since time.Time) bool {
		ops, err := ReadOperations(load.config.Journal)
		return err == nil && slices.ContainsFunc(ops, func(op Operation) bool { // err: the last line is being written
			return op.Status == status && op.At.After(since)
		})
	}
	eventually(t, 20*time.Second, "requests are accepted", func() bool { return answered(http.StatusAccepted, time.Time{}) })
	d.fill(s, srv)
	filled := time.Now()
	eventually(t, 20*time.Second, "the full disk shows", func() bool { return answered(http.StatusServiceUnavailable, filled) })
	full = time.Now()
	time.Sleep(diskHold())
	almost = time.Now()
	d.free()
	freed := time.Now()
	eventually(t, 10*time.Second, "requests are accepted again", func() bool { return answered(http.StatusAccepted, freed) })
	t.Logf("full for %s, showed after %s; accepted again %s after there was room", almost.Sub(filled).Round(time.Millisecond),
		full.Sub(filled).Round(time.Millisecond), time.Since(freed).Round(time.Millisecond))
	if !thorough() {
		time.Sleep(300 * time.Millisecond)
	}
	ops = operations(t, load)
	if !thorough() {
		// What went out and could not be written down is free again when its lease has
		// lapsed, in a minute.
		d.release(s, srv)
	}
	if ends := srv.ends.Load(); ends != 0 {
		t.Errorf("the server ended %d times by itself", ends)
	}
	return ops, full, almost
}

// judgeDiskFull: what the ledger knows decides about every answer. told are the
// answers as they were, ops with those that can be of a commit.
func judgeDiskFull(t *testing.T, s *site, told, ops []Operation) {
	t.Helper()
	waitUntilSettled(t, s, !thorough())
	found := Compare(ops, s.mails(), s.ledger.requests())
	t.Logf("answers by status: %v; %d acknowledged, %d got mail; lost %d, phantom %d, duplicates %d", statuses(told),
		found.Acknowledged, found.Delivered, len(found.Lost), len(found.Phantom), len(found.Duplicates))
	judge(t, s, found)
	for _, op := range told {
		switch {
		case op.Outcome == Invoked:
		case op.Outcome == Info:
			t.Errorf("no answer: %s", op.Error)
		case op.Status == http.StatusServiceUnavailable && op.Retry == "":
			t.Error("503 without Retry-After")
		case op.Status != http.StatusServiceUnavailable && op.Status != http.StatusAccepted && op.Status != 0:
			t.Errorf("status %d", op.Status)
		}
	}
}

// acceptedWithin counts what was asked for and accepted between two moments. What was
// asked for before may be of a commit from before, whose answer took its time.
func acceptedWithin(ops []Operation, from, until time.Time) (n int) {
	asked := make(map[string]time.Time)
	for _, op := range ops {
		if op.Outcome == Invoked {
			asked[op.Address] = op.At
		}
		if op.Outcome == OK && asked[op.Address].After(from) && op.At.Before(until) {
			n++
		}
	}
	return n
}

// openLimited keeps the server from writing to any file, which needs no root. No
// larger limit would do: the journal is written anew from its beginning as long as
// the database has room in its own pages.
func openLimited(t *testing.T, _ string) (fill func(*site, *server), free func()) {
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
	fill = func(_ *site, srv *server) {
		limited = srv.pid()
		limit(0)
	}
	return fill, func() { limit(unix.RLIM_INFINITY) }
}

// openSmall puts the data on a small file system of its own and fills it. Under steady
// load the write-ahead log alone may take 64 MiB before the writer clears it.
func openSmall(t *testing.T, data string) (fill func(*site, *server), free func()) {
	write, remove := mountSmall(t, data, "96m")
	return func(s *site, _ *server) { s.ledger.checkpoint(); write() }, remove
}

// mountSmall makes a directory a file system of its own, which only root may do;
// write fills it with a file.
func mountSmall(t *testing.T, dir, size string) (write, remove func()) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size+",mode=0700"); err != nil {
		t.Skipf("a file system of its own needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	filler := filepath.Join(dir, "filler")
	write = func() {
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
	return write, func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}
}
