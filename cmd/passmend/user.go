package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/httpapi"
	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/tenants"
)

func userCommand() *cobra.Command {
	return group("user", "Create, import, list, change and delete the users of an account",
		userCreateCommand(), userImportCommand(), userListCommand(), userShowCommand(), userUpdateCommand(),
		userBanCommand(true), userBanCommand(false), userDeleteCommand(), userHashesCommand())
}

func roleNames() string {
	names := make([]string, 0, 6)
	for _, role := range core.Roles() {
		names = append(names, string(role))
	}
	return strings.Join(names, ", ")
}

// userAdmin does what the API does, its events included. With keys it can hash.
func (d *desk) userAdmin(withKeys bool) (*core.UserAdmin, error) {
	admin := &core.UserAdmin{Users: d.store, Changes: d.store, Resources: httpapi.Resources{}, NewID: newID}
	if !withKeys {
		return admin, nil
	}
	ring, err := keys.Open(d.config.keysFile)
	if err != nil {
		return nil, err
	}
	admin.Digester = ring
	admin.Passwords, err = keys.NewPasswords(keys.PasswordsConfig{Keys: ring})
	return admin, err
}

// userFlags are the attributes of a user.
func userFlags(flags *pflag.FlagSet) {
	flags.String("password", "", "@FILE or @-; without it the user sets one by a link")
	flags.String("first-name", "", "first name, 0 to 255 characters")
	flags.String("last-name", "", "last name, 0 to 255 characters")
	flags.String("role", "user", "one of "+roleNames())
	flags.String("metadata", "", "a JSON object of at most 16 KiB, 64 keys and 4 levels, or @FILE")
}

// roleFlag reads --role.
func roleFlag(flags *pflag.FlagSet) (core.Role, error) {
	role := flags.Lookup("role").Value.String()
	if !slices.Contains(core.Roles(), core.Role(role)) {
		return "", usagef("--role: must be one of %s (got %q)", roleNames(), role)
	}
	return core.Role(role), nil
}

// metadataFlag reads --metadata; nil when it was not given.
func metadataFlag(flags *pflag.FlagSet) (json.RawMessage, error) {
	flag := flags.Lookup("metadata")
	if !flag.Changed {
		return nil, nil
	}
	text := []byte(flag.Value.String())
	if path, isFile := strings.CutPrefix(flag.Value.String(), "@"); isFile {
		var err error
		if text, err = os.ReadFile(path); err != nil {
			return nil, usagef("--metadata: must be a JSON object, or @ and a readable file: %w", err)
		}
	}
	if _, err := core.ParseMetadata(text); err != nil {
		return nil, flagError(err)
	}
	return text, nil
}

// passwordFlag reads --password; nil when it was not given.
func passwordFlag(cmd *cobra.Command) (*tenants.Secret, error) {
	flag := cmd.Flags().Lookup("password")
	if flag.Value.String() == "" {
		return nil, nil
	}
	secret, err := secretArgument("password", flag.Value.String(), cmd.InOrStdin())
	return &secret, err
}

// flagError names the flag that an attribute comes by, and what it accepts.
func flagError(err error) error {
	var flaw *core.FieldError
	switch {
	case errors.As(err, &flaw) && flaw.Field == "email" && flaw.Code == "INVALID":
		return usagef("EMAIL: %w", core.ErrAddressInvalid)
	case errors.As(err, &flaw) && flaw.Field == "email":
		return usagef("EMAIL: %s", flaw.Text)
	case errors.As(err, &flaw):
		return usagef("--%s: %s", flagOfField(flaw.Field), flaw.Text)
	case errors.Is(err, core.ErrAddressTaken):
		return errors.New("another user of the account has this address")
	}
	return err
}

// passwordError says what the policy of the account has against --password.
func passwordError(account tenants.Account, err error) error {
	for _, policy := range []error{core.ErrPasswordTooShort, core.ErrPasswordTooLong, core.ErrPasswordCommon} {
		if errors.Is(err, policy) {
			return usagef("--password: %w (%d to %d characters, not a common one)", policy, account.Password.Minimum, core.MaxPasswordChars)
		}
	}
	return flagError(err)
}

func userCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create EMAIL --account ACCOUNT",
		Short: "Create a user and print its id",
		Example: `  passmend user create ada@example.com --account acme --password @- < password.txt
  passmend user create root@example.com --account acme --role admin
  passmend user create ada@example.com --account acme --metadata '{"plan": "gold"}'`,
		Args: cobra.MaximumNArgs(1),
	}
	flags := cmd.Flags()
	account := flags.String("account", "", "the account's id or slug")
	email := flags.String("email", "", "the address, instead of the argument")
	userFlags(flags)
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) error {
		if len(args) == 1 {
			*email = args[0]
		}
		want := core.NewUser{Email: *email, FirstName: flags.Lookup("first-name").Value.String(), LastName: flags.Lookup("last-name").Value.String()}
		var err error
		if want.Role, err = roleFlag(flags); err != nil {
			return err
		}
		owner, err := d.account(ctx, *account)
		if err != nil {
			return err
		}
		if want.Metadata, err = metadataFlag(flags); err != nil {
			return err
		}
		if want.Password, err = passwordFlag(cmd); err != nil {
			return err
		}
		admin, err := d.userAdmin(want.Password != nil)
		if err != nil {
			return err
		}
		user, err := admin.Create(ctx, owner, want)
		if err != nil {
			return passwordError(owner, err)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), user.ID)
		return err
	}, "keys_file")
}

// userDesk gives a command about one user, whose id or address is its argument.
func userDesk(cmd *cobra.Command, run func(ctx context.Context, d *desk, owner tenants.Account, user core.User) error) *cobra.Command {
	cmd.Args = cobra.ExactArgs(1)
	account := cmd.Flags().String("account", "", "the account's id or slug")
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) error {
		owner, err := d.account(ctx, *account)
		if err != nil {
			return err
		}
		user, err := core.ParseUserRef(args[0]).Find(ctx, d.store, owner.ID)
		if errors.Is(err, core.ErrNotFound) {
			return fmt.Errorf("USER: there is no such user in account %s; 'passmend user list --account %s' shows them", owner.Slug, owner.Slug)
		}
		if err != nil {
			return err
		}
		return run(ctx, d, owner, user)
	}, "keys_file")
}

func userShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show USER --account ACCOUNT",
		Short: "Print a user's attributes as JSON",
		Example: `  passmend user show ada@example.com --account acme
  passmend user show 0197c0de-0000-7000-8000-00000000abcd --account acme`,
	}
	return userDesk(cmd, func(_ context.Context, _ *desk, _ tenants.Account, user core.User) error {
		return printJSON(cmd.OutOrStdout(), userView(user))
	})
}

// shownUser is a user in the names of the wire.
type shownUser struct {
	ID          string          `json:"id"`
	Email       string          `json:"email"`
	FirstName   string          `json:"firstName"`
	LastName    string          `json:"lastName"`
	Role        string          `json:"role"`
	Status      string          `json:"status"`
	HasPassword bool            `json:"hasPassword"` // for the operator alone
	Metadata    json.RawMessage `json:"metadata"`
	Created     time.Time       `json:"created"`
	Updated     time.Time       `json:"updated"`
}

func userView(u core.User) shownUser {
	status := "ACTIVE"
	if u.Banned {
		status = "BANNED"
	}
	return shownUser{
		ID: string(u.ID), Email: u.Address.Reveal(), FirstName: u.FirstName, LastName: u.LastName, Role: string(u.Role), Status: status,
		HasPassword: u.PasswordHash != nil, Metadata: orEmptyObject(u.Metadata), Created: u.Created, Updated: u.Updated,
	}
}

func orEmptyObject(metadata json.RawMessage) json.RawMessage {
	if len(metadata) == 0 {
		return json.RawMessage(`{}`)
	}
	return metadata
}

func userUpdateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "update USER --account ACCOUNT",
		Short: "Change a user; what is not named stays",
		Long: `Changes a user; what is not named stays. Another address or password ends the user's
links. Events go out as they do for a change over the API.`,
		Example: `  passmend user update ada@example.com --account acme --role admin --last-name Lovelace
  passmend user update ada@example.com --account acme --email ada@example.org
  passmend user update ada@example.com --account acme --password @- < password.txt
  passmend user update ada@example.com --account acme --no-password`,
	}
	flags := cmd.Flags()
	email := flags.String("email", "", "the user's new address")
	noPassword := flags.Bool("no-password", false, "take the password away: the user sets one by a link")
	userFlags(flags)
	return userDesk(cmd, func(ctx context.Context, d *desk, owner tenants.Account, user core.User) (err error) {
		var patch core.UserPatch
		for name, field := range map[string]**string{"first-name": &patch.FirstName, "last-name": &patch.LastName} {
			if flag := flags.Lookup(name); flag.Changed {
				value := flag.Value.String()
				*field = &value
			}
		}
		if flags.Changed("email") {
			patch.Email = email
		}
		if flags.Changed("role") {
			role, err := roleFlag(flags)
			if err != nil {
				return err
			}
			patch.Role = &role
		}
		if patch.Metadata, err = metadataFlag(flags); err != nil {
			return err
		}
		if patch.Password, err = passwordFlag(cmd); err != nil {
			return err
		}
		if patch.Password != nil && *noPassword {
			return usagef("--no-password: cannot be combined with --password")
		}
		if *noPassword {
			patch.Password = new(tenants.Secret)
		}
		admin, err := d.userAdmin(patch.Password != nil)
		if err != nil {
			return err
		}
		if _, err = admin.Update(ctx, owner, user, patch); err != nil {
			return passwordError(owner, err)
		}
		return nil
	})
}

func userBanCommand(banned bool) *cobra.Command {
	name, short := "unban", "Let a banned user sign in again, also after too many wrong passwords"
	if banned {
		name, short = "ban", "Let a user of role user sign in no more; its links and tokens work no more either"
	}
	cmd := &cobra.Command{
		Use: name + " USER --account ACCOUNT", Short: short,
		Example: "  passmend user " + name + " ada@example.com --account acme",
	}
	return userDesk(cmd, func(ctx context.Context, d *desk, owner tenants.Account, user core.User) error {
		if user.Role != core.RoleUser {
			return fmt.Errorf("USER: must be a user of role %s (this one is %s)", core.RoleUser, user.Role)
		}
		admin, err := d.userAdmin(!banned)
		if err != nil {
			return err
		}
		if !banned {
			if err := d.store.ClearTries(ctx, owner.ID, core.TryKey(admin.Digester, owner.ID, user.Address)); err != nil {
				return err
			}
		}
		_, err = admin.SetBanned(ctx, owner.ID, user, banned)
		return err
	})
}

func userDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "delete USER --account ACCOUNT",
		Short:   "Delete a user with its API tokens and links",
		Example: "  passmend user delete ada@example.com --account acme",
	}
	return userDesk(cmd, func(ctx context.Context, d *desk, owner tenants.Account, user core.User) error {
		admin, err := d.userAdmin(false)
		if err != nil {
			return err
		}
		return admin.Delete(ctx, owner.ID, user.ID)
	})
}

func userListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list --account ACCOUNT",
		Short: "List the users of an account",
		Example: `  passmend user list --account acme
  passmend user list --account acme --role admin,read-only
  passmend user list --account acme --banned`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	account := flags.String("account", "", "the account's id or slug")
	roles := flags.String("role", "", "only these, comma-separated, of "+roleNames()+" (default: all)")
	banned := flags.Bool("banned", false, "only those who are banned; --banned=false: only those who are not")
	return deskCommand(cmd, func(ctx context.Context, d *desk, _ []string) error {
		owner, err := d.account(ctx, *account)
		if err != nil {
			return err
		}
		var query core.UserQuery
		for _, role := range splitList(*roles) {
			if !slices.Contains(core.Roles(), core.Role(role)) {
				return usagef("--role: must be among %s (got %q)", roleNames(), role)
			}
			query.Roles = append(query.Roles, core.Role(role))
		}
		if flags.Changed("banned") {
			query.Banned = banned
		}
		var rows [][]string
		err = d.allUsers(ctx, owner.ID, query, func(u core.User) error {
			standing := "active"
			if u.Banned {
				standing = "banned"
			}
			rows = append(rows, []string{string(u.ID), u.Address.Reveal(), string(u.Role), standing, u.FullName()})
			return nil
		})
		if err != nil {
			return err
		}
		return printTable(cmd.OutOrStdout(), []string{"ID", "EMAIL", "ROLE", "STATUS", "NAME"}, rows)
	})
}

func userHashesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hashes --account ACCOUNT",
		Short: "Count the users whose password hash is another system's still",
		Long: `Counts the users of an account by what verifying their password takes. Imported hashes
become ours one by one, when their users sign in or reset; this shows what is left.`,
		Example: "  passmend user hashes --account acme",
		Args:    cobra.NoArgs,
	}
	account := cmd.Flags().String("account", "", "the account's id or slug")
	return deskCommand(cmd, func(ctx context.Context, d *desk, _ []string) error {
		owner, err := d.account(ctx, *account)
		if err != nil {
			return err
		}
		shares, err := d.store.HashShares(ctx, owner.ID)
		if err != nil {
			return err
		}
		var rows [][]string
		for _, share := range shares {
			rows = append(rows, []string{or(string(share.Cost), "ours"), fmt.Sprint(share.Users)})
		}
		if len(rows) == 0 {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "no imported hashes are left")
			return err
		}
		return printTable(cmd.OutOrStdout(), []string{"HASH", "USERS"}, rows)
	})
}
