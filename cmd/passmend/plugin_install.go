package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/host/bundle"
	"github.com/passmend/passmend/plugins/sdk/serve"
	"github.com/passmend/passmend/tenants"
)

func pluginInstallCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "install FILE",
		Short: "Verify a bundle, show what it asks for, and install it",
		Long: `Verifies a bundle: it is whole, signed, and its key is trusted for its name. Then
shows what the plugin asks for, asks, and puts its executable and a pin into the
plugin directory. Only the bytes that the pin names run, while the key is trusted.

An upgrade keeps the ports that --port added before.`,
		Example: `  passmend plugin install acme-mail-1.2.0.tar.gz
  passmend plugin install acme-mail-1.2.0.tar.gz --port 8443 --yes`,
		Args: cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	ports := flags.UintSlice("port", nil, "let it connect to this TCP port too; may be given again")
	allowUnsigned := flags.String("allow-unsigned", "", "the name of the plugin that may come without a signature")
	downgrade := flags.Bool("downgrade", false, "let an older version take the place of a newer one")
	yes := flags.Bool("yes", false, "do not ask")
	return pluginChangeCommand(cmd, func(cmd *cobra.Command, dir bundle.Dir, args []string) (audit core.Audit, err error) {
		options := bundle.Options{
			Platform: localPlatform(), Oldest: serve.PreviousProtocolVersion, Newest: serve.ProtocolVersion,
			AllowUnsigned: *allowUnsigned, AllowDowngrade: *downgrade, Now: time.Now(),
		}
		for _, port := range *ports {
			if port < 1 || port > 65535 {
				return audit, usagef("--port: must be 1 to 65535 (got %d)", port)
			}
			options.Ports = append(options.Ports, uint16(port))
		}
		staged, err := dir.Stage(args[0], options)
		if err != nil {
			return audit, withRemedy(err)
		}
		defer func() { err = errors.Join(err, staged.Discard()) }()
		if err := showStaged(cmd.OutOrStdout(), staged); err != nil {
			return audit, err
		}
		if !*yes {
			if err := confirm(cmd.InOrStdin(), cmd.ErrOrStderr(), "Install it?"); err != nil {
				return audit, err
			}
		}
		if err := staged.Install(); err != nil {
			return audit, err
		}
		audit = pluginAudit(core.AuditPluginInstalled, staged.Bundle.Manifest.Name, "version", "ports")
		after := "installed; a running service finds it when a provider is added"
		if staged.Installed != nil {
			after = "installed; a running service changes over by itself"
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), after)
		return audit, err
	})
}

// withRemedy says what an operator can do about a refusal.
func withRemedy(err error) error {
	switch {
	case errors.Is(err, bundle.ErrUntrusted):
		return fmt.Errorf("%w; hold the key against the vendor's own word, then 'passmend plugin trust add KEY --for NAME'", err)
	case errors.Is(err, bundle.ErrBadBundle):
		return err
	case errors.Is(err, bundle.ErrUnsigned):
		return fmt.Errorf("%w; --allow-unsigned NAME installs it all the same", err)
	case errors.Is(err, bundle.ErrDowngrade):
		return fmt.Errorf("%w; --downgrade installs it all the same", err)
	}
	return err
}

func showStaged(w io.Writer, staged *bundle.Staged) error {
	m := staged.Bundle.Manifest
	table := newFacts(w)
	table.manifest(m)
	table.signer(staged.Bundle.Signer, staged.Trusted, nil)
	if staged.Installed != nil {
		table.add("replaces", staged.Installed.Manifest.Version)
		if staged.Installed.Signer != staged.Bundle.Signer {
			table.add("WARNING", "the installed version has another signer: "+or(staged.Installed.Signer.String(), "none"))
		}
	}
	table.permissions(m, staged.Approval.Ports)
	return table.Flush()
}

// facts is a list of names and values for people.
type facts struct{ *tabwriter.Writer }

func newFacts(w io.Writer) facts { return facts{tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)} }

func (f facts) add(name, value string) {
	if value != "" {
		fmt.Fprintf(f, "%s\t%s\n", name, value)
	}
}

func (f facts) manifest(m bundle.Manifest) {
	f.add("plugin", m.Name+" "+m.Version)
	f.add("publisher", m.Publisher)
	f.add("description", m.Description)
	f.add("homepage", m.Homepage)
	f.add("license", m.License)
}

// signer says who signed and whether that counts for anything.
func (f facts) signer(key bundle.PublicKey, trusted bundle.Trusted, refusal error) {
	switch {
	case key.IsZero():
		f.add("WARNING", "not signed: nothing shows who made it")
	case errors.Is(refusal, bundle.ErrUntrusted):
		f.add("signed by", key.String()+", NOT TRUSTED for this name")
	default:
		f.add("signed by", strings.TrimSpace(trusted.Publisher+" "+key.String()))
	}
}

// permissions shows what the plugin gets; ports that the operator added are marked.
func (f facts) permissions(m bundle.Manifest, approved []uint16) {
	f.add("asks for hosts", or(strings.Join(m.Permissions.Hosts, ", "), "none named"))
	var ports []string
	for _, port := range approved {
		text := fmt.Sprint(port)
		if !slices.Contains(m.Permissions.Ports, port) {
			text += " (added)"
		}
		ports = append(ports, text)
	}
	f.add("TCP ports", or(strings.Join(ports, ", "), "none"))
	memory := "256 MiB (default)"
	if m.Permissions.Memory > 0 {
		memory = fmt.Sprintf("%.1f MiB", float64(m.Permissions.Memory)/(1<<20))
	}
	f.add("memory", memory)
	f.add("reads and executes", strings.Join(m.Runtime, ", "))
}

// confirm asks on a terminal; where there is none, nobody can agree.
func confirm(in io.Reader, out io.Writer, question string) error {
	file, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return usagef("--yes: is needed where there is no terminal to ask on")
	}
	fmt.Fprint(out, question+" [y/N] ")
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}

func pluginInspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect FILE|NAME",
		Short: "Show a bundle or an installed plugin, and whether it verifies",
		Long: `Shows the manifest, the signer and the permissions of a bundle, or of an installed
plugin by its name.

Exit status: 0 when it verifies and its signer is trusted for its name, else 1.`,
		Example: `  passmend plugin inspect acme-mail-1.2.0.tar.gz
  passmend plugin inspect acme-mail`,
		Args: cobra.ExactArgs(1),
	}
	return pluginDirCommand(cmd, func(cmd *cobra.Command, dir bundle.Dir, args []string) error {
		if bundle.ValidName(args[0]) {
			return inspectInstalled(cmd.OutOrStdout(), dir, args[0])
		}
		return inspectFile(cmd.OutOrStdout(), dir, args[0])
	})
}

func inspectFile(w io.Writer, dir bundle.Dir, path string) error {
	opened, err := bundle.Open(path, "", nil)
	if err != nil {
		return err
	}
	trusted, refusal := dir.Judge(opened)
	table := newFacts(w)
	table.manifest(opened.Manifest)
	table.signer(opened.Signer, trusted, refusal)
	table.permissions(opened.Manifest, opened.Manifest.Permissions.Ports)
	for _, platform := range sortedKeys(opened.Manifest.Platforms) {
		table.add(platform, opened.Manifest.Platforms[platform].SHA256)
	}
	table.add("files", strings.Join(sortedKeys(opened.Files), ", "))
	if text := opened.Files[bundle.ReportFile]; text != nil {
		report, err := bundle.ParseReport(text)
		if err != nil {
			return err
		}
		table.add("report", fmt.Sprintf("%d cases held, for %s", report.Passed, report.Provider.SHA256))
	}
	return table.end(refusal)
}

// end writes the facts with the verdict as the last of them.
func (f facts) end(refusal error) error {
	verdict := "verified"
	if refusal != nil {
		verdict = "REFUSED"
	}
	f.add("verdict", verdict)
	return errors.Join(f.Flush(), refusal)
}

func inspectInstalled(w io.Writer, dir bundle.Dir, name string) error {
	verifier, err := bundle.NewVerifier(bundle.VerifierConfig{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	pin, err := dir.Pin(name)
	if err != nil {
		return err
	}
	verdict, refusal := verifier.Check(name)
	if refusal == nil && verdict.Basis == bundle.BasisUnsigned {
		refusal = fmt.Errorf("%s: %w", name, bundle.ErrUnsigned)
	}
	table := newFacts(w)
	table.manifest(pin.Manifest)
	table.signer(pin.Signer, verdict.Trusted, refusal)
	table.permissions(pin.Manifest, pin.Approved.Ports)
	table.add("installed", pin.InstalledAt.Format(time.RFC3339))
	table.add(pin.Platform, pin.SHA256)
	return table.end(refusal)
}

func pluginRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove an installed plugin",
		Long: `Removes an installed plugin and its pin; its key stays trusted. Refused while
providers use it: their mail would wait.`,
		Example: "  passmend plugin remove acme-mail",
		Args:    cobra.ExactArgs(1),
	}
	force := cmd.Flags().Bool("force", false, "remove it though providers use it")
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) error {
		if !*force {
			users, err := d.providersOf(ctx, args[0])
			if err != nil {
				return err
			}
			if len(users) > 0 {
				return fmt.Errorf("plugin %s is used by %s; remove them first, or give --force", args[0], strings.Join(users, ", "))
			}
		}
		if err := bundle.Dir(d.config.pluginDir).Remove(args[0]); err != nil {
			return err
		}
		return d.record(ctx, pluginAudit(core.AuditPluginRemoved, args[0]))
	}, "plugin_dir")
}

// providersOf names the providers that use a plugin, the platform's and every
// account's.
func (d *desk) providersOf(ctx context.Context, plugin string) ([]string, error) {
	var users []string
	collect := func(owner tenants.AccountID, prefix string) error {
		providers, err := d.store.Providers(ctx, owner)
		for _, provider := range providers {
			if provider.Plugin == plugin {
				users = append(users, prefix+provider.Name)
			}
		}
		return err
	}
	if err := collect("", "provider "); err != nil {
		return nil, err
	}
	err := d.allAccounts(ctx, func(account tenants.Account) error {
		return collect(account.ID, "provider "+account.Slug+"/")
	})
	return users, err
}
