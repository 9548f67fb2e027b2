package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/cmd/passmend/bench"
	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/tenants"
)

// benchFlags is what was asked of `passmend bench`, as it was typed.
type benchFlags struct {
	repeat      int
	seconds     float64
	scale       float64
	only        string
	json        string
	databaseURL string
	dir         string
	pluginDir   string
	profiles    string
}

func benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine: accepts, mails, waits, and the limits beside them",
		Long: `Starts the real service as a process of its own, with a database, keys and a
sink for mail of its own, puts load on it, and prints a table: the median and
the spread of each figure, its goal, and the limits of the machine measured in
the same run. Nothing is left behind, except in a PostgreSQL database, which
must be empty and is filled. The whole takes about ten minutes; progress goes
to standard error.

Parts: ` + strings.Join(bench.Parts(), ", ") + `.

Exit status: 0 measured, whether or not a goal was met; 1 failed; 2 wrong usage.`,
		Example: `  passmend bench
  passmend bench --only accepts,latency,mails --seconds 1 --repeat 1
  passmend bench --only wait,claims,scale --scale 0.01
  passmend bench --database-url postgres://bench@127.0.0.1/empty --json bench.json`,
		Args: cobra.NoArgs,
	}
	var f benchFlags
	flags := cmd.Flags()
	flags.IntVar(&f.repeat, "repeat", 3, "how often each figure is measured, 1 to 100")
	flags.Float64Var(&f.seconds, "seconds", 5, "how long one measure lasts, 0.1 to 600")
	flags.Float64Var(&f.scale, "scale", 1, "factor on accounts, users and queued mails, over 0 and at most 1")
	flags.StringVar(&f.only, "only", "", "parts to measure, comma-separated (default: all)")
	flags.StringVar(&f.json, "json", "", "also write the report to this file, as JSON")
	flags.StringVar(&f.databaseURL, "database-url", "", "an empty PostgreSQL database, postgres://... (default: SQLite files that are removed)")
	flags.StringVar(&f.dir, "dir", "", "directory on the disk to measure (default: the system's for temporary files)")
	flags.StringVar(&f.pluginDir, "plugin-dir", "", "directory of the passmend-* plugins (default: where this command is)")
	flags.StringVar(&f.profiles, "profiles", "", "directory for profiles of the server's processor and heap under each load, as mails.pprof and mails-heap.pprof (default: none are made)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return runBench(cmd, f) }
	cmd.AddCommand(benchReferenceCommand())
	return cmd
}

// check names the first flag that is wrong and gives the parts.
func (f benchFlags) check() (only []string, err error) {
	only = splitList(f.only)
	switch {
	case f.repeat < 1 || f.repeat > 100:
		return nil, usagef("--repeat: must be 1 to 100 (got %d)", f.repeat)
	case f.seconds < 0.1 || f.seconds > 600:
		return nil, usagef("--seconds: must be 0.1 to 600 (got %v)", f.seconds)
	case f.scale <= 0 || f.scale > 1:
		return nil, usagef("--scale: must be over 0 and at most 1 (got %v)", f.scale)
	case f.databaseURL != "" && !strings.HasPrefix(f.databaseURL, "postgres://") && !strings.HasPrefix(f.databaseURL, "postgresql://"):
		return nil, usagef("--database-url: must be postgres://...; SQLite is the default and has no URL here")
	}
	for _, name := range only {
		if !slices.Contains(bench.Parts(), name) {
			return nil, usagef("--only: must be of %s (got %q)", strings.Join(bench.Parts(), ", "), name)
		}
	}
	return only, nil
}

func runBench(cmd *cobra.Command, f benchFlags) (err error) {
	only, err := f.check()
	if err != nil {
		return err
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	if f.pluginDir == "" {
		if f.pluginDir, err = executableDir(); err != nil {
			return err
		}
	}
	if f.pluginDir, err = filepath.Abs(f.pluginDir); err != nil {
		return err
	}
	if f.dir, err = absolute(f.dir); err != nil {
		return err
	}
	if f.profiles != "" {
		if err := os.MkdirAll(f.profiles, 0o750); err != nil {
			return fmt.Errorf("--profiles: %w", err)
		}
	}
	report, err := bench.Run(cmd.Context(), bench.Config{
		Binary: binary, PluginDir: f.pluginDir, Version: version, Dir: f.dir,
		DatabaseURL: f.databaseURL, Open: openBenchStore, NewID: newID,
		Repeat: f.repeat, Length: time.Duration(f.seconds * float64(time.Second)), Scale: f.scale, Only: only,
		Profiles: f.profiles, Progress: cmd.ErrOrStderr(), Command: f.again(),
	})
	if errors.Is(err, bench.ErrNotEmpty) {
		return usagef("--database-url: %w", err)
	}
	if report == nil {
		return err
	}
	// What was measured before a failure is worth as much as it was.
	err = errors.Join(err, report.Print(cmd.OutOrStdout()))
	if f.json != "" {
		err = errors.Join(err, writeReport(f.json, report))
	}
	return err
}

func writeReport(path string, report *bench.Report) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	return errors.Join(printJSON(file, report), file.Close())
}

func absolute(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}

// again is the line that repeats the run; a password of the database stays out.
func (f benchFlags) again() string {
	line := "passmend bench --repeat " + strconv.Itoa(f.repeat) +
		" --seconds " + strconv.FormatFloat(f.seconds, 'g', -1, 64) + " --scale " + strconv.FormatFloat(f.scale, 'g', -1, 64)
	if f.only != "" {
		line += " --only " + f.only
	}
	if f.databaseURL != "" {
		shown := "postgres://..."
		if parsed, err := url.Parse(f.databaseURL); err == nil {
			parsed.RawQuery = ""
			shown = parsed.Redacted()
		}
		line += " --database-url " + shown
	}
	if f.dir != "" {
		line += " --dir " + f.dir
	}
	return line
}

// openBenchStore opens a database that is the bench's own, and migrates it,
// PostgreSQL too.
func openBenchStore(ctx context.Context, databaseURL string) (*sqlstore.Store, error) {
	store, err := sqlstore.Open(ctx, sqlstore.Config{URL: databaseURL, Logger: slog.New(slog.DiscardHandler), NewID: newID})
	if err != nil {
		return nil, err
	}
	if _, err := store.Migrate(ctx); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

// benchReferenceCommand is what the bench starts to hold Passmend against.
func benchReferenceCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "reference bare|commit",
		Short:   "Serve what the bench holds Passmend against; the bench starts it",
		Example: "  passmend bench reference bare",
		Hidden:  true,
		Args:    cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{
			"bare",   // 202 and nothing else
			"commit", // 202 after a group commit
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			logger := slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), nil))
			if args[0] == "bare" {
				return bench.Reference(cmd.Context(), logger, nil, "", newID)
			}
			store, err := openBenchStore(cmd.Context(), os.Getenv("PASSMEND_DATABASE_URL"))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Close()) }()
			if err := store.Start(cmd.Context()); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Stop(context.WithoutCancel(cmd.Context()))) }()
			var inbox core.Inbox = store
			return bench.Reference(cmd.Context(), logger, inbox, tenants.AccountID(os.Getenv("PASSMEND_BENCH_ACCOUNT")), newID)
		},
	}
}
