package bench

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/smtp"
	"github.com/passmend/passmend/tenants"
)

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func TestQuantile(t *testing.T) {
	t.Parallel()
	hundred := make(samples, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100 - i)
	}
	for _, c := range []struct {
		name string
		of   samples
		q    float64
		want time.Duration
	}{
		{"none", nil, 0.5, 0},
		{"one is every quantile", samples{7}, 0.99, 7},
		{"the median of an even number is the lower one", samples{1, 2, 3, 4}, 0.5, 2},
		{"p99 of a hundred leaves one out", hundred, 0.99, 99},
		{"p50 of a hundred", hundred, 0.5, 50},
		{"the largest", hundred, 1, 100},
		{"the smallest", hundred, 0, 1},
	} {
		if got := c.of.quantile(c.q); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}

func TestFigureKnowsItsSpreadAndItsGoal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		goal   *Goal
		values []float64
		want   []float64 // median, min, max
		said   string
	}{
		{"no goal", nil, []float64{3, 1, 2}, []float64{2, 1, 3}, ""},
		{"enough", atLeast(2), []float64{3, 1, 2}, []float64{2, 1, 3}, "met"},
		{"too few", atLeast(10), []float64{4, 6}, []float64{5, 4, 6}, "missed by 50 %"},
		{"quick enough", atMost(5), []float64{5}, []float64{5, 5, 5}, "met"},
		{"too slow", atMost(4), []float64{1, 5, 9}, []float64{5, 1, 9}, "missed by 25 %"},
	} {
		f := &Figure{Goal: c.goal}
		for _, v := range c.values {
			f.add(v)
		}
		if got := []float64{f.Median, f.Min, f.Max}; !cmp.Equal(got, c.want) || f.verdict() != c.said {
			t.Errorf("%s: got %v %q, want %v %q", c.name, got, f.verdict(), c.want, c.said)
		}
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for value, want := range map[float64]string{
		0: "0", 0.0123: "0.012", 0.85: "0.85", 5: "5.00", 12.34: "12.3", 123.4: "123", 1234.5: "1,234", 1234567: "1,234,567", -4321: "-4,321",
	} {
		if got := number(value); got != want {
			t.Errorf("%v: got %q, want %q", value, got, want)
		}
	}
}

func TestReportReads(t *testing.T) {
	t.Parallel()
	met := &Figure{Name: "accepts", Unit: "1/s", Goal: atLeast(10), Note: "with a note"}
	met.add(20)
	r := &Report{
		Version: "v", Engine: "SQLite", Command: "passmend bench --repeat 1", Repeats: 1, Machine: Machine{Cores: 2, Busy: 0.5},
		Limits:  []*Figure{{Name: "disk"}},
		Figures: []*Figure{met, {Name: "takeover", Goal: atMost(75), Skipped: "needs another"}},
	}
	var text strings.Builder
	if err := r.Print(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"2 cores, unknown processor", "others used 0.50 cores", "passmend bench --repeat 1", "LIMITS OF THE MACHINE", "not measured",
		"20.0 .. 20.0", ">= 10.0", "met", "skipped", "<= 75.0", "accepts: with a note", "takeover: needs another",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, text.String())
		}
	}
	encoded, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(encoded), `"met":true`) {
		t.Errorf("as JSON: %v %s", err, encoded)
	}
}

// The sink must take what the real provider sends, and be as slow as it is told.
func TestSinkTakesMail(t *testing.T) {
	t.Parallel()
	to, err := newSink()
	if err != nil {
		t.Fatal(err)
	}
	defer to.close()
	var mu sync.Mutex
	var recipients []string
	to.tell(func(recipient string, _ time.Time) {
		mu.Lock()
		defer mu.Unlock()
		recipients = append(recipients, recipient)
	})
	provider := smtp.New()
	send := func() time.Duration {
		began := time.Now()
		mail := someMail(newID())
		mail.Text += "\n.\n..\n" // lines that must not end it
		_, err := provider.Send(t.Context(), sdk.SendRequest{IdempotencyKey: newID(), Settings: sdk.Settings{Values: to.settings()}, Mail: mail})
		if err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	send()
	send()
	const slow = 150 * time.Millisecond
	to.delay.Store(int64(slow))
	if took := send(); took < slow {
		t.Errorf("a slow sink answered after %s, want at least %s", took, slow)
	}
	want := []string{"ada@bench.example", "ada@bench.example", "ada@bench.example"}
	err = arrived(t.Context(), func() int64 {
		mu.Lock()
		defer mu.Unlock()
		return int64(len(want) - len(recipients))
	})
	if err != nil || !cmp.Equal(recipients, want) {
		t.Error(err, cmp.Diff(want, recipients))
	}
}

// reference serves a reference in this process and gives its address.
func reference(t *testing.T, inbox core.Inbox, account tenants.AccountID) string {
	t.Helper()
	read, write := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Reference(ctx, slog.New(slog.NewJSONHandler(write, nil)), inbox, account, newID) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	var line ready
	if err := json.NewDecoder(read).Decode(&line); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, read) }()
	return line.HTTP
}

func TestLoadIsCountedAsAnswered(t *testing.T) {
	t.Parallel()
	l := load{
		address: reference(t, nil, ""), connections: 4, warm: 50 * time.Millisecond, length: 200 * time.Millisecond,
		next: func() target { return target{account: "acme", address: "ada@bench.example"} },
	}
	got, err := l.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.latencies) == 0 || got.perSecond != float64(len(got.latencies))/l.length.Seconds() || got.latencies.quantile(0.5) <= 0 {
		t.Errorf("%d answers, %v a second", len(got.latencies), got.perSecond)
	}
	// The control: an answer other than 202 must not pass for one.
	l.next = func() target { return target{account: "acme/nowhere", address: "ada@bench.example"} }
	if _, err := l.run(t.Context()); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("got %v, want the 404", err)
	}
}

// What the reference answers must be on disk, or it would be no reference.
func TestReferenceCommits(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, err := sqlstore.Open(ctx, sqlstore.Config{URL: "sqlite://" + filepath.Join(t.TempDir(), "x.db"), NewID: newID})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = store.Stop(context.WithoutCancel(ctx))
		_ = store.Close()
	})
	if _, err := store.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	account, err := store.CreateAccount(ctx, tenants.New(tenants.AccountID(newID()), "acme", "Acme"))
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Start(ctx); err != nil {
		t.Fatal(err)
	}
	c, err := dial(ctx, reference(t, store, account.ID))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 {
		if err := c.ask(target{account: "acme", address: "ada@bench.example"}); err != nil {
			t.Fatal(err)
		}
	}
	balance, err := store.Balance(ctx)
	if err != nil || balance.Accepted != 3 {
		t.Errorf("%d accepted (%v), want 3", balance.Accepted, err)
	}
}

// A mail that never comes must fail the measure instead of being left out.
func TestMissingMailIsNoticed(t *testing.T) {
	t.Parallel()
	to, err := newSink()
	if err != nil {
		t.Fatal(err)
	}
	defer to.close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	next := func() target { return target{account: "acme", address: "ada@bench.example"} }
	if _, err := paced(ctx, reference(t, nil, ""), next, to, 100, 50*time.Millisecond); err == nil {
		t.Error("no error, though the reference sends no mail")
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	t.Parallel()
	for _, parts := range [][]string{
		{"short"},
		{strings.Repeat("x", tailSize), "end"},
		{strings.Repeat("x", 3*tailSize) + "end"},
		{"a", strings.Repeat("y", tailSize-1), "b", "end"},
	} {
		var kept tail
		for _, part := range parts {
			_, _ = kept.Write([]byte(part))
		}
		all := strings.Join(parts, "")
		if want := all[max(len(all)-tailSize, 0):]; kept.String() != want {
			t.Errorf("%d bytes kept of %d, want the last %d", len(kept.String()), len(all), len(want))
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	good := Config{
		Binary: "passmend", PluginDir: ".", NewID: newID, Progress: io.Discard, Repeat: 1, Length: time.Second, Scale: 1,
		Open: func(context.Context, string) (*sqlstore.Store, error) { return nil, io.EOF },
	}
	if err := good.validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Config){
		"no binary":     func(c *Config) { c.Binary = "" },
		"no repeat":     func(c *Config) { c.Repeat = 0 },
		"no time":       func(c *Config) { c.Length = 0 },
		"scale over 1":  func(c *Config) { c.Scale = 1.5 },
		"unknown part":  func(c *Config) { c.Only = []string{"luck"} },
		"no way to ids": func(c *Config) { c.NewID = nil },
	} {
		c := good
		spoil(&c)
		if _, err := Run(t.Context(), c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
