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

func webhookCommand() *cobra.Command {
	return group("webhook", "Configure where an account is told of its events",
		webhookListCommand(), webhookAddCommand(), webhookRemoveCommand(), webhookRotateCommand(), webhookEnableCommand())
}

// endpointDesk makes and changes endpoints as the server does.
func (d *desk) endpointDesk() (*core.EndpointDesk, error) {
	ring, err := keys.Open(d.config.keysFile)
	if err != nil {
		return nil, err
	}
	return &core.EndpointDesk{
		Endpoints: d.store, URLs: d.config.endpointURLs(false), Recipients: keys.Recipients{}, Sealer: ring, NewID: newID,
	}, nil
}

// endpointSettings are those that decide what an endpoint's URL may be.
var endpointSettings = []string{"keys_file", "webhook_allow", "plugin_ports", "base_url"}

// endpointCommand is a command about one endpoint of an account.
func endpointCommand(use, short string, run func(ctx context.Context, cmd *cobra.Command, d *desk, owner tenants.AccountID, id core.EndpointID) error, besides ...string) *cobra.Command {
	cmd := &cobra.Command{
		Use: use + " ID --account ACCOUNT", Short: short,
		Example: "  passmend webhook " + use + " 0197c0de-0000-7000-8000-00000000abcd --account acme",
		Args:    cobra.ExactArgs(1),
	}
	account := cmd.Flags().String("account", "", "the account's id or slug")
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) error {
		id, ok := tenants.ParseUUID(args[0])
		if !ok {
			return usagef("ID: must be an id that 'passmend webhook list' shows (got %q)", args[0])
		}
		owner, err := d.account(ctx, *account)
		if err != nil {
			return err
		}
		err = run(ctx, cmd, d, owner.ID, core.EndpointID(id))
		if errors.Is(err, core.ErrNotFound) {
			return fmt.Errorf("account %s has no webhook endpoint %s; 'passmend webhook list' shows them", owner.Slug, id)
		}
		return err
	}, besides...)
}

func webhookListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list --account ACCOUNT",
		Short:   "List an account's webhook endpoints and how they do",
		Example: "  passmend webhook list --account acme",
		Args:    cobra.NoArgs,
	}
	account := cmd.Flags().String("account", "", "the account's id or slug")
	return deskCommand(cmd, func(ctx context.Context, d *desk, _ []string) error {
		owner, err := d.account(ctx, *account)
		if err != nil {
			return err
		}
		endpoints, err := d.store.Endpoints(ctx, owner.ID, "", core.MaxEndpoints)
		if err != nil {
			return err
		}
		rows := make([][]string, 0, len(endpoints))
		for _, e := range endpoints {
			rows = append(rows, []string{string(e.ID), endpointStanding(e), string(e.Algorithm), joinNames(e.Subscriptions), e.URL})
		}
		return printTable(cmd.OutOrStdout(), []string{"ID", "STATUS", "SIGNED BY", "EVENTS", "URL"}, rows)
	})
}

// endpointStanding is how an endpoint does, for people.
func endpointStanding(e core.Endpoint) string {
	switch {
	case !e.Disabled.IsZero():
		return "disabled (" + string(e.DisabledReason) + ")"
	case e.Failures > 0:
		return fmt.Sprintf("failing (%d)", e.Failures)
	default:
		return "enabled"
	}
}

func joinNames[S ~string](names []S) string {
	texts := make([]string, len(names))
	for i, name := range names {
		texts[i] = string(name)
	}
	return strings.Join(texts, ",")
}

func webhookAddCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add URL --account ACCOUNT",
		Short: "Add an endpoint; print its id, and its secret this once",
		Long: `Adds a webhook endpoint and prints its id and its secret, which is shown this once.
The URL is https, names a public host, and has port 443 or one that
PASSMEND_PLUGIN_PORTS opens for the plugin webhook. Events:

  ` + strings.ReplaceAll(joinNames(core.EventNames()), ",", "\n  "),
		Example: `  passmend webhook add https://app.example.com/hooks --account acme
  passmend webhook add https://app.example.com/hooks --account acme --events user.password-reset --encryption-key age1...`,
		Args: cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	account := flags.String("account", "", "the account's id or slug")
	events := flags.StringSlice("events", []string{string(core.AllEvents)}, "which events, comma-separated; * is all")
	algorithm := flags.String("algorithm", string(core.SignatureDefault), "how the account signs: "+joinNames(core.SignatureAlgorithms()))
	version := flags.String("api-version", "", "the version in Keygen-Version (default: the account's)")
	key := flags.String("encryption-key", "", "an age recipient or a public X25519 key in base64, which tokens are encrypted to")
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) error {
		owner, err := d.account(ctx, *account)
		if err != nil {
			return err
		}
		want := core.EndpointChange{URL: &args[0], Subscriptions: []core.EventName{}, Algorithm: (*core.SignatureAlgorithm)(algorithm), Recipient: key}
		for _, name := range *events {
			want.Subscriptions = append(want.Subscriptions, core.EventName(name))
		}
		if *version != "" {
			if !slices.Contains(tenants.APIVersions(), *version) {
				return usagef("--api-version: must be one of %s (got %q)", strings.Join(tenants.APIVersions(), ", "), *version)
			}
			want.APIVersion = version
		}
		endpoints, err := d.endpointDesk()
		if err != nil {
			return err
		}
		endpoint, secret, err := endpoints.Create(ctx, owner, want)
		if err != nil {
			return endpointUsage(err)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "endpoint  %s\nsecret    %s\n", endpoint.ID, secret.Reveal())
		return err
	}, endpointSettings...)
}

// endpointUsage names the argument that an endpoint was refused for.
func endpointUsage(err error) error {
	for _, at := range []struct {
		argument string
		errs     []error
		accepts  string
	}{
		{"URL", []error{core.ErrURLInvalid, core.ErrURLProtocol, core.ErrURLHost, core.ErrURLTooLong}, ""},
		{"--events", []error{core.ErrNoSubscriptions, core.ErrUnknownEvent}, "*, " + strings.ReplaceAll(joinNames(core.EventNames()), ",", ", ")},
		{"--algorithm", []error{core.ErrUnknownAlgorithm}, strings.ReplaceAll(joinNames(core.SignatureAlgorithms()), ",", ", ")},
		{"--encryption-key", []error{core.ErrUnknownRecipient}, ""},
	} {
		if !slices.ContainsFunc(at.errs, func(is error) bool { return errors.Is(err, is) }) {
			continue
		}
		if at.accepts != "" {
			return usagef("%s: %w; it takes %s", at.argument, err, at.accepts)
		}
		return usagef("%s: %w", at.argument, err)
	}
	return err
}

func webhookRemoveCommand() *cobra.Command {
	return endpointCommand("remove", "Remove an endpoint; what waits for it is not sent",
		func(ctx context.Context, _ *cobra.Command, d *desk, owner tenants.AccountID, id core.EndpointID) error {
			return d.store.DeleteEndpoint(ctx, owner, id)
		})
}

func webhookRotateCommand() *cobra.Command {
	return endpointCommand("rotate", "Give an endpoint another secret and print it; for 24 hours the former signs too",
		func(ctx context.Context, cmd *cobra.Command, d *desk, owner tenants.AccountID, id core.EndpointID) error {
			endpoints, err := d.endpointDesk()
			if err != nil {
				return err
			}
			_, secret, err := endpoints.Rotate(ctx, owner, id)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "secret    %s\n", secret.Reveal())
			return err
		}, endpointSettings...)
}

func webhookEnableCommand() *cobra.Command {
	return endpointCommand("enable", "Tell a disabled endpoint of events again",
		func(ctx context.Context, _ *cobra.Command, d *desk, owner tenants.AccountID, id core.EndpointID) error {
			_, err := d.store.EnableEndpoint(ctx, owner, id)
			return err
		})
}
