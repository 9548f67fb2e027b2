package host

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var errPin = errors.New("the checksum is not the pinned one")

// only verifies nothing but the bytes of one file.
func only(t *testing.T, path string) func(string, string, [sha256.Size]byte) (Grant, error) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pinned := sha256.Sum256(content)
	return func(_, _ string, sum [sha256.Size]byte) (Grant, error) {
		if sum != pinned {
			return Grant{}, errPin
		}
		return Grant{}, nil
	}
}

func TestAPluginThatIsNotVerifiedDoesNotStart(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) {
		startOnce(c)
		c.Verify = func(name, path string, _ [sha256.Size]byte) (Grant, error) {
			if name == "quiet" && filepath.Base(path) == "passmend-quiet" {
				return Grant{}, errPin
			}
			return Grant{}, nil
		}
	}, "quiet", "smtp")
	if status := b.status(t, "quiet"); status.State != StateBackoff || status.PID != 0 ||
		status.LastError != "is not verified: the checksum is not the pinned one" {
		t.Errorf("status = %+v", status)
	}
	if !strings.Contains(b.observed.String(), "exited quiet verify\n") {
		t.Errorf("observed %q", b.observed.String())
	}
	if status := b.status(t, "smtp"); status.State != StateUp {
		t.Errorf("the plugin beside it: %+v", status)
	}
}

// T34: the file is exchanged all the time while the host starts it again and again.
// What is not verified never runs. The control checks the path and executes the
// path, and does run it.
func TestT34WhatIsNotVerifiedIsNeverExecuted(t *testing.T) {
	t.Parallel()
	files := swapped(t)
	verify := only(t, files.good)
	var refused, started int
	for i := range 60 {
		h, err := New(Config{
			Dir: files.dir, SocketDir: socketDir(t), Verify: verify,
			Sandbox: SandboxOff, // in a cage it could leave no mark
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := h.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		switch status := h.List()[0]; {
		case status.State == StateUp:
			started++
		case strings.Contains(status.LastError, errPin.Error()):
			refused++
		default:
			t.Errorf("start %d: %+v", i, status)
		}
		if err := h.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		if started > 2 && refused > 2 && i > 20 {
			break
		}
	}
	if marks := files.marks(t); marks != 0 {
		t.Errorf("%d unverified executions", marks)
	}
	if started == 0 || refused == 0 {
		t.Errorf("started %d, refused %d: nothing was exchanged in time", started, refused)
	}
	t.Logf("started %d, refused %d, exchanged %d times", started, refused, files.swaps.Load())
	eventually(t, "a check of the path lets one through", func() bool {
		content, err := os.ReadFile(files.path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verify("quiet", files.path, sha256.Sum256(content)); err == nil {
			_ = exec.Command(files.path).Run()
		}
		return files.marks(t) > 0
	})
}

// exchange is a plugin whose executable changes all the time between one that is
// good and one that leaves a mark.
type exchange struct {
	dir, path, good, evil, mark string
	swaps                       atomic.Int64
}

func swapped(t *testing.T) *exchange {
	t.Helper()
	e := &exchange{dir: t.TempDir()}
	other := t.TempDir()
	e.path, e.mark = filepath.Join(e.dir, "passmend-quiet"), filepath.Join(other, "mark")
	e.good, e.evil = filepath.Join(other, "good"), filepath.Join(other, "evil")
	copyFile(t, filepath.Join(built, "hostile"), e.good)
	if err := os.WriteFile(e.evil, []byte("#!/bin/sh\necho >> "+e.mark+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(e.good, e.path); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() {
		close(stop)
		<-done
	})
	go func() {
		defer close(done)
		next := filepath.Join(other, "next")
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(i%7) * 100 * time.Microsecond):
			}
			_ = os.Remove(next) // renaming a file onto itself leaves it
			_ = os.Link([]string{e.good, e.evil}[i%2], next)
			_ = os.Rename(next, e.path)
			e.swaps.Add(1)
		}
	}()
	return e
}

func (e *exchange) marks(t *testing.T) int {
	t.Helper()
	marks, err := os.ReadFile(e.mark)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return len(marks)
}

// The checksum is of what was copied, whatever is written to the file meanwhile.
func TestTheChecksumIsOfTheSealedBytes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "passmend-quiet")
	contents := [2][]byte{make([]byte, 64<<10), make([]byte, 64<<10)}
	for i := range contents {
		_, _ = rand.Read(contents[i])
	}
	if err := os.WriteFile(path, contents[0], 0o755); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_ = os.WriteFile(path, contents[i%2], 0o755)
			}
		}
	}()
	mixed := 0
	for range 2000 {
		b, err := seal("quiet", path, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := io.ReadAll(io.NewSectionReader(b.file, 0, maxBinary))
		if err != nil {
			t.Fatal(err)
		}
		if sha256.Sum256(sealed) != b.sum {
			t.Fatal("the checksum is of something else")
		}
		if !bytes.Equal(sealed, contents[0]) && !bytes.Equal(sealed, contents[1]) {
			mixed++
		}
		b.close()
	}
	close(stop)
	<-done
	if mixed == 0 { // the control: it was written to in mid-copy
		t.Error("nothing was written in time")
	}
}

func TestWhatCannotBeAPluginSaysWhy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ path, want string }{
		{filepath.Join(dir, "none"), "cannot be read: no such file or directory"},
		{dir, "is not an executable file of at most 256 MiB"},
		{write("plain", "x", 0o644), "is not an executable file of at most 256 MiB"},
	} {
		if _, err := seal("x", c.path, dir); err == nil || err.Error() != c.want {
			t.Errorf("seal = %v, want %q", err, c.want)
		}
	}
	for _, c := range []struct{ path, interpreter string }{
		{write("script", "#! /usr/bin/python3 -I\n", 0o755), "/usr/bin/python3"},
		{write("short", "#!", 0o755), ""},
		{write("empty", "", 0o755), ""},
		{write("broken", "\x7fELF"+strings.Repeat("\xff", 500), 0o755), ""},
		{filepath.Join(built, "hostile"), ""},
	} {
		b, err := seal("x", c.path, dir)
		if err != nil {
			t.Fatal(err)
		}
		if b.interpreter != c.interpreter {
			t.Errorf("%s: interpreter %q, want %q", filepath.Base(c.path), b.interpreter, c.interpreter)
		}
		b.close()
	}
}

func TestRuntimePaths(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		approved string
		want     bool
	}{
		{"/usr/bin/python3", true}, {"/usr", true}, {"/", true}, {"/usr/bin/", true},
		{"/usr/bin/python", false}, {"/usr/lib", false}, {"/usr/bin/python3/x", false},
	} {
		if got := among("/usr/bin/python3", []string{"/opt", c.approved}); got != c.want {
			t.Errorf("%s: %s", c.approved, strconv.FormatBool(got))
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o755); err != nil {
		t.Fatal(err)
	}
}
