package host

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkSend is a call through the host to a plugin process that does nothing:
// 4 KB of mail, mutual TLS, redaction armed.
func BenchmarkSend(b *testing.B) {
	dir, sockets := b.TempDir(), "/tmp"
	if err := os.Symlink(filepath.Join(built, "hostile"), filepath.Join(dir, "passmend-quiet")); err != nil {
		b.Fatal(err)
	}
	h, err := New(Config{Dir: dir, SocketDir: sockets, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	if err := h.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = h.Stop(context.Background()) }()
	if err := h.Ready(b.Context()); err != nil {
		b.Fatal(err)
	}
	mail := request("{}")
	mail.Mail.HTML = strings.Repeat("x", 4<<10)
	b.Run("one at a time", func(b *testing.B) {
		for b.Loop() {
			if _, err := h.Send(b.Context(), "quiet", mail); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	})
	b.Run("64 at once", func(b *testing.B) {
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
