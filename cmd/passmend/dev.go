package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"regexp"
	"runtime/debug"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/cmd/passmend/mailbox"
	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/tenants"
)

// What development mode puts into an empty database.
const (
	devAccount       = "demo"
	devUser          = "ada@example.com"
	devPassword      = "correct horse battery staple"
	devAdmin         = "admin@example.com"
	devProvider      = "mailbox"
	devPlugin        = "smtp"
	devAdminTokenFor = "development"
)

// devDefaults are the defaults of development mode where they differ.
func devDefaults() map[string]string {
	return map[string]string{
		"data_dir":            ".passmend-dev",
		"drain_delay":         "0s",
		"log_level":           "warn",
		"mail_from":           "no-reply@localhost",
		"limit_rstpwd":        "off",
		"limit_mutpwd":        "off",
		"limit_auth":          "off",
		"limit_ip":            "off",
		"limit_ip_day":        "off",
		"limit_account":       "off",
		"limit_bad_token":     "off",
		"limit_bad_callback":  "off",
		"limit_probe":         "off",
		"limit_recipient":     "off",
		"limit_recipient_all": "off",
		"limit_coalesce":      "off",
	}
}

func devCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run the service for development, with a mailbox",
		Long: `Runs the whole service on loopback with a mailbox that catches every mail, an
account, a user and an admin token. Keys and database are made in the data
directory (.passmend-dev); the edge's limits and coalescing are off.`,
		Example: `  passmend dev
  PASSMEND_DEV_ADMIN_TOKEN=admin-<64 hex>v3 passmend dev --http-addr 127.0.0.1:8090`,
		Args: cobra.NoArgs,
	}
	addSettingFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd, devDefaults())
		if err != nil {
			return err
		}
		d, err := startDevelopment(cmd.Context(), c, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		d.introduce(cmd.OutOrStdout())
		return errors.Join(d.wait(cmd.Context()), d.mailbox.Stop(context.WithoutCancel(cmd.Context())))
	}
	return cmd
}

// development is a service with a mailbox and something in it.
type development struct {
	*service
	mailbox    *mailbox.Mailbox
	account    tenants.Account
	adminToken tenants.Secret
}

var adminTokenForm = regexp.MustCompile(`^admin-[0-9a-f]{64}v3$`)

// checkDevelopment refuses what would let strangers in: everything about
// development mode is known to everybody.
func checkDevelopment(c config) error {
	if c.baseURL != nil && !tenants.IsLoopback(c.baseURL.Hostname()) {
		return badSetting("base_url", c.baseURL.String(), "on localhost or a loopback address in development; use 'passmend serve' for a public one")
	}
	for key, addr := range map[string]string{"http_addr": c.httpAddr, "admin_addr": c.adminAddr, "mailbox_addr": c.mailboxAddr} {
		if host, _, err := net.SplitHostPort(addr); err != nil || !tenants.IsLoopback(host) {
			return badSetting(key, addr, "a loopback address in development, as 127.0.0.1:8080")
		}
	}
	if token := c.devAdminToken.Reveal(); token != "" && !adminTokenForm.MatchString(token) {
		return usageError{errors.New("PASSMEND_DEV_ADMIN_TOKEN: must be admin- and 64 hexadecimal digits and v3")}
	}
	return nil
}

// startDevelopment brings mailbox and service up on loopback.
func startDevelopment(ctx context.Context, c config, logs io.Writer) (*development, error) {
	if err := checkDevelopment(c); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if _, err := os.Stat(c.keysFile); errors.Is(err, os.ErrNotExist) {
		if err := keys.Init(c.keysFile); err != nil {
			return nil, err
		}
	}
	box, err := mailbox.New(mailbox.Config{Addr: c.mailboxAddr, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	if err := box.Start(ctx); err != nil {
		return nil, fmt.Errorf("--%s: %w", flagName("mailbox_addr"), err)
	}
	d := &development{mailbox: box}
	c.defaultProviders = []string{devProvider}
	d.service, err = startService(ctx, c, serviceOptions{development: true, mailbox: box.Handler(), logs: logs, seed: d.seed})
	if err != nil {
		return nil, errors.Join(err, box.Stop(context.WithoutCancel(ctx)))
	}
	// Seeding hashed a password, and an idle process would keep its 19 MiB for
	// minutes. Here once, never on the way of a request.
	debug.FreeOSMemory()
	return d, nil
}

// seed makes what is missing, so that a data directory can be used again.
func (d *development) seed(ctx context.Context, s *service) (err error) {
	d.account, err = s.store.AccountBySlug(ctx, devAccount)
	if errors.Is(err, tenants.ErrUnknown) {
		d.account, err = s.store.CreateAccount(ctx, tenants.New(tenants.AccountID(newID()), devAccount, "Demo"))
	}
	if err != nil {
		return err
	}
	if _, err = d.user(ctx, s, devUser, core.User{FirstName: "Ada", LastName: "Lovelace", Role: core.RoleUser}, devPassword); err != nil {
		return err
	}
	admin, err := d.user(ctx, s, devAdmin, core.User{FirstName: "Demo", LastName: "Admin", Role: core.RoleAdmin}, "")
	if err != nil {
		return err
	}
	if err := d.provideMailbox(ctx, s); err != nil {
		return err
	}
	signIn := &core.SignIn{Users: s.store, Tokens: s.store, System: s.store, NewID: newID}
	if d.adminToken = s.config.devAdminToken; d.adminToken.Reveal() == "" {
		_, d.adminToken, err = signIn.Issue(ctx, admin, core.NewToken{Name: devAdminTokenFor})
		return err
	}
	if _, _, err = signIn.Bearer(ctx, d.adminToken); errors.Is(err, core.ErrUnknownToken) {
		_, err = signIn.Register(ctx, admin, d.adminToken)
	}
	return err
}

// user makes a user unless there is one.
func (d *development) user(ctx context.Context, s *service, address string, user core.User, password string) (core.User, error) {
	parsed, err := core.ParseUserAddress(address)
	if err != nil {
		return core.User{}, err
	}
	existing, err := s.store.UserByAddress(ctx, d.account.ID, parsed)
	if !errors.Is(err, core.ErrNotFound) {
		return existing, err
	}
	user.ID, user.Account, user.Address = core.UserID(newID()), d.account.ID, parsed
	if password != "" {
		user.PasswordHash, err = s.passwords.Hash(ctx, d.account.ID, user.ID, tenants.NewSecret(password))
		if err != nil {
			return core.User{}, err
		}
	}
	return s.store.CreateUser(ctx, d.account.ID, user)
}

// provideMailbox points the platform's provider at this mailbox's port, which may
// not be the one of last time.
func (d *development) provideMailbox(ctx context.Context, s *service) error {
	host, port, err := net.SplitHostPort(d.mailbox.Addr())
	if err != nil {
		return err
	}
	if _, err := strconv.Atoi(port); err != nil {
		return err
	}
	if err := s.store.DeleteProvider(ctx, "", devProvider); err != nil && !errors.Is(err, core.ErrNotFound) {
		return err
	}
	return s.store.CreateProvider(ctx, "", core.Provider{
		ID: core.ProviderID(newID()), Name: devProvider, Plugin: devPlugin,
		Settings: fmt.Appendf(nil, `{"host":%q,"port":%s,"tls":"none"}`, host, port),
	})
}

// introduce prints what a person needs to begin.
func (d *development) introduce(w io.Writer) {
	base := d.config.baseURL
	fmt.Fprintf(w, `Passmend is up, for development.

  account      %s (%s)
  user         %s
  password     %s
  admin token  %s

Forget a password:

  %s

Then read the mail:

  mailbox      %s
  as JSON      %s
  forgot page  %s
  operations   http://%s/metrics

Stop with Ctrl-C.
`, devAccount, d.account.ID, devUser, devPassword, d.adminToken.Reveal(),
		curlLine(base.JoinPath("v1", "accounts", devAccount, "passwords").String()),
		base.JoinPath("dev", "mailbox"), base.JoinPath("dev", "mailbox", "messages"),
		base.JoinPath(devAccount, "forgot"), d.adminListener.Addr())
}

// curlLine is the seed's request, to paste.
func curlLine(url string) string {
	return fmt.Sprintf(`curl -i -X POST %s -H 'Content-Type: application/vnd.api+json' -H 'Accept: application/vnd.api+json' -d '{"meta":{"email":"%s"}}'`, url, devUser)
}
