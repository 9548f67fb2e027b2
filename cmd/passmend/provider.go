package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/plugins/host"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

func providerCommand() *cobra.Command {
	return group("provider", "Configure delivery providers, the platform's or an account's",
		providerAddCommand(), providerListCommand(), providerRemoveCommand(), providerCheckCommand())
}

func providerAddCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add NAME --plugin PLUGIN --set KEY=VALUE --secret KEY=@FILE",
		Short: "Add a provider; its settings are checked against the plugin's schema",
		Example: `  passmend provider add relay --plugin smtp --set host=smtp.example.com --set username=passmend --secret password=@smtp-password
  passmend provider add acme-smtp --plugin smtp --account acme --set host=mail.acme.example`,
		Args: cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	plugin := flags.String("plugin", "", "the plugin's name; 'passmend plugin list' shows them")
	set := flags.StringArray("set", nil, "a setting, KEY=VALUE; may be given again")
	secret := flags.StringArray("secret", nil, "a secret setting, KEY=@FILE or KEY=@-; may be given again")
	account := flags.String("account", "", "the account's id or slug (default: the platform)")
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) error {
		if !tenants.ValidName(args[0]) {
			return usagef("NAME: must be 1 to 63 of a-z, 0-9 and \"-\", not beginning with \"-\" (got %q)", args[0])
		}
		if *plugin == "" {
			return usagef("--plugin: is needed; 'passmend plugin list' shows the names")
		}
		values, err := pairs("set", *set)
		if err != nil {
			return err
		}
		secrets := make(map[string]tenants.Secret)
		secretFiles, err := pairs("secret", *secret)
		if err != nil {
			return err
		}
		for name, file := range secretFiles {
			if secrets[name], err = secretArgument("secret "+name, file, cmd.InOrStdin()); err != nil {
				return err
			}
		}
		owner, err := d.owner(ctx, *account)
		if err != nil {
			return err
		}
		provider := core.Provider{ID: core.ProviderID(newID()), Account: owner, Name: args[0], Plugin: *plugin}
		return d.addProvider(ctx, provider, values, secrets)
	}, "keys_file", "plugin_dir")
}

// addProvider checks the settings against the schema that the plugin itself gives
// and stores them, the secrets sealed.
func (d *desk) addProvider(ctx context.Context, provider core.Provider, values map[string]string, secrets map[string]tenants.Secret) error {
	var description sdk.Description
	err := d.withPlugins(ctx, func(plugins *host.Host) (err error) {
		description, err = plugins.Describe(provider.Plugin)
		return err
	})
	if err != nil {
		return err
	}
	schema, err := readSchema(description.SettingsSchema)
	if err != nil {
		return fmt.Errorf("plugin %s: %w", provider.Plugin, err)
	}
	if provider.Settings, err = schema.settings(values, secrets); err != nil {
		return usageError{err}
	}
	if len(secrets) > 0 {
		ring, err := keys.Open(d.config.keysFile)
		if err != nil {
			return err
		}
		if err := core.SealSettings(ring, &provider, secrets); err != nil {
			return err
		}
	}
	err = d.store.CreateProvider(ctx, provider.Account, provider)
	if errors.Is(err, core.ErrNameTaken) {
		return fmt.Errorf("there is a provider %q already; remove it first, or choose another name", provider.Name)
	}
	return err
}

// pairs reads KEY=VALUE arguments.
func pairs(flag string, arguments []string) (map[string]string, error) {
	values := make(map[string]string, len(arguments))
	for _, argument := range arguments {
		key, value, found := strings.Cut(argument, "=")
		if !found || key == "" {
			return nil, usagef("--%s: must be KEY=VALUE", flag)
		}
		if _, twice := values[key]; twice {
			return nil, usagef("--%s: %s is given twice", flag, key)
		}
		values[key] = value
	}
	return values, nil
}

// pluginWait is how long a command waits for plugins to be up.
const pluginWait = 10 * time.Second

// withPlugins runs every plugin of the directory for the length of use.
func (d *desk) withPlugins(ctx context.Context, use func(plugins *host.Host) error) (err error) {
	plugins, err := host.New(host.Config{Dir: d.config.pluginDir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if err := plugins.Start(ctx); err != nil {
		return err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), pluginWait)
		defer cancel()
		err = errors.Join(err, plugins.Stop(stop))
	}()
	wait, cancel := context.WithTimeout(ctx, pluginWait)
	defer cancel()
	if err := plugins.Ready(wait); err != nil {
		return err
	}
	return use(plugins)
}

func providerListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the platform's providers, or an account's",
		Example: "  passmend provider list --account acme",
		Args:    cobra.NoArgs,
	}
	account := cmd.Flags().String("account", "", "the account's id or slug (default: the platform)")
	return deskCommand(cmd, func(ctx context.Context, d *desk, _ []string) error {
		owner, err := d.owner(ctx, *account)
		if err != nil {
			return err
		}
		providers, err := d.store.Providers(ctx, owner)
		if err != nil {
			return err
		}
		rows := make([][]string, 0, len(providers))
		for _, p := range providers {
			rows = append(rows, []string{p.Name, p.Plugin, string(p.Settings), yesNo(p.SealedSecrets != nil)})
		}
		return printTable(cmd.OutOrStdout(), []string{"NAME", "PLUGIN", "SETTINGS", "SECRETS"}, rows)
	})
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func providerRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "remove NAME",
		Short:   "Remove a provider; mail that waits for it goes to the next of the chain",
		Example: "  passmend provider remove relay",
		Args:    cobra.ExactArgs(1),
	}
	account := cmd.Flags().String("account", "", "the account's id or slug (default: the platform)")
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) error {
		owner, err := d.owner(ctx, *account)
		if err != nil {
			return err
		}
		err = d.store.DeleteProvider(ctx, owner, args[0])
		if errors.Is(err, core.ErrNotFound) {
			return fmt.Errorf("there is no provider %q; 'passmend provider list' shows them", args[0])
		}
		return err
	})
}

func providerCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "check NAME",
		Short:   "Ask the plugin whether a provider's settings work; sends nothing",
		Example: "  passmend provider check relay",
		Args:    cobra.ExactArgs(1),
	}
	account := cmd.Flags().String("account", "", "the account's id or slug (default: the platform)")
	timeout := cmd.Flags().Duration("timeout", 15*time.Second, "how long to wait for the answer")
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) error {
		owner, err := d.owner(ctx, *account)
		if err != nil {
			return err
		}
		provider, err := d.store.Provider(ctx, owner, args[0])
		if errors.Is(err, core.ErrNotFound) {
			return fmt.Errorf("there is no provider %q; 'passmend provider list' shows them", args[0])
		}
		if err != nil {
			return err
		}
		if err := d.checkProvider(ctx, provider, *timeout); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", provider.Name)
		return err
	}, "keys_file", "plugin_dir")
}

func (d *desk) checkProvider(ctx context.Context, provider core.Provider, timeout time.Duration) error {
	var settings sdk.Settings
	if provider.SealedSecrets == nil {
		settings.Values = provider.Settings
	} else {
		ring, err := keys.Open(d.config.keysFile)
		if err != nil {
			return err
		}
		if settings, err = core.OpenSettings(ring, provider); err != nil {
			return fmt.Errorf("provider %s: %w", provider.Name, err)
		}
	}
	return d.withPlugins(ctx, func(plugins *host.Host) error {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		err := plugins.Check(ctx, provider.Plugin, settings)
		if err == nil {
			return nil
		}
		failure := sdk.FailureOf(err)
		if failure.Private != "" {
			return fmt.Errorf("provider %s: %w (%s)", provider.Name, failure, failure.Private)
		}
		return fmt.Errorf("provider %s: %w", provider.Name, failure)
	})
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
