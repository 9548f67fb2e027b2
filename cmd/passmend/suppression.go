package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/tenants"
)

func suppressionCommand() *cobra.Command {
	return group("suppression", "Look after the addresses that no mail of an account goes to",
		suppressionListCommand(), suppressionAddCommand(), suppressionRemoveCommand())
}

func (d *desk) suppressions() (*core.SuppressionList, error) {
	ring, err := keys.Open(d.config.keysFile)
	if err != nil {
		return nil, err
	}
	return &core.SuppressionList{Suppressions: d.store, Users: d.store, Digester: ring, NewID: newID}, nil
}

// suppressionDesk gives a command that works on an account's list, with the address
// that is its argument, if there is one.
func suppressionDesk(cmd *cobra.Command, run func(ctx context.Context, list *core.SuppressionList, owner tenants.Account, address core.Address) error) *cobra.Command {
	account := cmd.Flags().String("account", "", "the account's id or slug")
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) (err error) {
		var address core.Address
		if len(args) > 0 {
			if address, err = core.ParseUserAddress(args[0]); err != nil {
				return usagef("EMAIL: %w", err)
			}
		}
		owner, err := d.account(ctx, *account)
		if err != nil {
			return err
		}
		list, err := d.suppressions()
		if err != nil {
			return err
		}
		return run(ctx, list, owner, address)
	}, "keys_file")
}

func suppressionListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [EMAIL] --account ACCOUNT",
		Short: "List an account's suppressions, newest first, or the one of an address",
		Long: `Lists the addresses that no mail of an account goes to. They are kept as digests
under the keys file: an address is shown only while the user who had it still has it.`,
		Example: `  passmend suppression list --account acme
  passmend suppression list ada@example.com --account acme`,
		Args: cobra.MaximumNArgs(1),
	}
	return suppressionDesk(cmd, func(ctx context.Context, list *core.SuppressionList, owner tenants.Account, address core.Address) error {
		var rows [][]string
		for filter := (core.SuppressionFilter{Address: address, Limit: 100}); ; {
			found, err := list.List(ctx, owner.ID, filter)
			if err != nil {
				return err
			}
			for _, s := range found {
				rows = append(rows, []string{string(s.ID), stamp(s.Created), string(s.Reason), or(s.Provider, "-"), or(s.Address.Reveal(), "-")})
				filter.Before = s.ID
			}
			if len(found) < filter.Limit {
				break
			}
		}
		return printTable(cmd.OutOrStdout(), []string{"ID", "SINCE", "REASON", "PROVIDER", "EMAIL"}, rows)
	})
}

func suppressionAddCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "add EMAIL --account ACCOUNT",
		Short:   "Let no more mail of an account go to an address; print the suppression's id",
		Example: "  passmend suppression add ada@example.com --account acme",
		Args:    cobra.ExactArgs(1),
	}
	return suppressionDesk(cmd, func(ctx context.Context, list *core.SuppressionList, owner tenants.Account, address core.Address) error {
		found, _, err := list.Add(ctx, owner.ID, address)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), found.ID)
		return err
	})
}

func suppressionRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "remove EMAIL --account ACCOUNT",
		Short:   "Let mail of an account go to an address again",
		Example: "  passmend suppression remove ada@example.com --account acme",
		Args:    cobra.ExactArgs(1),
	}
	return suppressionDesk(cmd, func(ctx context.Context, list *core.SuppressionList, owner tenants.Account, address core.Address) error {
		found, err := list.List(ctx, owner.ID, core.SuppressionFilter{Address: address, Limit: 1})
		if err != nil {
			return err
		}
		if len(found) > 0 {
			err = list.Remove(ctx, owner.ID, found[0].ID)
		}
		if len(found) == 0 || errors.Is(err, core.ErrNotFound) {
			return fmt.Errorf("the address is not on the suppression list of account %s", owner.Slug)
		}
		return err
	})
}
