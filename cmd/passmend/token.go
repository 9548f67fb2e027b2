package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

func tokenCommand() *cobra.Command {
	return group("token", "Create API tokens", tokenCreateCommand())
}

func tokenCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create --operator | --account ACCOUNT --user USER",
		Short: "Print a new API token, once; only its digest is kept",
		Example: `  passmend token create --operator --name deploy
  passmend token create --account acme --user ada@example.com --life 720h`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	operator := flags.Bool("operator", false, "a token that governs accounts")
	account := flags.String("account", "", "the account's id or slug")
	userRef := flags.String("user", "", "the user's id or address")
	name := flags.String("name", "", "what the token is for")
	life := flags.Duration("life", 0, "how long it works, as 720h (default: two weeks for users, else for ever)")
	return deskCommand(cmd, func(ctx context.Context, d *desk, _ []string) error {
		if *operator == (*account != "" || *userRef != "") || (*account == "") != (*userRef == "") {
			return usagef("give --operator, or --account and --user")
		}
		if *life < 0 {
			return usagef("--life: must be a duration above 0, as 720h (got %s)", *life)
		}
		value, err := d.issue(ctx, *account, *userRef, core.NewToken{Name: *name, Life: *life})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), value.Reveal())
		return err
	})
}

func (d *desk) issue(ctx context.Context, accountRef, userRef string, want core.NewToken) (tenants.Secret, error) {
	signIn := &core.SignIn{Users: d.store, Tokens: d.store, System: d.store, NewID: newID}
	if accountRef == "" {
		_, value, err := signIn.IssueOperator(ctx, want)
		return value, err
	}
	account, err := d.account(ctx, accountRef)
	if err != nil {
		return tenants.Secret{}, err
	}
	user, err := core.ParseUserRef(userRef).Find(ctx, d.store, account.ID)
	if errors.Is(err, core.ErrNotFound) {
		return tenants.Secret{}, fmt.Errorf("--user: there is no such user in account %s", account.Slug)
	}
	if err != nil {
		return tenants.Secret{}, err
	}
	_, value, err := signIn.Issue(ctx, user, want)
	return value, err
}
