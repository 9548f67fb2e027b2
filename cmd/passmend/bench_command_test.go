package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// benchReport is the part of the JSON that the tests read.
type benchReport struct {
	Figures []struct {
		Name   string    `json:"name"`
		Values []float64 `json:"values"`
	} `json:"figures"`
}

// The figures mean nothing at this length; that each has a value, from the real
// server and the real plugin, does.
func TestBenchMeasures(t *testing.T) {
	t.Parallel()
	// Not t.TempDir: its path is too long for what leads to sockets.
	temporary, err := os.MkdirTemp("", "b-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(temporary) })
	s := &site{t: t, dir: t.TempDir(), env: []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + temporary}}
	code, stdout, stderr := s.try(nil, "bench", "--seconds", "0.6", "--repeat", "1", "--scale", "0.001",
		"--only", "latency,mails,claims,takeover", "--json", "bench.json")
	if code != 0 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	for _, want := range []string{"machine", "WAL, synchronous=FULL", "passmend bench --repeat 1", "LIMITS OF THE MACHINE", "FIGURES", "mails end to end"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the table lacks %q:\n%s", want, stdout)
		}
	}
	if !strings.Contains(stderr, "mails: 1 of 1") {
		t.Errorf("no progress in %q", stderr)
	}
	content, err := os.ReadFile(filepath.Join(s.dir, "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	var report benchReport
	if err := json.Unmarshal(content, &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Figures) < 10 {
		t.Errorf("%d figures", len(report.Figures))
	}
	for _, f := range report.Figures {
		if len(f.Values) == 0 && !strings.Contains(f.Name, "another replica") {
			t.Errorf("%s has no value", f.Name)
		}
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestBenchUsage(t *testing.T) {
	t.Parallel()
	s := &site{t: t, dir: t.TempDir(), env: []string{"PATH=" + os.Getenv("PATH")}}
	for _, c := range []struct {
		args string
		want string // part of the line
	}{
		{"--repeat 0", "--repeat"},
		{"--seconds 0", "--seconds"},
		{"--scale 2", "--scale"},
		{"--only accepts,luck", "accepts, latency"},
		{"--database-url sqlite://x.db", "postgres://"},
		{"reference other", "reference"},
		{"luck", "luck"},
	} {
		code, _, stderr := s.try(nil, append([]string{"bench"}, strings.Fields(c.args)...)...)
		if code != 2 || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("bench %s: exit %d, %q; want 2 and one line with %q", c.args, code, stderr, c.want)
		}
	}
}

// The line that repeats a run is printed, pasted and kept: no password in it.
func TestBenchAgainHidesThePassword(t *testing.T) {
	t.Parallel()
	for _, databaseURL := range []string{
		"postgres://bench:hunter2@127.0.0.1/empty",
		"postgres://127.0.0.1/empty?user=bench&password=hunter2",
		"postgres://bench:hunter2%zz@127.0.0.1/empty",
	} {
		line := benchFlags{repeat: 1, seconds: 1, scale: 1, databaseURL: databaseURL}.again()
		if strings.Contains(line, "hunter2") || !strings.Contains(line, "--database-url postgres://") {
			t.Errorf("%s", line)
		}
	}
}
