package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/tenants"
)

// desk is what a command of the operator works at: the database itself, never
// the server. A running server sees the change within a quarter of a second.
type desk struct {
	config config
	store  *sqlstore.Store
}

// deskCommand gives a command that runs at a desk. It takes the settings that
// find the database, and those named besides.
func deskCommand(cmd *cobra.Command, run func(ctx context.Context, d *desk, args []string) error, besides ...string) *cobra.Command {
	addSettingFlags(cmd.Flags(), append([]string{"database_url", "data_dir", "allow_unsafe_durability"}, besides...)...)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		c, err := loadConfig(cmd, nil)
		if err != nil {
			return err
		}
		d, err := openDesk(cmd.Context(), c)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.store.Close()) }()
		return run(atDesk(cmd.Context()), d, args)
	}
	return cmd
}

// atDesk says who works at the desk, for the audit log.
func atDesk(ctx context.Context) context.Context {
	actor := core.Actor{Kind: core.ActorCommand, ID: "uid:" + strconv.Itoa(os.Getuid())}
	return core.WithOrigin(ctx, core.Origin{Actor: actor})
}

func openDesk(ctx context.Context, c config) (*desk, error) {
	store, err := openStore(ctx, c, slog.New(slog.DiscardHandler), nil, nil)
	if err != nil {
		return nil, err
	}
	return &desk{config: c, store: store}, nil
}

// openStore opens the database and brings an embedded one up to date; a PostgreSQL
// is migrated by its own command, once for all replicas, and refused until then.
func openStore(ctx context.Context, c config, logger *slog.Logger, wake func(), observer sqlstore.Observer) (*sqlstore.Store, error) {
	if err := os.MkdirAll(c.dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	store, err := sqlstore.Open(ctx, sqlstore.Config{
		URL: c.databaseURL, Logger: logger, NewID: newID, Wake: wake, Observer: observer,
		AllowUnsafeDurability: c.allowUnsafe,
	})
	if err != nil {
		return nil, err
	}
	if c.sqlite() {
		_, err = store.Migrate(ctx)
	} else {
		err = store.CheckSchema(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// account finds an account by id or slug.
func (d *desk) account(ctx context.Context, ref string) (tenants.Account, error) {
	if ref == "" {
		return tenants.Account{}, usagef("--account: is needed: an account's id or slug")
	}
	resolver, err := tenants.NewResolver(d.store)
	if err != nil {
		return tenants.Account{}, err
	}
	account, err := resolver.Resolve(ctx, ref)
	if errors.Is(err, tenants.ErrUnknown) {
		return account, fmt.Errorf("there is no account %q; 'passmend account list' shows them", ref)
	}
	return account, err
}

// owner is an account, or the platform when ref is empty.
func (d *desk) owner(ctx context.Context, ref string) (tenants.AccountID, error) {
	if ref == "" {
		return "", nil
	}
	account, err := d.account(ctx, ref)
	return account.ID, err
}

// secretArgument reads @FILE, or standard input for @-: a secret is never an
// argument itself, because every process on the machine can read those.
func secretArgument(flag, value string, stdin io.Reader) (tenants.Secret, error) {
	path, isFile := strings.CutPrefix(value, "@")
	if !isFile {
		return tenants.Secret{}, usagef("--%s: must be @FILE, or @- for standard input: an argument would show in the list of processes", flag)
	}
	read := func() ([]byte, error) { return os.ReadFile(path) }
	if path == "-" {
		read = func() ([]byte, error) { return io.ReadAll(io.LimitReader(stdin, 64<<10)) }
	}
	content, err := read()
	if err != nil {
		return tenants.Secret{}, usagef("--%s: must name a readable file: %w", flag, err)
	}
	return tenants.NewSecret(strings.TrimRight(string(content), "\r\n")), nil
}

// printTable writes rows under a heading, in columns.
func printTable(w io.Writer, heading []string, rows [][]string) error {
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, strings.Join(heading, "\t"))
	for _, row := range rows {
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	return table.Flush()
}

func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// listPage is how many rows a list reads at a time.
const listPage = 500

// allAccounts reads every account, page by page.
func (d *desk) allAccounts(ctx context.Context, each func(tenants.Account) error) error {
	var after tenants.AccountID
	for {
		page, err := d.store.ListAccounts(ctx, after, listPage)
		if err != nil {
			return err
		}
		for _, account := range page {
			if err := each(account); err != nil {
				return err
			}
			after = account.ID
		}
		if len(page) < listPage {
			return nil
		}
	}
}

// allUsers reads every user of an account that the query chooses, page by page.
func (d *desk) allUsers(ctx context.Context, account tenants.AccountID, query core.UserQuery, each func(core.User) error) error {
	query.Limit = listPage
	for {
		page, err := d.store.Users(ctx, account, query)
		if err != nil {
			return err
		}
		for _, user := range page {
			if err := each(user); err != nil {
				return err
			}
			query.After = user.ID
		}
		if len(page) < listPage {
			return nil
		}
	}
}
