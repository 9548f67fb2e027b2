package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/core/keys"
)

func keysCommand() *cobra.Command {
	return group("keys", "Make the keys file", keysInitCommand())
}

func keysInitCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a new keys file; an existing one is never touched",
		Long: `Makes the keys that prove links, seal what the database keeps, and pepper the
passwords. Keep a copy apart from the database's backups: without it no link, no
sealed value and no password can be checked again.`,
		Example: "  passmend keys init --keys-file /etc/passmend/keys.json",
		Args:    cobra.NoArgs,
	}
	addSettingFlags(cmd.Flags(), "keys_file", "data_dir")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd, nil)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(c.keysFile), 0o700); err != nil {
			return fmt.Errorf("directory of the keys file: %w", err)
		}
		if err := keys.Init(c.keysFile); err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), c.keysFile)
		return err
	}
	return cmd
}
