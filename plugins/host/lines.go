package host

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// maxKept is how much of a line is looked at, maxShown how much is logged.
	maxKept  = 16 << 10
	maxShown = 4 << 10
)

// lineLog writes a plugin's lines to the log: redacted, at a bounded rate, with a
// count of what was dropped. It never blocks on the plugin's account.
type lineLog struct {
	log    *slog.Logger
	redact *redactor
	rate   float64
	tell   func(dropped bool) // of every line

	mu      sync.Mutex
	allowed float64
	at      time.Time
	dropped int
}

// lineLevel is the level of every line: which one a plugin means nobody can tell.
const lineLevel = "info"

func newLineLog(log *slog.Logger, redact *redactor, perSecond int, tell func(dropped bool)) *lineLog {
	rate := float64(perSecond)
	return &lineLog{log: log, redact: redact, rate: rate, tell: tell, allowed: 2 * rate, at: time.Now()}
}

func (l *lineLog) writer(stream string) *lineWriter {
	return &lineWriter{lines: l, stream: stream}
}

func (l *lineLog) line(stream string, line []byte, cut bool) {
	allowed, dropped := l.take()
	l.tell(!allowed)
	if dropped > 0 {
		l.log.Warn("plugin lines dropped", "count", dropped)
	}
	if !allowed {
		return
	}
	text := l.redact.scrub(strings.ToValidUTF8(string(line), "?"), cut)
	if len(text) > maxShown {
		text, cut = strings.ToValidUTF8(text[:maxShown], ""), true
	}
	attributes := []any{"stream", stream, "line", text}
	if cut {
		attributes = append(attributes, "cut", true)
	}
	l.log.Info("plugin line", attributes...)
}

// take spends one line; dropped is how many were not allowed since the last one
// that was.
func (l *lineLog) take() (allowed bool, dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.allowed = min(2*l.rate, l.allowed+l.rate*now.Sub(l.at).Seconds())
	l.at = now
	if l.allowed < 1 {
		l.dropped++
		return false, 0
	}
	l.allowed--
	dropped, l.dropped = l.dropped, 0
	return true, dropped
}

// flush tells of what was dropped at the end of a process.
func (l *lineLog) flush() {
	l.mu.Lock()
	dropped := l.dropped
	l.dropped = 0
	l.mu.Unlock()
	if dropped > 0 {
		l.log.Warn("plugin lines dropped", "count", dropped)
	}
}

// lineWriter cuts a stream into lines of any length and keeps the beginning of
// each. One goroutine writes to it.
type lineWriter struct {
	lines  *lineLog
	stream string
	kept   []byte
	cut    bool
}

// Write takes everything and never fails.
func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		line, rest, ended := bytes.Cut(p, []byte{'\n'})
		w.keep(line)
		if !ended {
			return n, nil
		}
		w.flush()
		p = rest
	}
}

func (w *lineWriter) keep(part []byte) {
	if room := maxKept - len(w.kept); len(part) > room {
		part, w.cut = part[:room], true
	}
	w.kept = append(w.kept, part...)
}

// flush ends the line.
func (w *lineWriter) flush() {
	if line := bytes.TrimRight(w.kept, "\r"); len(line) > 0 {
		w.lines.line(w.stream, line, w.cut)
	}
	w.kept, w.cut = w.kept[:0], false
	if cap(w.kept) > 1024 {
		w.kept = nil // a long line is rare: its buffer is not kept
	}
}

// printable keeps the printable characters of text and at most limit bytes.
func printable(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r <= 0x9f || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "")
	}
	return text
}
