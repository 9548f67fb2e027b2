package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/tenants"
)

func userImportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE --account ACCOUNT",
		Short: "Take users of another system, with the hashes of their passwords",
		Long: `Takes users of another system into an account. Their passwords go on working: each
hash is verified as it is and made anew at the user's next sign-in.

FILE holds one JSON object a line (.jsonl), or columns under a header (.csv):
  ` + strings.Join(importColumns, ", ") + `
Only email is needed. A hash ` + keys.ImportedHashes + `.

Lines that cannot be taken are named on standard error, or in --rejects, by number and
field; the rest is taken. It may be run again, after an interrupt or when the file has
been mended: who is there already is left as is, and nobody is doubled. No event is sent.

Exit status: 0 all lines are in, 1 some are not, 2 wrong usage.`,
		Example: `  passmend user import users.jsonl --account acme --dry-run
  passmend user import users.csv --account acme --rejects refused.txt
  export-users | passmend user import - --format jsonl --account acme

  {"email": "ada@example.com", "passwordHash": "$2b$12$...", "firstName": "Ada", "metadata": {"plan": "gold"}}`,
		Args: cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	account := flags.String("account", "", "the account's id or slug")
	format := flags.String("format", "", "jsonl or csv (default: by the file's name)")
	rejects := flags.String("rejects", "", "file for the lines that are refused (default: standard error)")
	dryRun := flags.Bool("dry-run", false, "judge every line and store nothing")
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) (err error) {
		if *format, err = importFormat(*format, args[0]); err != nil {
			return err
		}
		owner, err := d.account(ctx, *account)
		if err != nil {
			return err
		}
		ring, err := keys.Open(d.config.keysFile)
		if err != nil {
			return err
		}
		hashes, err := keys.NewPasswords(keys.PasswordsConfig{Keys: ring})
		if err != nil {
			return err
		}
		file, size, err := openImport(args[0], cmd.InOrStdin())
		if err != nil {
			return err
		}
		defer file.Close()
		refused := cmd.ErrOrStderr()
		if *rejects != "" {
			// Nobody else's: a line number and a field tell something of a user, if little.
			out, err := os.OpenFile(*rejects, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
			if err != nil {
				return usagef("--rejects: must name a file that can be written: %w", err)
			}
			defer func() { err = errors.Join(err, out.Close()) }()
			refused = out
		}
		counted := &countingReader{Reader: file}
		lines, err := newImportReader(*format, counted)
		if err != nil {
			return err
		}
		run := &importRun{
			store: d.store, account: owner.ID, dryRun: *dryRun, lines: lines, rejects: refused,
			importer: &core.Importer{Hashes: hashes, NewID: newID, Hash: keys.ImportedHashes},
			seen:     make(map[[16]byte]int), algorithms: make(map[string]int),
			progress: newProgress(cmd.ErrOrStderr(), size, counted),
		}
		return run.all(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}, "keys_file")
}

func importFormat(given, path string) (string, error) {
	if given == "" {
		given = map[string]string{".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}[strings.ToLower(filepath.Ext(path))]
	}
	if given != "jsonl" && given != "csv" {
		return "", usagef("--format: must be jsonl or csv, or the file's name must end so")
	}
	return given, nil
}

// openImport gives the file and its size, 0 when that is not known.
func openImport(path string, stdin io.Reader) (io.ReadCloser, int64, error) {
	if path == "-" {
		return io.NopCloser(stdin), 0, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, usagef("FILE: must name a readable file, or - for standard input: %w", err)
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return file, 0, err
	}
	return file, info.Size(), nil
}

// importRun is one import on its way through its file.
type importRun struct {
	store    core.UserImports
	account  tenants.AccountID
	dryRun   bool
	lines    importReader
	importer *core.Importer
	rejects  io.Writer
	progress *progress

	// seen gives the line on which an address, or an id, was first.
	seen       map[[16]byte]int
	batch      []core.ImportedUser
	numbers    []int // of the lines in batch
	algorithms map[string]int

	read, created, present, refused, weak int
}

func (r *importRun) all(ctx context.Context, out, warnings io.Writer) error {
	err := r.walk(ctx)
	r.progress.end(r)
	would := ""
	if r.dryRun {
		would = "would be "
	}
	fmt.Fprintf(out, "%d lines: %d %screated, %d there already, %d refused\n", r.read, r.created, would, r.present, r.refused)
	if len(r.algorithms) > 0 {
		fmt.Fprintf(out, "of those created: %s\n", r.mix())
	}
	if r.weak > 0 {
		fmt.Fprintf(warnings, "passmend: warning: %d hashes are bcrypt of a cost below 10; each is made anew at its user's next sign-in\n", r.weak)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("interrupted after %d lines; run the same command again to go on", r.read-len(r.batch))
	case err != nil:
		return err
	case r.refused > 0:
		return fmt.Errorf("%d lines were refused; mend them and run the same command again", r.refused)
	}
	return nil
}

// mix says how many of each algorithm were created.
func (r *importRun) mix() string {
	names := sortedKeys(r.algorithms)
	slices.SortStableFunc(names, func(a, b string) int { return r.algorithms[b] - r.algorithms[a] })
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = fmt.Sprintf("%d %s", r.algorithms[name], name)
	}
	return strings.Join(parts, ", ")
}

func (r *importRun) walk(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := r.lines.next()
		if errors.Is(err, io.EOF) {
			return r.flush(ctx)
		}
		if err != nil {
			return fmt.Errorf("read after line %d: %w", r.read, err)
		}
		r.read++
		r.judge(line)
		if len(r.batch) == core.ImportBatch {
			if err := r.flush(ctx); err != nil {
				return err
			}
		}
		r.progress.show(r)
	}
}

// judge takes a line into the batch, or refuses it.
func (r *importRun) judge(line importLine) {
	if line.flaw != nil {
		r.refuse(line.number, line.flaw)
		return
	}
	user, err := r.importer.Judge(r.account, line.record)
	var flaw *core.FieldError
	if errors.As(err, &flaw) {
		r.refuse(line.number, flaw)
		return
	}
	if err != nil { // Judge gives no other; its text may hold anything
		r.refuse(line.number, lineFlaw("could not be judged"))
		return
	}
	for _, unique := range []struct{ field, value string }{{"email", user.Address.Reveal()}, {"id", string(user.ID)}} {
		if unique.field == "id" && line.record.ID == "" {
			continue // a new one
		}
		sum := sha256.Sum256([]byte(unique.field + " " + unique.value))
		key := [16]byte(sum[:16])
		if first, again := r.seen[key]; again {
			r.refuse(line.number, &core.FieldError{Field: unique.field, Code: "TAKEN", Text: fmt.Sprintf("must not be that of another line (it is that of line %d)", first)})
			return
		}
		r.seen[key] = line.number
	}
	r.batch, r.numbers = append(r.batch, user), append(r.numbers, line.number)
}

func (r *importRun) refuse(line int, flaw *core.FieldError) {
	r.refused++
	r.progress.clear()
	fmt.Fprintf(r.rejects, "line %d: %s: %s\n", line, flaw.Field, flaw.Text)
}

// flush stores the batch, in one commit, and empties it.
func (r *importRun) flush(ctx context.Context) error {
	if len(r.batch) == 0 {
		return nil
	}
	take := r.store.ImportUsers
	if r.dryRun {
		take = r.store.ImportOutcomes
	}
	outcomes, err := take(ctx, r.account, r.batch)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("lines %d to %d were not stored; run the same command again: %w", r.numbers[0], r.numbers[len(r.numbers)-1], err)
	}
	for i, outcome := range outcomes {
		switch outcome {
		case core.ImportCreated:
			r.created++
			hash := r.batch[i].Hash
			r.algorithms[or(hash.Algorithm, "without a password")]++
			if hash.Weak {
				r.weak++
			}
		case core.ImportPresent:
			r.present++
		case core.ImportIDTaken:
			r.refuse(r.numbers[i], &core.FieldError{Field: "id", Code: "TAKEN", Text: "must not be another user's of the account"})
		}
	}
	r.batch, r.numbers = r.batch[:0], r.numbers[:0]
	return nil
}
