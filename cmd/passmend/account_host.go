package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

func accountDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delete ACCOUNT --confirm SLUG",
		Short: "Delete an account with its users, tokens, links and queued mail, for ever",
		Long: `Deletes an account with all that it has, for ever: nothing finds it any more, its links
are dead, and what is queued is not sent. Its slug and its hosts are free at once; its
rows are removed by the server, little by little.`,
		Example: "  passmend account delete acme --confirm acme",
		Args:    cobra.ExactArgs(1),
	}
	confirm := cmd.Flags().String("confirm", "", "the account's slug, once more")
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) error {
		account, err := d.account(ctx, args[0])
		if err != nil {
			return err
		}
		if *confirm != account.Slug {
			return usagef("--confirm: must be the account's slug, %s: there is no way back", account.Slug)
		}
		return d.store.DeleteAccount(ctx, account.ID)
	})
}

func accountHostCommand() *cobra.Command {
	return group("host", "Give an account host names of its own", accountHostAddCommand(), accountHostListCommand(), accountHostRemoveCommand())
}

// shownHost is a host of an account.
type shownHost struct {
	Host     string `json:"host"`
	Verified bool   `json:"verified"`
}

func (d *desk) hosts(ctx context.Context, account tenants.AccountID) ([]shownHost, error) {
	domains, err := d.store.Domains(ctx, account)
	shown := make([]shownHost, len(domains))
	for i, domain := range domains {
		shown[i] = shownHost{domain.Host, domain.Verified}
	}
	return shown, err
}

// accountAndHost reads ACCOUNT HOST; a host that is none is told first.
func (d *desk) accountAndHost(ctx context.Context, args []string) (account tenants.Account, host string, err error) {
	host, ok := tenants.ParseHost(args[1])
	if !ok {
		return account, "", usagef("HOST: must be a host name of two labels or more, as login.acme.example (got %q)", args[1])
	}
	account, err = d.account(ctx, args[0])
	return account, host, err
}

func accountHostAddCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add ACCOUNT HOST",
		Short: "Answer on a host for an account, or say anew whether it is verified",
		Long: `Answers on a host for an account: its API and its pages, without the account in the path.
Links in its mails lead to its oldest verified host from then on; those of before still
work. Make sure first that the host is the account's, that it leads to your proxy, and that
TLS for it ends there; or add it with --verified=false, and again when you know.`,
		Example: `  passmend account host add acme login.acme.example
  passmend account host add acme login.acme.example --verified=false`,
		Args: cobra.ExactArgs(2),
	}
	verified := cmd.Flags().Bool("verified", true, "somebody has made sure that the host is the account's")
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) error {
		account, host, err := d.accountAndHost(ctx, args)
		if err != nil {
			return err
		}
		err = d.store.SetDomain(ctx, account.ID, tenants.Domain{Account: account.ID, Host: host, Verified: *verified})
		if errors.Is(err, core.ErrHostTaken) {
			return fmt.Errorf("HOST: the host %q belongs to another account", host)
		}
		return err
	})
}

func accountHostListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list ACCOUNT",
		Short:   "List the hosts of an account, oldest first",
		Example: "  passmend account host list acme",
		Args:    cobra.ExactArgs(1),
	}
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) error {
		account, err := d.account(ctx, args[0])
		if err != nil {
			return err
		}
		hosts, err := d.hosts(ctx, account.ID)
		if err != nil {
			return err
		}
		var rows [][]string
		for _, host := range hosts {
			rows = append(rows, []string{host.Host, fmt.Sprint(host.Verified)})
		}
		return printTable(cmd.OutOrStdout(), []string{"HOST", "VERIFIED"}, rows)
	})
}

func accountHostRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "remove ACCOUNT HOST",
		Short:   "Answer on a host no more",
		Example: "  passmend account host remove acme login.acme.example",
		Args:    cobra.ExactArgs(2),
	}
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) error {
		account, host, err := d.accountAndHost(ctx, args)
		if err != nil {
			return err
		}
		err = d.store.RemoveDomain(ctx, account.ID, host)
		if errors.Is(err, core.ErrNotFound) {
			return fmt.Errorf("HOST: account %s has no host %q", account.Slug, host)
		}
		return err
	})
}
