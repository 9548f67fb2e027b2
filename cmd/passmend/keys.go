package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/keys"
)

func keysCommand() *cobra.Command {
	return group("keys", "Make the keys file, and change its keys", keysInitCommand(), keysListCommand(), keysRotateCommand(), keysDropCommand())
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

func keysListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the slots of the keys file: how many keys, and how old the one in use is",
		Example: "  passmend keys list --keys-file /etc/passmend/keys.json",
		Args:    cobra.NoArgs,
	}
	addSettingFlags(cmd.Flags(), "keys_file", "data_dir")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd, nil)
		if err != nil {
			return err
		}
		slots, err := keys.Slots(c.keysFile)
		if err != nil {
			return err
		}
		rows := make([][]string, len(slots))
		for i, slot := range slots {
			created := "unknown"
			if !slot.Created.IsZero() {
				created = slot.Created.Format(time.RFC3339)
			}
			rows[i] = []string{slot.Name, strconv.Itoa(len(slot.KeyIDs)), strconv.FormatUint(uint64(slot.PrimaryID), 10), created}
		}
		return printTable(cmd.OutOrStdout(), []string{"SLOT", "KEYS", "IN USE", "SINCE"}, rows)
	}
	return cmd
}

func keysRotateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate SLOT",
		Short: "Add a new key to a slot, or to each with 'all', and use it from the next start on",
		Long: `Adds a new key to a slot of the keys file, or to each with 'all'. The keys before it
stay, so that links, sealed values and passwords go on working. Processes use it
from their next start on. With several replicas: give all of them the new file and restart
them one by one; one that has not started again does not know links of one that has.`,
		Example: "  passmend keys rotate all --keys-file /etc/passmend/keys.json\n  passmend keys rotate token",
		Args:    cobra.ExactArgs(1),
	}
	return keysChangeCommand(cmd, func(path, slot string) error { return keys.Rotate(path, slot) }, core.AuditKeyRotated)
}

func keysDropCommand() *cobra.Command {
	slots := strings.Join(keys.DroppableSlots(), " or ")
	cmd := &cobra.Command{
		Use:   "drop SLOT",
		Short: "Remove the older keys of a slot, " + slots,
		Long: `Removes every key but the one in use from a slot: ` + slots + `. With 'token', every
link that an older key made is dead at the next start, and people ask again. Rotate first.`,
		Example: "  passmend keys rotate token && passmend keys drop token",
		Args:    cobra.ExactArgs(1),
	}
	return keysChangeCommand(cmd, func(path, slot string) error {
		dropped, err := keys.Drop(path, slot)
		if err == nil {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d older keys dropped\n", dropped)
		}
		return err
	}, core.AuditKeyDropped)
}

// keysChangeCommand gives a command that changes a slot of the keys file and records it.
func keysChangeCommand(cmd *cobra.Command, change func(path, slot string) error, name core.AuditName) *cobra.Command {
	return fileChangeCommand(cmd, "keys_file", func(c config, args []string) (core.Audit, error) {
		err := change(c.keysFile, args[0])
		if errors.Is(err, keys.ErrUnknownSlot) {
			err = usagef("SLOT: %w", err)
		}
		return core.Audit{Name: name, Object: core.AuditObject{Type: "key-slots", ID: args[0]}}, err
	})
}
