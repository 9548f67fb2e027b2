package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/plugins/host"
	"github.com/passmend/passmend/plugins/host/bundle"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/serve"
)

func localPlatform() string { return runtime.GOOS + "/" + runtime.GOARCH }

func pluginKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "key FILE",
		Short: "Make a vendor's signing key and print its public key",
		Long: `Makes an Ed25519 key (PKCS #8, PEM, mode 0600) and prints the public key that
operators give to 'passmend plugin trust add'. An existing file is never touched.`,
		Example: "  passmend plugin key vendor.key",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := bundle.NewKeyFile(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), key.Public())
			return err
		},
	}
}

func pluginPackCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pack [DIR] [BINARY...]",
		Short: "Pack a plugin into one file that operators can install",
		Long: `Packs a plugin into one tar.gz, the same bytes for the same input. DIR (default:
here) holds passmend-plugin.json and, as you have them, LICENSE, icon.png,
instructions.md and the report.json of 'passmend plugin test'. Executables are the
BINARYs, or bin/GOOS-GOARCH/passmend-NAME, bin/passmend-NAME or passmend-NAME in DIR.

The one for this machine is started once, to ask it for its name, version, settings
and permissions.`,
		Example: `  passmend plugin pack --key vendor.key
  passmend plugin pack ./acme-mail ./dist/linux-amd64/passmend-acme-mail -o acme-mail.tar.gz --key vendor.key`,
		Args: cobra.ArbitraryArgs,
	}
	flags := cmd.Flags()
	output := flags.StringP("output", "o", "", "the file to write (default: passmend-NAME-VERSION.tar.gz)")
	keyFile := flags.String("key", "", "sign with the key in this file, made by 'passmend plugin key' (default: unsigned)")
	withoutReport := flags.Bool("without-report", false, "pack without the report of 'passmend plugin test'")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir := "."
		if len(args) > 0 {
			if info, err := os.Stat(args[0]); err == nil && info.IsDir() {
				dir, args = args[0], args[1:]
			}
		}
		source, err := bundle.ReadSource(dir, args, localPlatform())
		if err != nil {
			return err
		}
		if err := settleReport(&source, dir, *withoutReport); err != nil {
			return err
		}
		if *keyFile != "" {
			if source.Key, err = bundle.ReadKeyFile(*keyFile); err != nil {
				return err
			}
		}
		if err := describeSource(cmd.Context(), &source); err != nil {
			return err
		}
		path := or(*output, fmt.Sprintf("passmend-%s-%s.tar.gz", source.Manifest.Name, source.Manifest.Version))
		manifest, err := writeBundle(path, source)
		if err != nil {
			return err
		}
		if manifest.KeyID == "" {
			fmt.Fprintln(cmd.ErrOrStderr(), "the bundle is not signed: operators have to allow it by name (--key signs)")
		} else {
			fmt.Fprintf(cmd.ErrOrStderr(), "signed by %s\n", source.Key.Public())
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), path)
		return err
	}
	return cmd
}

// settleReport makes leaving the report out something that is said.
func settleReport(source *bundle.Source, dir string, without bool) error {
	if without {
		delete(source.Files, bundle.ReportFile)
		return nil
	}
	if source.Files[bundle.ReportFile] == nil {
		return fmt.Errorf("there is no %s: run 'passmend plugin test', or give --without-report", filepath.Join(dir, bundle.ReportFile))
	}
	return nil
}

// describeSource starts the executable for this machine once and completes the
// source with what it says.
func describeSource(ctx context.Context, source *bundle.Source) (err error) {
	path, found := source.Binaries[localPlatform()]
	if !found {
		return fmt.Errorf("none of the executables is for %s: pack on a machine that one of them is for", localPlatform())
	}
	name, found := strings.CutPrefix(filepath.Base(path), bundle.Executable(""))
	if !found {
		return usagef("BINARY: must be named passmend-NAME (got %s)", path)
	}
	description, err := describeExecutable(ctx, name, path, source.Manifest.Runtime)
	if err != nil {
		return err
	}
	return source.Describe(description, serve.ProtocolVersion)
}

func describeExecutable(ctx context.Context, name, path string, runtimePaths []string) (description sdk.Description, err error) {
	dir, err := os.MkdirTemp("", "passmend-pack-")
	if err != nil {
		return description, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if path, err = filepath.Abs(path); err != nil {
		return description, err
	}
	if err := os.Symlink(path, filepath.Join(dir, bundle.Executable(name))); err != nil {
		return description, err
	}
	// The vendor's own executable on the vendor's machine: there is nobody to trust.
	leave := func(string, string, [32]byte) (host.Grant, error) {
		return host.Grant{RuntimePaths: runtimePaths}, nil
	}
	config := host.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler), Verify: leave, Helper: host.SelfHelper}
	err = withHost(ctx, config, func(plugins *host.Host) error {
		for _, status := range plugins.List() {
			if status.LastError != "" {
				return fmt.Errorf("%s: %s", path, status.LastError)
			}
		}
		description, err = plugins.Describe(name)
		return err
	})
	return description, err
}

// writeBundle leaves a whole file at path, or what was there before.
func writeBundle(path string, source bundle.Source) (manifest bundle.Manifest, err error) {
	file, err := os.CreateTemp(filepath.Dir(path), ".passmend-pack-")
	if err != nil {
		return manifest, err
	}
	defer func() {
		if removed := os.Remove(file.Name()); !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}()
	manifest, err = bundle.Pack(file, source)
	if err == nil {
		err = file.Chmod(0o644)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return manifest, err
	}
	return manifest, os.Rename(file.Name(), path)
}
