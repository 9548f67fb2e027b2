package main

import (
	"github.com/spf13/cobra"

	"github.com/passmend/passmend/plugins/host"
)

func pluginCommand() *cobra.Command {
	return group("plugin", "Look at the delivery plugins", pluginListCommand())
}

func pluginListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "Start every plugin once and show what it says of itself",
		Example: "  passmend plugin list --plugin-dir /usr/lib/passmend/plugins",
		Args:    cobra.NoArgs,
	}
	addSettingFlags(cmd.Flags(), "plugin_dir")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd, nil)
		if err != nil {
			return err
		}
		var rows [][]string
		d := &desk{config: c}
		err = d.withPlugins(cmd.Context(), func(plugins *host.Host) error {
			for _, status := range plugins.List() {
				contents := ""
				for i, content := range status.Contents {
					if i > 0 {
						contents += ","
					}
					contents += string(content)
				}
				rows = append(rows, []string{status.Name, or(status.Version, "-"), string(status.State), or(contents, "-"), or(status.Checksum, "-"), or(status.LastError, "-")})
			}
			return nil
		})
		if err != nil {
			return err
		}
		return printTable(cmd.OutOrStdout(), []string{"NAME", "VERSION", "STATE", "TAKES", "SHA-256", "LAST ERROR"}, rows)
	}
	return cmd
}
