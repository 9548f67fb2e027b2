package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// benchHost runs a host over the named plugins, as setup does for tests, and waits
// until they are up or have failed.
func benchHost(b *testing.B, sandbox Sandbox, names ...string) *bundle {
	b.Helper()
	bundle := startBenchHost(b, sandbox, 2*time.Second, names...)
	if err := bundle.Ready(context.Background()); err != nil {
		b.Fatal(err)
	}
	return bundle
}

// startBenchHost runs one and does not wait; startTimeout 0 is a service's own.
func startBenchHost(b *testing.B, sandbox Sandbox, startTimeout time.Duration, names ...string) *bundle {
	b.Helper()
	bundle := &bundle{dir: b.TempDir(), sockets: b.TempDir(), log: &buffer{}, observed: &observed{}}
	for _, name := range names {
		source := "hostile"
		if name == "smtp" {
			source = "passmend-smtp"
		}
		if err := os.Symlink(filepath.Join(built, source), filepath.Join(bundle.dir, "passmend-"+name)); err != nil {
			b.Fatal(err)
		}
	}
	sockets, err := os.MkdirTemp("", "ph") // b's own is too long
	if err != nil {
		b.Fatal(err)
	}
	bundle.Host, err = New(Config{
		Dir: bundle.dir, SocketDir: sockets, Sandbox: sandbox, Helper: SelfHelper,
		StartTimeout: startTimeout, DrainTimeout: time.Millisecond,
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := bundle.Start(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := bundle.Stop(context.Background()); err != nil {
			b.Error(err)
		}
		_ = os.RemoveAll(sockets)
	})
	return bundle
}

// sandboxes are with and without the cage, to compare.
var sandboxes = []Sandbox{SandboxBestEffort, SandboxOff}

// mail4K is a mail of 4 KB within a trace.
func mail4K() sdk.SendRequest {
	mail := request("{}")
	mail.Mail.HTML = strings.Repeat("x", 4<<10)
	mail.TraceParent = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
	return mail
}

// BenchmarkSend is a call through the host to a plugin process that does nothing:
// mutual TLS, redaction armed. Goals: p50 of at most 350 us, 12,000 calls/s.
func BenchmarkSend(b *testing.B) {
	for _, sandbox := range sandboxes {
		h, mail := benchHost(b, sandbox, "quiet"), mail4K()
		b.Run("one at a time/"+string(sandbox), func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				if _, err := h.Send(b.Context(), "quiet", mail); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			report(b, took, time.Microsecond, "us")
		})
		b.Run("64 at once/"+string(sandbox), func(b *testing.B) {
			b.SetParallelism(32) // times two processors
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := h.Send(b.Context(), "quiet", mail); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}

// BenchmarkStart is from nothing to up; with the cage the copy, its checksum and
// the start that asks for the ports are in it.
func BenchmarkStart(b *testing.B) {
	for _, sandbox := range sandboxes {
		b.Run(string(sandbox), func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				h := benchHost(b, sandbox, "smtp")
				took = append(took, time.Since(began))
				if err := h.Stop(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			report(b, took, time.Millisecond, "ms")
		})
	}
}

// BenchmarkRecovery is from kill -9 of a plugin to the next call that is done.
// Goal: at most 150 ms.
func BenchmarkRecovery(b *testing.B) {
	for _, sandbox := range sandboxes {
		b.Run(string(sandbox), func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				// Each of its own: the second end in a row is followed by a wait.
				h, mail := benchHost(b, sandbox, "quiet"), mail4K()
				began := time.Now()
				if err := syscall.Kill(h.List()[0].PID, syscall.SIGKILL); err != nil {
					b.Fatal(err)
				}
				for {
					if _, err := h.Send(b.Context(), "quiet", mail); err == nil {
						break
					}
				}
				took = append(took, time.Since(began))
				if err := h.Stop(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			report(b, took, time.Millisecond, "ms")
		})
	}
}

// BenchmarkIdleMemory is what the process of our SMTP provider has resident, idle.
// Goal: at most 16 MiB.
func BenchmarkIdleMemory(b *testing.B) {
	for _, sandbox := range sandboxes {
		b.Run(string(sandbox), func(b *testing.B) {
			h := benchHost(b, sandbox, "smtp")
			for b.Loop() {
				time.Sleep(3 * time.Second)
			}
			for _, field := range []string{"VmRSS", "RssAnon", "RssShmem", "VmHWM"} {
				b.ReportMetric(processStatus(b, h.List()[0].PID, field)/1024, field+"-MiB")
			}
		})
	}
}

func processStatus(b *testing.B, pid int, field string) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	var kilobytes float64
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
				b.Fatal(err)
			}
		}
	}
	return kilobytes
}

// BenchmarkBesideHostilePlugins is a call to a good provider alone and beside each
// way to misbehave (T32), by turns. Goal: p99 within 1.2 times (x-alone).
func BenchmarkBesideHostilePlugins(b *testing.B) {
	for _, mode := range misbehaviours() {
		b.Run(mode, func(b *testing.B) {
			var alone, beside []time.Duration
			for b.Loop() {
				alone = append(alone, calls(b)...)
				beside = append(beside, calls(b, mode)...)
			}
			report(b, beside, time.Microsecond, "us")
			b.ReportMetric(float64(quantile(beside, 99))/float64(quantile(alone, 99)), "x-alone")
		})
	}
}

// BenchmarkNamingHostilePlugins is from the start of a plugin that never comes up to
// the error that names it, with the deadlines of a service. Goal: at most 5 s.
func BenchmarkNamingHostilePlugins(b *testing.B) {
	for _, mode := range []string{
		"exit", "exit-late", "garbage", "long-before", "endless", "tcp", "file", "outside", "version", "no-certificate", "bad-certificate",
		"no-tls", "wrong-name", "no-contents", "describe-fails", "describe-exits", "silent", "mute", "describe-hangs",
	} {
		b.Run(mode, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				h := startBenchHost(b, SandboxBestEffort, 0, mode)
				for h.List()[0].LastError == "" {
					time.Sleep(time.Millisecond)
				}
				took = append(took, time.Since(began))
				if err := h.Stop(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			report(b, took, time.Millisecond, "ms")
		})
	}
}

// calls makes 300 calls to a good provider, a millisecond apart, while the others
// misbehave.
func calls(b *testing.B, others ...string) (took []time.Duration) {
	b.Helper()
	h, mail := benchHost(b, SandboxBestEffort, append(others, "quiet")...), mail4K()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := h.Send(b.Context(), "quiet", mail); err == nil {
			break
		} else if time.Now().After(end) {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(b.Context())
	var calling sync.WaitGroup
	h.provoke(ctx, &calling, others)
	for range 300 {
		began := time.Now()
		if _, err := h.Send(b.Context(), "quiet", mail); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
		time.Sleep(time.Millisecond)
	}
	cancel()
	calling.Wait()
	if err := h.Stop(b.Context()); err != nil {
		b.Fatal(err)
	}
	return took
}

func report(b *testing.B, took []time.Duration, unit time.Duration, name string) {
	b.Helper()
	for _, p := range []int{50, 99} {
		b.ReportMetric(float64(quantile(took, p))/float64(unit), fmt.Sprintf("p%d-%s", p, name))
	}
	b.ReportMetric(0, "ns/op")
}

// quantile sorts took.
func quantile(took []time.Duration, percent int) time.Duration {
	slices.Sort(took)
	return took[min(len(took)-1, len(took)*percent/100)]
}
