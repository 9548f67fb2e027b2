package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/passmend/passmend/core/sqlstore"
)

// ErrNotEmpty: the database holds accounts, and a run would fill it with more.
var ErrNotEmpty = errors.New("the database holds accounts; name an empty one")

// Config says what to measure and with what.
type Config struct {
	// Binary is the passmend to measure, and PluginDir where its plugins are.
	Binary, PluginDir string
	Version           string
	// Dir is where the run keeps its files, in a directory of its own that it
	// removes; empty: the system's directory for temporary files.
	Dir string
	// DatabaseURL is an empty PostgreSQL database; empty: SQLite files in Dir.
	DatabaseURL string
	// Open opens a database and brings it up to date.
	Open  func(ctx context.Context, url string) (*sqlstore.Store, error)
	NewID func() string
	// Repeat is how often each figure is measured, at least 1, and Length how long
	// one time takes.
	Repeat int
	Length time.Duration
	// Scale is a factor on the numbers of accounts, users and queued mails, over 0
	// and at most 1.
	Scale float64
	// Only names the parts to measure, of Parts; none: all.
	Only []string
	// Profiles is a directory that takes the server's CPU profiles, each made under
	// the load of a measure after all its repeats; empty: none are made.
	Profiles string
	// Progress takes a line for each thing begun.
	Progress io.Writer
	// Command is what to type for the same run again.
	Command string
}

func (c *Config) validate() error {
	switch {
	case c.Binary == "" || c.PluginDir == "" || c.Open == nil || c.NewID == nil || c.Progress == nil:
		return errors.New("bench: Binary, PluginDir, Open, NewID and Progress are needed")
	case c.Repeat < 1 || c.Length <= 0 || c.Scale <= 0 || c.Scale > 1:
		return errors.New("bench: Repeat, Length and Scale must be over 0, Scale at most 1")
	}
	for _, name := range c.Only {
		if !slices.Contains(Parts(), name) {
			return fmt.Errorf("bench: no part %q", name)
		}
	}
	return nil
}

// part is what can be measured by itself.
type part struct {
	name string
	run  func(*bench, context.Context) error
}

var parts = []part{
	{"accepts", (*bench).accepts},
	{"latency", (*bench).latency},
	{"mails", (*bench).mails},
	{"wait", (*bench).wait},
	{"claims", (*bench).claims},
	{"scale", (*bench).scale},
	{"takeover", (*bench).takeover},
}

// Parts gives the names that Config.Only takes, in the order in which they run.
func Parts() []string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.name
	}
	return names
}

// bench is one run.
type bench struct {
	Config
	report *Report
	dir    string // of the databases
	// temporary is for what the processes put aside, of which a killed one leaves
	// some. Its path is short: it leads to sockets.
	temporary string
	sites     int
}

// Run measures and gives the report. When it fails, what was measured until then
// comes with the error. Everything it started has ended when it returns.
func Run(ctx context.Context, c Config) (report *Report, err error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	b := &bench{Config: c, report: &Report{
		Version: c.Version, Began: time.Now(), Machine: thisMachine(ctx), Command: c.Command,
		Repeats: c.Repeat, Seconds: c.Length.Seconds(),
	}}
	if b.dir, err = os.MkdirTemp(c.Dir, "passmend-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if b.temporary, err = os.MkdirTemp("", "pb-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.temporary)) }()
	defer func() { b.report.Took = time.Since(b.report.Began).Seconds() }()
	if err := b.describe(ctx); err != nil {
		return nil, err
	}
	if err := b.disk(ctx); err != nil {
		return b.report, fmt.Errorf("disk: %w", err)
	}
	for _, p := range parts {
		if len(b.Only) > 0 && !slices.Contains(b.Only, p.name) {
			continue
		}
		if err := p.run(b, ctx); err != nil {
			return b.report, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return b.report, nil
}

// describe fills in the engine, and refuses a database that is in use.
func (b *bench) describe(ctx context.Context) (err error) {
	url := b.DatabaseURL
	path := filepath.Join(b.dir, "empty.db")
	if url == "" {
		url = "sqlite://" + path
		b.report.Disk = "files on " + fileSystem(b.dir)
	} else {
		b.report.Disk = "wherever that server keeps its files"
	}
	store, err := b.Open(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	accounts, err := store.ListAccounts(ctx, "", 1)
	if err != nil {
		return err
	}
	if len(accounts) > 0 {
		return ErrNotEmpty
	}
	if described, ok := any(store).(describer); ok {
		b.report.Engine, err = described.Describe(ctx)
		return err
	}
	if b.sqlite() {
		b.report.Engine, err = describeSQLite(path)
		return err
	}
	b.report.Engine = "PostgreSQL"
	return nil
}

// describer is a store that tells its engine's version and what it does to be
// durable.
type describer interface {
	Describe(ctx context.Context) (string, error)
}

func (b *bench) sqlite() bool { return b.DatabaseURL == "" }

// fileSystem names the kind of file system that a directory is on: on one in
// memory, a commit costs nothing.
func fileSystem(dir string) string {
	content, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return "an unknown file system"
	}
	kind, at := "an unknown file system", ""
	for line := range strings.SplitSeq(string(content), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 3 || len(fields[1]) < len(at) {
			continue
		}
		if rest, inside := strings.CutPrefix(dir, fields[1]); inside && (rest == "" || rest[0] == '/' || fields[1] == "/") {
			kind, at = fields[2], fields[1]
		}
	}
	return kind
}

func (b *bench) say(format string, values ...any) {
	fmt.Fprintf(b.Progress, "bench: %6.1f s  %s\n", time.Since(b.report.Began).Seconds(), fmt.Sprintf(format, values...))
}

// figure adds a row to the figures, limit to the limits.
func (b *bench) figure(name, unit string, goal *Goal) *Figure {
	f := &Figure{Name: name, Unit: unit, Goal: goal}
	b.report.Figures = append(b.report.Figures, f)
	return f
}

func (b *bench) limit(name, unit string) *Figure {
	f := &Figure{Name: name, Unit: unit}
	b.report.Limits = append(b.report.Limits, f)
	return f
}

// scaled applies the factor to a number, which stays at least 10.
func (b *bench) scaled(n int) int { return max(int(float64(n)*b.Scale), 10) }

// repeats runs one measure as often as it is to be repeated.
func (b *bench) repeats(what string, measure func() error) error {
	for i := range b.Repeat {
		b.say("%s: %d of %d", what, i+1, b.Repeat)
		if err := measure(); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) disk(ctx context.Context) error {
	f := b.limit("disk: 4 KiB appended and synced, one after the other", "1/s")
	return b.repeats("disk", func() error {
		rate, err := syncRate(ctx, b.dir, min(b.Length, time.Second))
		if err == nil {
			f.add(rate)
		}
		return err
	})
}
