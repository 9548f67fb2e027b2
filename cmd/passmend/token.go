package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/httpapi"
	"github.com/passmend/passmend/tenants"
)

func tokenCommand() *cobra.Command {
	return group("token", "Create, list and revoke API tokens", tokenCreateCommand(), tokenListCommand(), tokenRevokeCommand())
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
	signIn := d.signIn()
	if accountRef == "" {
		_, value, err := signIn.IssueOperator(ctx, want)
		return value, err
	}
	account, err := d.account(ctx, accountRef)
	if err != nil {
		return tenants.Secret{}, err
	}
	user, err := d.userOf(ctx, account, userRef)
	if err != nil {
		return tenants.Secret{}, err
	}
	_, value, err := signIn.Issue(ctx, user, want)
	return value, err
}

func (d *desk) signIn() *core.SignIn {
	return &core.SignIn{Users: d.store, Tokens: d.store, System: d.store, Resources: httpapi.Resources{}, NewID: newID}
}

// userOf finds the user that --user names.
func (d *desk) userOf(ctx context.Context, account tenants.Account, ref string) (core.User, error) {
	user, err := core.ParseUserRef(ref).Find(ctx, d.store, account.ID)
	if errors.Is(err, core.ErrNotFound) {
		return core.User{}, fmt.Errorf("--user: there is no such user in account %s", account.Slug)
	}
	return user, err
}

// tokenOwner gives the account that a command about tokens is for; an empty one: the
// operators.
func (d *desk) tokenOwner(ctx context.Context, operator bool, ref string) (tenants.Account, error) {
	if operator == (ref != "") {
		return tenants.Account{}, usagef("give --operator, or --account")
	}
	if operator {
		return tenants.Account{}, nil
	}
	return d.account(ctx, ref)
}

func tokenListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list --operator | --account ACCOUNT [--user USER]",
		Short: "List API tokens, oldest first; their values are kept nowhere",
		Example: `  passmend token list --operator
  passmend token list --account acme --user ada@example.com`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	operator := flags.Bool("operator", false, "those that govern accounts")
	account := flags.String("account", "", "the account's id or slug")
	userRef := flags.String("user", "", "only this user's: its id or address")
	return deskCommand(cmd, func(ctx context.Context, d *desk, _ []string) error {
		owner, err := d.tokenOwner(ctx, *operator, *account)
		if err != nil {
			return err
		}
		query := core.TokenQuery{Limit: listPage}
		if *userRef != "" {
			if *operator {
				return usagef("--user: needs --account")
			}
			user, err := d.userOf(ctx, owner, *userRef)
			if err != nil {
				return err
			}
			query.User = user.ID
		}
		var rows [][]string
		for {
			page, err := d.store.APITokens(ctx, owner.ID, query)
			if err != nil {
				return err
			}
			for _, token := range page {
				expires := "never"
				if !token.Expires.IsZero() {
					expires = stamp(token.Expires)
				}
				if token.Expired {
					expires += " (over)"
				}
				rows = append(rows, []string{string(token.ID), core.TokenKind(token.Role), or(string(token.User), "-"), stamp(token.Created), expires, or(token.Name, "-")})
				query.After = token.ID
			}
			if len(page) < listPage {
				break
			}
		}
		return printTable(cmd.OutOrStdout(), []string{"ID", "KIND", "USER", "CREATED", "EXPIRES", "NAME"}, rows)
	})
}

func tokenRevokeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke TOKEN --operator | --account ACCOUNT",
		Short: "End an API token at once; TOKEN is its id, never its value",
		Example: `  passmend token revoke 0197c0de-0000-7000-8000-00000000abcd --account acme
  passmend token revoke 0197c0de-0000-7000-8000-00000000abcd --operator`,
		Args: cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	operator := flags.Bool("operator", false, "a token that governs accounts")
	account := flags.String("account", "", "the account's id or slug")
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) error {
		id, ok := tenants.ParseUUID(args[0])
		if !ok { // what was typed may be a token's value, and is not repeated
			return usagef("TOKEN: must be the UUID that 'passmend token list' shows")
		}
		owner, err := d.tokenOwner(ctx, *operator, *account)
		if err != nil {
			return err
		}
		token, err := d.store.APITokenByID(ctx, owner.ID, core.TokenID(id))
		if err == nil && token.Operator() {
			// An operator has no account that could hear of it.
			return d.store.DeleteAPIToken(ctx, "", token.ID, nil)
		}
		if err == nil {
			err = d.signIn().Revoke(ctx, token)
		}
		if errors.Is(err, core.ErrNotFound) {
			return errors.New("TOKEN: there is no such token; 'passmend token list' shows them")
		}
		return err
	})
}
