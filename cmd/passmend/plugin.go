package main

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/plugins/host"
	"github.com/passmend/passmend/plugins/host/bundle"
)

func pluginCommand() *cobra.Command {
	return group("plugin", "Pack, install and look at delivery plugins",
		pluginListCommand(), pluginInspectCommand(), pluginInstallCommand(), pluginRemoveCommand(), pluginTrustCommand(),
		pluginPackCommand(), pluginKeyCommand(),
		pluginNewCommand(), pluginTestCommand(), pluginRunCommand())
}

// firstParty names the plugins that ship beside this command.
func firstParty() []string { return []string{"smtp", "postmark", "webhook"} }

// newVerifier decides which plugins may run: those that are pinned, ours as they
// lie beside this command, and those that a setting names.
func newVerifier(c config, development bool, logger *slog.Logger) (*bundle.Verifier, error) {
	shipped, err := executableDir()
	if err != nil {
		return nil, err
	}
	return bundle.NewVerifier(bundle.VerifierConfig{
		Dir:        bundle.Dir(c.pluginDir),
		FirstParty: firstParty(), FirstPartyDir: bundle.Dir(shipped),
		AllowUnpinned: c.allowUnpinned, Development: development, Logger: logger,
	})
}

// hosting is what every host of plugins of this configuration has in common.
func (c config) hosting(verifier *bundle.Verifier) host.Config {
	return host.Config{Dir: c.pluginDir, Verify: c.grants(verifier), Helper: host.SelfHelper, Sandbox: c.sandbox}
}

// grants is the host's Verify: what was approved at the install, and the ports that
// a setting adds.
func (c config) grants(verifier *bundle.Verifier) func(name, path string, sum [sha256.Size]byte) (host.Grant, error) {
	return func(name, _ string, sum [sha256.Size]byte) (host.Grant, error) {
		verdict, err := verifier.Verify(name, sum)
		if err != nil {
			return host.Grant{}, err
		}
		grant := host.Grant{AddedPorts: c.pluginPorts[name]}
		if verdict.Pin != nil {
			approved := verdict.Pin.Approved
			// Not nil: what was approved counts, not what the plugin says now.
			grant.Ports = append([]uint16{}, approved.Ports...)
			grant.RuntimePaths, grant.MemoryBytes = approved.Runtime, approved.Memory
		}
		return grant, nil
	}
}

func pluginListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Start every plugin once and show what it says of itself",
		Long: `Starts every plugin once and shows what it is, why it may run and what cages it.

TRUST is signed (installed from a bundle of a trusted vendor), first-party (ours, as
it lies beside this command), unsigned (installed without a signature), unpinned
(allowed by PASSMEND_PLUGIN_ALLOW_UNPINNED) or refused.`,
		Example: "  passmend plugin list --plugin-dir /usr/lib/passmend/plugins",
		Args:    cobra.NoArgs,
	}
	addSettingFlags(cmd.Flags(), "plugin_dir", "plugin_allow_unpinned", "plugin_ports", "plugin_sandbox")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd, nil)
		if err != nil {
			return err
		}
		verifier, err := newVerifier(c, false, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		var rows [][]string
		err = withHost(cmd.Context(), c.hosting(verifier), func(plugins *host.Host) error {
			found := make(map[string]bool)
			for _, status := range plugins.List() {
				found[status.Name] = true
				rows = append(rows, pluginRow(status, verifier.Verdict(status.Name)))
			}
			missing, err := missingRows(bundle.Dir(c.pluginDir), found)
			rows = append(rows, missing...)
			return err
		})
		if err != nil {
			return err
		}
		return printTable(cmd.OutOrStdout(), []string{"NAME", "VERSION", "STATE", "TAKES", "TRUST", "PORTS", "CAGE", "SHA-256", "LAST ERROR"}, rows)
	}
	return cmd
}

// missingRows are the plugins that are pinned and not there.
func missingRows(dir bundle.Dir, found map[string]bool) ([][]string, error) {
	names, err := dir.Names()
	var rows [][]string
	for _, name := range names {
		if !found[name] {
			rows = append(rows, []string{name, "-", "missing", "-", "-", "-", "-", "-", "its executable is gone: install it again, or remove it"})
		}
	}
	return rows, err
}

func pluginRow(status host.Status, verdict bundle.Verdict) []string {
	contents := make([]string, len(status.Contents))
	for i, content := range status.Contents {
		contents[i] = string(content)
	}
	ports := formatPorts(status.Ports)
	if status.AnyPort {
		ports = "any"
	}
	return []string{
		status.Name, or(status.Version, "-"), string(status.State), or(strings.Join(contents, ","), "-"),
		or(string(verdict.Basis), "refused"), or(ports, "-"), formatCage(status.Cage),
		or(status.Checksum, "-"), or(status.LastError, "-"),
	}
}

// formatCage says which layers are missing.
func formatCage(layers []host.Layer) string {
	var missing []string
	for _, layer := range layers {
		if !layer.Active {
			missing = append(missing, layer.Name)
		}
	}
	switch {
	case len(layers) == 0:
		return "-"
	case len(missing) == 0:
		return "whole"
	case len(missing) == len(layers):
		return "none"
	}
	return "without " + strings.Join(missing, ",")
}

func formatPorts(ports []uint16) string {
	texts := make([]string, len(ports))
	for i, port := range ports {
		texts[i] = fmt.Sprint(port)
	}
	return strings.Join(texts, ",")
}
