package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/tenants"
)

func userCommand() *cobra.Command {
	return group("user", "Create and list the users of an account", userCreateCommand(), userListCommand())
}

func roleNames() string {
	names := make([]string, 0, 6)
	for _, role := range core.Roles() {
		names = append(names, string(role))
	}
	return strings.Join(names, ", ")
}

func userCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create EMAIL --account ACCOUNT",
		Short: "Create a user and print its id",
		Example: `  passmend user create ada@example.com --account acme --password @- < password.txt
  passmend user create root@example.com --account acme --role admin`,
		Args: cobra.MaximumNArgs(1),
	}
	flags := cmd.Flags()
	account := flags.String("account", "", "the account's id or slug")
	email := flags.String("email", "", "the address, instead of the argument")
	password := flags.String("password", "", "@FILE or @-; without it the user sets one by a link")
	first := flags.String("first-name", "", "first name")
	last := flags.String("last-name", "", "last name")
	role := flags.String("role", "user", "one of "+roleNames())
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) error {
		if len(args) == 1 {
			*email = args[0]
		}
		if !slices.Contains(core.Roles(), core.Role(*role)) {
			return usagef("--role: must be one of %s (got %q)", roleNames(), *role)
		}
		owner, err := d.account(ctx, *account)
		if err != nil {
			return err
		}
		user := core.User{ID: core.UserID(newID()), Account: owner.ID, FirstName: *first, LastName: *last, Role: core.Role(*role)}
		if user.Address, err = core.ParseUserAddress(*email); err != nil {
			return usagef("EMAIL: %w", err)
		}
		if *password != "" {
			secret, err := secretArgument("password", *password, cmd.InOrStdin())
			if err != nil {
				return err
			}
			if user.PasswordHash, err = d.hash(ctx, owner, user, secret); err != nil {
				return err
			}
		}
		if _, err = d.store.CreateUser(ctx, owner.ID, user); errors.Is(err, core.ErrAddressTaken) {
			return errors.New("another user of the account has this address")
		} else if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), user.ID)
		return err
	}, "keys_file")
}

// hash judges and hashes a password with the keys that the server uses.
func (d *desk) hash(ctx context.Context, account tenants.Account, user core.User, typed tenants.Secret) ([]byte, error) {
	chosen, err := core.ChoosePassword(account, user, typed)
	if err != nil {
		return nil, usagef("--password: %w (at least %d characters, not a common one)", err, account.Password.Minimum)
	}
	ring, err := keys.Open(d.config.keysFile)
	if err != nil {
		return nil, err
	}
	passwords, err := keys.NewPasswords(keys.PasswordsConfig{Keys: ring})
	if err != nil {
		return nil, err
	}
	return passwords.Hash(ctx, account.ID, user.ID, chosen)
}

func userListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list --account ACCOUNT",
		Short:   "List the users of an account",
		Example: "  passmend user list --account acme",
		Args:    cobra.NoArgs,
	}
	account := cmd.Flags().String("account", "", "the account's id or slug")
	return deskCommand(cmd, func(ctx context.Context, d *desk, _ []string) error {
		owner, err := d.account(ctx, *account)
		if err != nil {
			return err
		}
		var rows [][]string
		err = d.allUsers(ctx, owner.ID, func(u core.User) error {
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
