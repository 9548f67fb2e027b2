package host

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/passmend/passmend/plugins/smtp/smtptest"
)

// install puts an executable into place as an installer does, by renaming; suffix
// makes its bytes others.
func install(t *testing.T, source, path, suffix string) {
	t.Helper()
	next := filepath.Join(t.TempDir(), "next")
	copyFile(t, source, next)
	file, err := os.OpenFile(next, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(suffix); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

// The new process is up before the old one goes; a call in flight ends on the old
// one; of the calls made all the while none is lost.
func TestAnUpgradeLosesNoCall(t *testing.T) {
	t.Parallel()
	reached, answer := make(chan struct{}), make(chan struct{})
	slow := smtptest.StartScripted(t, func(_ int, verb string) string {
		if verb == smtptest.Dot {
			close(reached)
			<-answer
		}
		return ""
	})
	server := smtptest.Start(t, smtptest.Options{})
	b := setup(t, nil, "smtp")
	old := b.status(t, "smtp")

	inFlight := make(chan error, 1)
	go func() {
		_, err := b.Send(t.Context(), "smtp", plain(scripted(slow)))
		inFlight <- err
	}()
	<-reached
	var sending sync.WaitGroup
	var sent atomic.Int64
	stop := make(chan struct{})
	for range 4 {
		sending.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := b.Send(t.Context(), "smtp", plain(string(server.Settings("")))); err != nil {
					t.Errorf("Send during the upgrade = %v", err)
				}
				sent.Add(1)
			}
		})
	}
	eventually(t, "calls", func() bool { return sent.Load() > 4 })
	install(t, filepath.Join(built, "passmend-smtp"), old.Path, "2")
	if err := b.Reload(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new process serves", func() bool { return b.status(t, "smtp").Checksum != old.Checksum })
	upgraded := sent.Load()
	eventually(t, "calls on the new process", func() bool { return sent.Load() > upgraded+8 })
	if status := b.status(t, "smtp"); status.PID == old.PID || status.Restarts != 0 || status.State != StateUp {
		t.Errorf("status = %+v", status)
	}
	if err := syscall.Kill(old.PID, 0); err != nil {
		t.Errorf("the old process is gone while it holds a call: %v", err)
	}
	close(answer)
	if err := <-inFlight; err != nil {
		t.Errorf("the call in flight = %v", err)
	}
	eventually(t, "the old process is gone", func() bool { return syscall.Kill(old.PID, 0) == syscall.ESRCH })
	close(stop)
	sending.Wait()
	if got := b.observed.String(); strings.Contains(got, "exited") || count(got, "started smtp") != 2 {
		t.Error("an end is told, or no second start")
	}
}

// A new executable that does not come up, or is not verified, changes nothing, is
// told, and is not tried again; the next one is.
func TestABadUpgradeLeavesTheOldOneRunning(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, "quiet")
	old := b.status(t, "quiet")
	nothing := filepath.Join(t.TempDir(), "nothing")
	if err := os.WriteFile(nothing, []byte("not a program at all"), 0o755); err != nil {
		t.Fatal(err)
	}
	install(t, nothing, old.Path, "")
	reload(t, b)
	eventually(t, "it is told", func() bool {
		return b.status(t, "quiet").LastError == "the new executable: cannot be executed: exec format error"
	})
	reload(t, b)
	if _, err := b.Send(t.Context(), "quiet", plain("{}")); err != nil {
		t.Errorf("Send = %v", err)
	}
	// A crash in between: the old one starts again.
	if err := syscall.Kill(old.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is up again", func() bool {
		status := b.status(t, "quiet")
		return status.State == StateUp && status.PID != old.PID && status.Checksum == old.Checksum
	})
	install(t, filepath.Join(built, "hostile"), old.Path, "3")
	reload(t, b)
	eventually(t, "the next one is up", func() bool { return b.status(t, "quiet").Checksum != old.Checksum })
	if n := count(b.log.String(), "plugin is not upgraded"); n != 1 {
		t.Errorf("the bad one was tried %d times", n)
	}
}

func TestReloadFollowsTheDirectory(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, "quiet")
	install(t, filepath.Join(built, "hostile"), filepath.Join(b.dir, "passmend-late"), "")
	reload(t, b)
	eventually(t, "the new plugin is up", func() bool { return len(b.List()) == 2 && b.status(t, "late").State == StateUp })
	quiet := b.status(t, "quiet").PID
	if err := os.Remove(filepath.Join(b.dir, "passmend-quiet")); err != nil {
		t.Fatal(err)
	}
	reload(t, b)
	eventually(t, "the removed one is gone", func() bool { return len(b.List()) == 1 && syscall.Kill(quiet, 0) == syscall.ESRCH })
	if _, err := b.Send(t.Context(), "late", plain("{}")); err != nil {
		t.Errorf("Send = %v", err)
	}
}

// It ends again and again: it is degraded, tried on, and comes back by itself.
func TestACrashLoopIsDegraded(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.BackoffMin, c.BackoffMax = 1e6, 1e6 }, "exit")
	eventually(t, "it is degraded", func() bool { return b.status(t, "exit").State == StateDegraded })
	if restarts := b.status(t, "exit").Restarts; restarts < crashLoop-1 {
		t.Errorf("after %d restarts", restarts)
	}
	install(t, filepath.Join(built, "passmend-smtp"), filepath.Join(b.dir, "passmend-smtp"), "")
	reload(t, b)
	eventually(t, "another plugin is up beside it", func() bool { return len(b.List()) == 2 && b.status(t, "smtp").State == StateUp })
}

func reload(t *testing.T, b *bundle) {
	t.Helper()
	if err := b.Reload(); err != nil {
		t.Fatal(err)
	}
}
