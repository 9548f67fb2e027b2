package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/cmd/passmend/world"
	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/host/bundle"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/sdktest"
	"github.com/passmend/passmend/tenants"
)

func pluginRunCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run PATH",
		Short: "Try a plugin in a development service",
		Long: `Starts 'passmend dev' with this executable as its provider. Build it again and the
new one takes over within five seconds; calls in flight end with the old one. What
the plugin prints is in the log, without the values of the calls.

A plugin whose settings have host and port gets the development mailbox's unless
--set gives others. With --settings a stand-in answers for its service, as in
'passmend plugin test', and the mailbox shows what it took.`,
		Example: `  passmend plugin run bin/passmend-acme-mail --settings conformance.json
  passmend plugin run bin/passmend-acme-mail --set baseUrl=http://127.0.0.1:9000 --secret token=@token`,
		Args: cobra.ExactArgs(1),
	}
	addSettingFlags(cmd.Flags())
	settingsFile := cmd.Flags().String("settings", "", "JSON file of settings and of how the service answers, as of 'passmend plugin test'")
	set := cmd.Flags().StringArray("set", nil, "a setting of the plugin, KEY=VALUE; may be given again")
	secret := cmd.Flags().StringArray("secret", nil, "a secret setting, KEY=@FILE or KEY=@-; may be given again")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		trial := trial{}
		if trial.name, trial.path, err = executableOf(args[0]); err != nil {
			return err
		}
		if trial.values, err = pairs("set", *set); err != nil {
			return err
		}
		if trial.secrets, err = secretArguments(*secret, cmd.InOrStdin()); err != nil {
			return err
		}
		if *settingsFile != "" {
			if len(*set)+len(*secret) > 0 {
				return usagef("--settings: has the settings; give it without --set and --secret")
			}
			spec, err := world.Read(*settingsFile)
			if err != nil {
				return usagef("--settings: %w", err)
			}
			service, err := world.Start(spec)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, service.Close()) }()
			target := service.Target(trial.name, trial.path)
			trial.service = &target
		}
		defaults := devDefaults()
		defaults["log_level"] = "info" // the plugin's lines are
		c, err := loadConfig(cmd, defaults)
		if err != nil {
			return err
		}
		c.pluginDir, err = trial.link(c.pluginDir)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(c.pluginDir)) }()
		return trial.run(cmd, c)
	}
	return cmd
}

// executableOf gives a plugin's name and its executable's absolute path.
func executableOf(argument string) (name, path string, err error) {
	name, found := strings.CutPrefix(filepath.Base(argument), bundle.Executable(""))
	if !found || !bundle.ValidName(name) {
		return "", "", usagef("PATH: the executable must be named passmend-NAME, with 2 to 32 of a-z, 0-9 and \"-\" (got %q)", filepath.Base(argument))
	}
	info, err := os.Stat(argument)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return "", "", usagef("PATH: must be an executable file (got %s)", argument)
	}
	path, err = filepath.Abs(argument)
	return name, path, err
}

// trial is a vendor's plugin in development mode.
type trial struct {
	name, path string
	values     map[string]string
	secrets    map[string]tenants.Secret
	service    *sdktest.Target // the stand-in; nil: none
}

// link makes a plugin directory of the trial's own, with links to the executable
// and to the plugins that there are already. A link shows what was built last.
func (t trial) link(installed string) (dir string, err error) {
	if dir, err = os.MkdirTemp("", "passmend-run-"); err != nil {
		return "", err
	}
	paths, err := filepath.Glob(filepath.Join(installed, bundle.Executable("*")))
	if err != nil {
		return dir, err
	}
	links := map[string]string{bundle.Executable(t.name): t.path}
	for _, path := range paths {
		if name := filepath.Base(path); links[name] == "" {
			links[name] = path
		}
	}
	for name, path := range links {
		if path, err = filepath.Abs(path); err != nil {
			return dir, err
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			return dir, err
		}
	}
	return dir, nil
}

func (t trial) run(cmd *cobra.Command, c config) (err error) {
	ctx := cmd.Context()
	d, err := startDevelopment(ctx, c, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.mailbox.Stop(context.WithoutCancel(ctx))) }()
	if err := t.attach(ctx, d); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		return errors.Join(err, d.stop(stop))
	}
	if t.service != nil && t.service.Inbox != nil {
		show, stop := context.WithCancel(ctx)
		var showing sync.WaitGroup
		showing.Go(func() { t.showTaken(show, d.mailbox.Addr()) })
		defer showing.Wait()
		defer stop()
	}
	d.introduce(cmd.OutOrStdout())
	fmt.Fprintf(cmd.OutOrStdout(), "\nMail goes through %s. Build it again and it is taken up within 5 s.\n", t.path)
	return d.wait(ctx)
}

// attach puts the plugin in the place of the provider that development begins with.
func (t trial) attach(ctx context.Context, d *development) error {
	wait, cancel := context.WithTimeout(ctx, pluginWait)
	defer cancel()
	if err := d.plugins.Ready(wait); err != nil {
		return err
	}
	for _, status := range d.plugins.List() {
		if status.Name == t.name && status.LastError != "" {
			return fmt.Errorf("%s: %s", t.path, status.LastError)
		}
	}
	description, err := d.plugins.Describe(t.name)
	if err != nil {
		return err
	}
	provider := core.Provider{ID: core.ProviderID(newID()), Name: devProvider, Plugin: t.name}
	if err := t.configure(&provider, description, d); err != nil {
		return err
	}
	if err := d.plugins.Check(ctx, t.name, sdk.Settings{Values: provider.Settings, Secrets: t.given()}); err != nil {
		return fmt.Errorf("the plugin refuses its settings: %w", err)
	}
	if err := d.store.DeleteProvider(ctx, "", devProvider); err != nil && !errors.Is(err, core.ErrNotFound) {
		return err
	}
	return d.store.CreateProvider(ctx, "", provider)
}

// configure fills in the settings.
func (t trial) configure(provider *core.Provider, description sdk.Description, d *development) error {
	schema, err := readSchema(description.SettingsSchema)
	if err != nil {
		return fmt.Errorf("plugin %s: %w", t.name, err)
	}
	if t.service != nil {
		provider.Settings = t.service.Settings.Values
		return t.seal(provider, d)
	}
	if err := t.leadToMailbox(schema, d.mailbox.Addr()); err != nil {
		return err
	}
	if provider.Settings, err = schema.settings(t.values, t.secrets); err != nil {
		return usageError{err}
	}
	return t.seal(provider, d)
}

func (t trial) seal(provider *core.Provider, d *development) error {
	secrets := make(map[string]tenants.Secret)
	for name, secret := range t.given() {
		secrets[name] = tenants.NewSecret(secret.Reveal())
	}
	if len(secrets) == 0 {
		return nil
	}
	return core.SealSettings(d.keys, provider, secrets)
}

// given are the secrets, wherever they came from.
func (t trial) given() map[string]sdk.Secret {
	if t.service != nil {
		return t.service.Settings.Secrets
	}
	return sdkSecrets(t.secrets)
}

// showTaken puts what the stand-in took into the mailbox, until ctx ends.
func (t trial) showTaken(ctx context.Context, mailbox string) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for shown := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, sent := range t.service.Inbox()[shown:] {
			shown++
			// A mailbox that does not take it is about to end.
			_ = smtp.SendMail(mailbox, nil, "service@standin.test", []string{sent.To}, taken(sent))
		}
	}
}

// taken is a mail as the mailbox shows it.
func taken(sent sdktest.Sent) []byte {
	var b bytes.Buffer
	parts := multipart.NewWriter(&b)
	fmt.Fprintf(&b, "From: The stand-in <service@standin.test>\r\nTo: <%s>\r\nSubject: Taken by the service\r\nMessage-ID: <%s>\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=%s\r\n\r\n", sent.To, sent.MessageID, parts.Boundary())
	for _, part := range []struct{ kind, text string }{{"plain", sent.Text}, {"html", sent.HTML}} {
		// Writing into a buffer does not fail.
		w, _ := parts.CreatePart(textproto.MIMEHeader{
			"Content-Type": {"text/" + part.kind + "; charset=utf-8"}, "Content-Transfer-Encoding": {"quoted-printable"},
		})
		encoder := quotedprintable.NewWriter(w)
		_, _ = encoder.Write([]byte(part.text))
		_ = encoder.Close()
	}
	_ = parts.Close()
	return b.Bytes()
}

// leadToMailbox sets host and port where the plugin has them and nobody gave them.
func (t trial) leadToMailbox(s schema, address string) error {
	has := func(name string) bool { _, found := s.properties[name]; return found }
	if !has("host") || !has("port") || t.values["host"] != "" {
		return nil
	}
	var err error
	if t.values["host"], t.values["port"], err = net.SplitHostPort(address); err != nil {
		return err
	}
	if has("tls") && t.values["tls"] == "" {
		t.values["tls"] = "none"
	}
	return nil
}

func sdkSecrets(secrets map[string]tenants.Secret) map[string]sdk.Secret {
	converted := make(map[string]sdk.Secret, len(secrets))
	for name, secret := range secrets {
		converted[name] = sdk.NewSecret(secret.Reveal())
	}
	return converted
}

// secretArguments reads KEY=@FILE arguments.
func secretArguments(arguments []string, stdin io.Reader) (map[string]tenants.Secret, error) {
	files, err := pairs("secret", arguments)
	if err != nil {
		return nil, err
	}
	secrets := make(map[string]tenants.Secret)
	for name, file := range files {
		if secrets[name], err = secretArgument("secret "+name, file, stdin); err != nil {
			return nil, err
		}
	}
	return secrets, nil
}
