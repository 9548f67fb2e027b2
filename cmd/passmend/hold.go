package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// scopeFlags are what a hold is about.
type scopeFlags struct {
	all               *bool
	account, provider *string
}

func addScopeFlags(flags *pflag.FlagSet) scopeFlags {
	return scopeFlags{
		all:      flags.Bool("all", false, "everything of every account"),
		account:  flags.String("account", "", "an account's id or slug; with --provider, the provider's owner"),
		provider: flags.String("provider", "", "what goes to this provider, the platform's or, with --account, the account's own"),
	}
}

func (f scopeFlags) find(ctx context.Context, d *desk) (owner tenants.AccountID, provider string, err error) {
	if *f.all == (*f.account != "" || *f.provider != "") {
		return "", "", usagef("give --all, or --account, --provider or both")
	}
	owner, err = d.owner(ctx, *f.account)
	return owner, *f.provider, err
}

func holdCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hold --all | --account ACCOUNT | --provider NAME [--account OWNER]",
		Short: "Keep deliveries back; requests are accepted as ever, and wait",
		Long: `Keeps deliveries back until 'passmend release': of every account, of one, or those
that go to one provider. Requests are accepted as ever. A link's life begins when its
request is worked on, so that what waits before that loses nothing by waiting.

What is under way ends as it would have, within a minute; a server hears of a held
provider within a quarter of a second. 'passmend hold list' shows what waits.`,
		Example: `  passmend hold --all
  passmend hold --account acme
  passmend hold --provider relay
  passmend hold list`,
		Args: cobra.NoArgs,
	}
	scope := addScopeFlags(cmd.Flags())
	cmd = deskCommand(cmd, func(ctx context.Context, d *desk, _ []string) error {
		owner, provider, err := scope.find(ctx, d)
		if err != nil {
			return err
		}
		err = d.store.BeginHold(ctx, owner, provider, true)
		if errors.Is(err, core.ErrNotFound) {
			return fmt.Errorf("there is no provider %q; 'passmend provider list' shows them", provider)
		}
		return err
	})
	cmd.AddCommand(holdListCommand())
	return cmd
}

func holdListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "Show what is held or drains, and how much waits",
		Example: "  passmend hold list",
		Args:    cobra.NoArgs,
	}
	return deskCommand(cmd, func(ctx context.Context, d *desk, _ []string) error {
		holds, err := d.store.AllHolds(ctx)
		if err != nil {
			return err
		}
		rows := make([][]string, len(holds))
		for i, hold := range holds {
			rows[i] = []string{
				or(string(hold.Account), "all"), or(hold.Provider, "all"), formatHold(hold), stamp(hold.Since),
				strconv.Itoa(hold.Waiting), strconv.Itoa(hold.UnderWay),
			}
		}
		return printTable(cmd.OutOrStdout(), []string{"ACCOUNT", "PROVIDER", "STATE", "SINCE", "WAITING", "UNDER WAY"}, rows)
	})
}

func formatHold(hold core.Hold) string {
	switch {
	case hold.Released.IsZero():
		return core.HoldHeld
	case hold.Rate == 0:
		return core.HoldDraining
	}
	return fmt.Sprintf("%s %d/s", core.HoldDraining, hold.Rate)
}

func releaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "release --all | --account ACCOUNT | --provider NAME [--account OWNER]",
		Short: "Let go what 'passmend hold' kept back, at a rate",
		Long: `Ends a hold. With --rate what waits goes out at that many deliveries a second, oldest
first in each account, and what is accepted meanwhile waits its turn; the hold is gone
when nothing waits any more. Given again, another rate takes over.`,
		Example: `  passmend release --all --rate 50
  passmend release --account acme
  passmend release --provider relay --rate 10`,
		Args: cobra.NoArgs,
	}
	scope := addScopeFlags(cmd.Flags())
	rate := cmd.Flags().Int("rate", 0, "deliveries a second, 1 to 10000 (default: as fast as they can)")
	return deskCommand(cmd, func(ctx context.Context, d *desk, _ []string) error {
		if *rate < 0 || *rate > core.MostDrained || (*rate == 0 && cmd.Flags().Changed("rate")) {
			return usagef("--rate: must be 1 to %d (got %d)", core.MostDrained, *rate)
		}
		owner, provider, err := scope.find(ctx, d)
		if err != nil {
			return err
		}
		err = d.store.EndHold(ctx, owner, provider, *rate, true)
		if errors.Is(err, core.ErrNotFound) {
			return errors.New("there is no such hold; 'passmend hold list' shows them")
		}
		return err
	})
}
