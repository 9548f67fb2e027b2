package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/core/sqlstore"
)

func migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "migrate",
		Short:   "Bring the database's schema up to date",
		Long:    "Brings the schema up to date. An embedded database is also migrated by every other command.",
		Example: "  passmend migrate --database-url sqlite:///var/lib/passmend/passmend.db",
		Args:    cobra.NoArgs,
	}
	addSettingFlags(cmd.Flags(), "database_url", "data_dir")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		c, err := loadConfig(cmd, nil)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(c.dataDir, 0o700); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
		store, err := sqlstore.Open(cmd.Context(), sqlstore.Config{URL: c.databaseURL, Logger: slog.New(slog.DiscardHandler), NewID: newID})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		applied, err := store.Migrate(cmd.Context())
		if err != nil {
			return err
		}
		for _, name := range applied {
			fmt.Fprintln(cmd.OutOrStdout(), "applied", name)
		}
		if len(applied) == 0 {
			fmt.Fprintln(cmd.OutOrStdout(), "already up to date")
		}
		return nil
	}
	return cmd
}
