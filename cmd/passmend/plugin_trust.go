package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/host/bundle"
)

func pluginTrustCommand() *cobra.Command {
	return group("trust", "Say whose plugins may be installed and run", pluginTrustAddCommand(), pluginTrustListCommand(), pluginTrustRemoveCommand())
}

// pluginDirCommand gives a command that works on the plugin directory alone.
func pluginDirCommand(cmd *cobra.Command, run func(cmd *cobra.Command, dir bundle.Dir, args []string) error) *cobra.Command {
	addSettingFlags(cmd.Flags(), "plugin_dir")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := loadConfig(cmd, nil)
		if err != nil {
			return err
		}
		return run(cmd, bundle.Dir(c.pluginDir), args)
	}
	return cmd
}

func pluginTrustAddCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add PUBLICKEY --for PATTERN",
		Short: "Trust a vendor's key for plugins whose names match",
		Long: `Trusts a vendor's key for plugins whose names match a pattern. Get the key from the
vendor by another way than the bundle: a bundle can be signed by anybody.

The keys are in trust.json in the plugin directory.`,
		Example: "  passmend plugin trust add ed25519:3q2-7wAB... --for 'acme-*' --publisher 'Acme Mail'",
		Args:    cobra.ExactArgs(1),
	}
	patterns := cmd.Flags().StringArray("for", nil, "names of plugins, with * for any part; may be given again")
	publisher := cmd.Flags().String("publisher", "", "what to call the vendor")
	return pluginChangeCommand(cmd, func(_ *cobra.Command, dir bundle.Dir, args []string) (core.Audit, error) {
		key, err := bundle.ParsePublicKey(args[0])
		if err != nil {
			return core.Audit{}, usagef("PUBLICKEY: %w", err)
		}
		if len(*patterns) == 0 {
			return core.Audit{}, usagef("--for: is needed: a plugin's name, or a pattern as 'acme-*'")
		}
		for _, pattern := range *patterns {
			if !bundle.ValidPattern(pattern) {
				return core.Audit{}, usagef("--for: must be a plugin's name, or a pattern as 'acme-*' (got %q)", pattern)
			}
		}
		err = dir.Trust(bundle.Trusted{Key: key, For: *patterns, Publisher: *publisher, Added: time.Now().UTC().Truncate(time.Second)})
		return keyAudit(core.AuditPluginTrusted, key, "for", "publisher"), err
	})
}

func pluginTrustListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the trusted keys",
		Example: "  passmend plugin trust list",
		Args:    cobra.NoArgs,
	}
	return pluginDirCommand(cmd, func(cmd *cobra.Command, dir bundle.Dir, _ []string) error {
		keys, err := dir.Trusted()
		if err != nil {
			return err
		}
		rows := make([][]string, len(keys))
		for i, trusted := range keys {
			rows[i] = []string{trusted.Key.ID(), strings.Join(trusted.For, ","), or(trusted.Publisher, "-"), trusted.Added.Format(time.RFC3339), trusted.Key.String()}
		}
		return printTable(cmd.OutOrStdout(), []string{"ID", "FOR", "PUBLISHER", "ADDED", "KEY"}, rows)
	})
}

func pluginTrustRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "remove KEY",
		Short:   "Trust a key no more; what it signed does not start again",
		Example: "  passmend plugin trust remove 1f0c6c2b9d3e4a57",
		Args:    cobra.ExactArgs(1),
	}
	return pluginChangeCommand(cmd, func(cmd *cobra.Command, dir bundle.Dir, args []string) (core.Audit, error) {
		removed, err := dir.Distrust(args[0])
		if err != nil {
			return core.Audit{}, fmt.Errorf("%w; 'passmend plugin trust list' shows them", err)
		}
		audit := keyAudit(core.AuditPluginDistrusted, removed.Key)
		names, err := dir.Names()
		if err != nil {
			return audit, err
		}
		for _, name := range names {
			if pin, err := dir.Pin(name); err == nil && pin.Signer == removed.Key {
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s was signed by it and does not start again\n", name, pin.Manifest.Version)
			}
		}
		return audit, nil
	})
}
