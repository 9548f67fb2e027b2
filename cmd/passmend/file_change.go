package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/host/bundle"
)

// pluginChangeCommand gives a command that changes the plugin directory and records
// it.
func pluginChangeCommand(cmd *cobra.Command, run func(cmd *cobra.Command, dir bundle.Dir, args []string) (core.Audit, error)) *cobra.Command {
	return fileChangeCommand(cmd, "plugin_dir", func(c config, args []string) (core.Audit, error) {
		return run(cmd, bundle.Dir(c.pluginDir), args)
	})
}

// fileChangeCommand gives a command that changes files, which setting names, and
// records it in the platform's audit log. Files and rows share no commit: the database
// is opened before anything is changed, and written to afterwards. Where there is no
// embedded database yet, as when an image is built, nothing is recorded.
func fileChangeCommand(cmd *cobra.Command, setting string, run func(c config, args []string) (core.Audit, error)) *cobra.Command {
	addSettingFlags(cmd.Flags(), setting, "database_url", "data_dir", "allow_unsafe_durability")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		c, err := loadConfig(cmd, nil)
		if err != nil {
			return err
		}
		record := func(context.Context, core.Audit) error { return nil }
		if c.hasDatabase() {
			d, err := openDesk(cmd.Context(), c)
			if err != nil {
				return fmt.Errorf("nothing was changed, because it could not be recorded: %w", err)
			}
			defer func() { err = errors.Join(err, d.store.Close()) }()
			record = d.record
		}
		audit, err := run(c, args)
		if err != nil {
			return err
		}
		return record(atDesk(cmd.Context()), audit)
	}
	return cmd
}

// hasDatabase says whether there is one that could be opened: an embedded one is a
// file that some command has made.
func (c config) hasDatabase() bool {
	if !c.sqlite() {
		return true
	}
	_, err := os.Stat(strings.TrimPrefix(c.databaseURL, "sqlite://"))
	return !errors.Is(err, fs.ErrNotExist)
}

func (d *desk) record(ctx context.Context, audit core.Audit) error {
	if err := d.store.RecordAudit(ctx, "", audit); err != nil {
		return fmt.Errorf("it is done, but could not be recorded in the audit log: %w", err)
	}
	return nil
}

func pluginAudit(name core.AuditName, plugin string, fields ...string) core.Audit {
	return core.Audit{Name: name, Object: core.AuditObject{Type: "plugins", ID: plugin}, Fields: fields}
}

func keyAudit(name core.AuditName, key bundle.PublicKey, fields ...string) core.Audit {
	return core.Audit{Name: name, Object: core.AuditObject{Type: "plugin-keys", ID: key.ID()}, Fields: fields}
}
