package main

import (
	"context"
	"encoding/json"
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
		Short: "Add a provider whose settings the plugin has looked at",
		Long: `Adds a provider. The settings must satisfy the plugin's schema, name only ports that
its cage opens, and be right as far as the plugin itself can tell; it sends nothing.
A service that does not answer now is no reason to refuse them: that is a warning.`,
		Example: `  passmend provider add relay --plugin smtp --set host=smtp.example.com --set username=passmend --secret password=@smtp-password
  passmend provider add acme-smtp --plugin smtp --account acme --set host=mail.acme.example`,
		Args: cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	plugin := flags.String("plugin", "", "the plugin's name; 'passmend plugin list' shows them")
	set := flags.StringArray("set", nil, "a setting, KEY=VALUE; may be given again")
	secret := flags.StringArray("secret", nil, "a secret setting, KEY=@FILE or KEY=@-; may be given again")
	account := flags.String("account", "", "the account's id or slug (default: the platform)")
	ifAbsent := flags.Bool("if-absent", false, "leave a provider of that name as it is, and succeed")
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
		if *ifAbsent {
			if _, err := d.store.Provider(ctx, owner, provider.Name); !errors.Is(err, core.ErrNotFound) {
				return err
			}
		}
		warning, err := d.addProvider(ctx, provider, values, secrets)
		if warning != nil {
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "warning: added, but %v\n", warning)
		}
		return err
	}, "keys_file", "plugin_dir", "plugin_ports")
}

// addProvider stores the settings, the secrets sealed, when the plugin has found no
// fault in them. The warning is what kept it from looking closer.
func (d *desk) addProvider(ctx context.Context, provider core.Provider, values map[string]string, secrets map[string]tenants.Secret) (warning, err error) {
	err = d.withPlugin(ctx, provider.Plugin, func(plugins *host.Host) error {
		if provider.Settings, err = fitSettings(plugins, provider.Plugin, values, secrets); err != nil {
			return err
		}
		if err := d.seal(&provider, secrets); err != nil {
			return err
		}
		warning, err = d.checkProvider(ctx, plugins, provider, checkTime)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = d.store.CreateProvider(ctx, provider.Account, provider)
	if errors.Is(err, core.ErrNameTaken) {
		err = fmt.Errorf("there is a provider %q already; remove it first, or choose another name", provider.Name)
	}
	if err != nil {
		return nil, err
	}
	return warning, nil
}

// fitSettings gives the settings in the form of the schema that the plugin gives.
func fitSettings(plugins *host.Host, plugin string, values map[string]string, secrets map[string]tenants.Secret) (json.RawMessage, error) {
	description, err := plugins.Describe(plugin)
	if err != nil {
		return nil, err
	}
	schema, err := readSchema(description.SettingsSchema)
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", plugin, err)
	}
	settings, err := schema.settings(values, secrets)
	if err != nil {
		return nil, usageError{err}
	}
	return settings, nil
}

func (d *desk) seal(provider *core.Provider, secrets map[string]tenants.Secret) error {
	if len(secrets) == 0 {
		return nil
	}
	ring, err := keys.Open(d.config.keysFile)
	if err != nil {
		return err
	}
	return core.SealSettings(ring, provider, secrets)
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

// checkTime is how long a plugin may take to look at settings.
const checkTime = 15 * time.Second

// pluginWait is how long a command waits for plugins to be up.
const pluginWait = 10 * time.Second

// withPlugin runs one plugin of the directory for the length of use.
func (d *desk) withPlugin(ctx context.Context, name string, use func(plugins *host.Host) error) error {
	verifier, err := newVerifier(d.config, false, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	config := d.config.hosting(verifier)
	config.Only = name
	return withHost(ctx, config, use)
}

// withHost runs plugins for the length of use.
func withHost(ctx context.Context, config host.Config, use func(plugins *host.Host) error) (err error) {
	plugins, err := host.New(config)
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
	timeout := cmd.Flags().Duration("timeout", checkTime, "how long to wait for the answer")
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
		err = d.withPlugin(ctx, provider.Plugin, func(plugins *host.Host) error {
			unsure, err := d.checkProvider(ctx, plugins, provider, *timeout)
			return errors.Join(err, unsure)
		})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", provider.Name)
		return err
	}, "keys_file", "plugin_dir", "plugin_ports")
}

// checkProvider asks the plugin. err says what is wrong with the settings, unsure
// why that cannot be told now.
func (d *desk) checkProvider(ctx context.Context, plugins *host.Host, provider core.Provider, timeout time.Duration) (unsure, err error) {
	settings := sdk.Settings{Values: provider.Settings}
	if provider.SealedSecrets != nil {
		ring, err := keys.Open(d.config.keysFile)
		if err != nil {
			return nil, err
		}
		if settings, err = core.OpenSettings(ring, provider); err != nil {
			return nil, fmt.Errorf("provider %s: %w", provider.Name, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	checked := plugins.Check(ctx, provider.Plugin, settings)
	if checked == nil {
		return nil, nil
	}
	failure := sdk.FailureOf(checked)
	told := fmt.Errorf("provider %s: %w", provider.Name, failure)
	if failure.Private != "" {
		told = fmt.Errorf("%w (%s)", told, failure.Private)
	}
	if failure.Kind == sdk.Misconfigured || failure.Kind == sdk.AuthenticationFailed {
		return nil, told
	}
	return told, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
