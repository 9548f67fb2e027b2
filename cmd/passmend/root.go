package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "passmend",
		Short: "Brings forgotten passwords back, for many accounts on one deployment",
		Long: `Passmend takes "forgot password" requests for many accounts, mails each person a
link through a provider plugin, and takes the new password on a page in the
account's own brand.

Exit status: 0 done, 1 failed, 2 wrong usage or configuration.`,
		Example: `  passmend demo                    the whole journey, once, on a fresh database
  passmend dev                     the same service, staying up
  passmend serve --base-url https://reset.example.com`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see '%s --help'", err, cmd.CommandPath())
	})
	root.AddCommand(
		serveCommand(), devCommand(), demoCommand(), migrateCommand(),
		accountCommand(), userCommand(), tokenCommand(),
		providerCommand(), pluginCommand(), requestCommand(), suppressionCommand(), webhookCommand(), holdCommand(), releaseCommand(), auditCommand(), logsCommand(),
		keysCommand(), benchCommand(), contractCommand(), metricsCommand(), doctorCommand(), topCommand(), versionCommand(),
	)
	root.CompletionOptions.HiddenDefaultCmd = true
	wrapArgs(root)
	return root
}

// wrapArgs makes a wrong number of arguments, or an unknown subcommand, an error
// of usage everywhere.
func wrapArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usagef("%w; see '%s --help'", err, cmd.CommandPath())
			}
			return nil
		}
	}
	if cmd.HasSubCommands() && cmd.Run == nil && cmd.RunE == nil {
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	for _, sub := range cmd.Commands() {
		wrapArgs(sub)
	}
}

// group is a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
	cmd.AddCommand(subs...)
	return cmd
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  passmend version",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "passmend %s (%s, %s)\n", version, commit, runtime.Version())
			return err
		},
	}
}
