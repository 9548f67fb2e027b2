package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/cmd/passmend/doctor"
	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/observability"
	"github.com/passmend/passmend/plugins/host"
	"github.com/passmend/passmend/tenants"
)

const (
	// openTime bounds how long the database may take to answer the doctor.
	openTime = 10 * time.Second
	// mostAsked bounds the hosts and the sending domains that are asked about, and
	// askedAtOnce how many at a time.
	mostAsked, askedAtOnce = 50, 8
)

func doctorCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check the deployment: green, amber or red, and what to do",
		Long: `Checks configuration, keys file, database, plugins and their cage, providers, disks,
DNS and certificates of every host of pages, and SPF, DKIM and DMARC of every domain
that mail is sent from. It changes nothing and sends no mail.

Each line is OK, WARN or FAIL, with what to do about it. What cannot be asked from here
is WARN. Exit status: 0 without FAIL, 1 with one, 2 wrong usage.`,
		Example: `  passmend doctor
  passmend doctor --json`,
		Args: cobra.NoArgs,
	}
	addSettingFlags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var lines []doctor.Line
		c, err := loadConfig(cmd, nil)
		if err != nil {
			lines = []doctor.Line{doctor.Bad(doctor.Fail, "configuration", "settings", "passmend serve --help lists them; nothing else was checked", "%v", err)}
		} else {
			lines = examine(cmd.Context(), c, net.DefaultResolver)
		}
		report := doctor.NewReport(version, lines)
		if asJSON {
			err = report.WriteJSON(cmd.OutOrStdout())
		} else {
			err = report.WriteText(cmd.OutOrStdout(), newReport(cmd.OutOrStdout()).colour)
		}
		if err == nil && report.Fail > 0 {
			err = fmt.Errorf("checks that failed: %d", report.Fail)
		}
		return err
	}
	return cmd
}

// examine makes every check, in the order of the report.
func examine(ctx context.Context, c config, resolver doctor.Resolver) []doctor.Line {
	lines := append(examineSettings(c), doctor.Keys(c.keysFile, time.Now())...)
	store, found := examineDatabase(ctx, c)
	lines = append(lines, found...)
	known := places{}
	if store != nil {
		defer store.Close()
		var err error
		if known, err = readPlaces(ctx, store); err != nil {
			lines = append(lines, doctor.Bad(doctor.Fail, "database", "rows", "docs/runbooks/database-down.md", "%v", err))
		}
	}
	lines = append(lines, examinePlugins(ctx, c, known.providers)...)
	if store != nil {
		lines = append(lines, doctor.Chain(c.defaultProviders, providerNames(known.providers)))
	}
	lines = append(lines, examineDisks(c)...)
	return append(lines, examineNetwork(ctx, c, known, resolver)...)
}

func examineSettings(c config) []doctor.Line {
	lines := []doctor.Line{doctor.Good("configuration", "settings", "file, environment and flags are accepted")}
	if c.baseURL == nil {
		lines = append(lines, doctor.Bad(doctor.Fail, "configuration", "base URL", "PASSMEND_BASE_URL=https://HOST, where people reach the pages", "it is not set, and serve needs it"))
	} else {
		lines = append(lines, doctor.Good("configuration", "base URL", "%s", c.baseURL))
	}
	if off := c.limitsOff(); len(off) > 0 {
		lines = append(lines, doctor.Bad(doctor.Warn, "configuration", "limits", "leave them at their defaults", "off: %s", strings.Join(off, ", ")))
	}
	if c.sandbox == host.SandboxOff {
		lines = append(lines, doctor.Bad(doctor.Fail, "configuration", "plugin sandbox", "PASSMEND_PLUGIN_SANDBOX=best-effort or required", "plugins run without a cage"))
	}
	if c.canary && c.canaryAddress == "" {
		lines = append(lines, doctor.Bad(doctor.Fail, "configuration", "canary", "PASSMEND_CANARY_ADDRESS, an address whose mail is brought to the canary's inbox", "it is on and has no address"))
	}
	return lines
}

// examineDatabase opens it and gives it to the checks that read rows; nil where there
// are none to read. It neither makes nor migrates anything.
func examineDatabase(ctx context.Context, c config) (*sqlstore.Store, []doctor.Line) {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	var lines []doctor.Line
	if c.sqlite() {
		line := doctor.DatabaseFile(strings.TrimPrefix(c.databaseURL, "sqlite://"))
		if lines = append(lines, line); line.State == doctor.Fail {
			return nil, lines
		}
	}
	open := func(unsafe bool) (*sqlstore.Store, error) {
		return sqlstore.Open(ctx, sqlstore.Config{URL: c.databaseURL, NewID: newID, AllowUnsafeDurability: unsafe, Logger: slog.New(slog.DiscardHandler)})
	}
	store, refused := open(false)
	if refused != nil {
		// What a server that may lose things says is told from one that is away by asking again.
		var err error
		if store, err = open(true); err != nil {
			return nil, append(lines, doctor.Opened(c.engine(), err))
		}
	}
	lines = append(lines, doctor.Opened(c.engine(), nil), doctor.Durability(c.engine(), refused, c.allowUnsafe))
	steps, err := store.MigrationStatus(ctx)
	schema := doctor.Schema(steps, err, c.sqlite())
	lines = append(lines, schema)
	begun := time.Now()
	if clock, err := store.Clock(ctx); err == nil {
		lines = append(lines, doctor.Clock(clock, begun.Add(time.Since(begun)/2)))
	}
	if schema.State != doctor.OK {
		_ = store.Close()
		return nil, lines
	}
	return store, lines
}

// places is what the database knows that the other checks ask about.
type places struct {
	providers []core.Provider // the platform's
	hosts     []string        // of accounts' pages
	senders   []string        // domains of accounts' senders
}

func readPlaces(ctx context.Context, store *sqlstore.Store) (known places, err error) {
	if known.providers, err = store.Providers(ctx, ""); err != nil {
		return known, err
	}
	d := &desk{store: store}
	err = d.allAccounts(ctx, func(account tenants.Account) error {
		if account.Host != "" {
			known.hosts = append(known.hosts, account.Host)
		}
		if _, domain, ok := strings.Cut(account.Branding.FromAddress, "@"); ok && !tenants.IsLoopback(domain) {
			known.senders = append(known.senders, strings.ToLower(domain))
		}
		return nil
	})
	return known, err
}

// examinePlugins starts every plugin once and asks it about each provider.
func examinePlugins(ctx context.Context, c config, configured []core.Provider) []doctor.Line {
	d := &desk{config: c}
	user := make(map[string]string) // a provider that delivers by a plugin
	for _, provider := range configured {
		user[provider.Plugin] = provider.Name
	}
	verifier, err := newVerifier(c, false, slog.New(slog.DiscardHandler))
	if err != nil {
		return []doctor.Line{doctor.Bad(doctor.Fail, "plugins", "plugin directory", "PASSMEND_PLUGIN_DIR", "%v", err)}
	}
	var lines, providers []doctor.Line
	err = withHost(ctx, c.hosting(verifier), func(plugins *host.Host) error {
		installed := make(map[string]bool)
		for _, status := range plugins.List() {
			installed[status.Name] = true
			refused := ""
			if verifier.Verdict(status.Name).Basis == "" {
				refused = or(status.LastError, "nobody trusts it")
			}
			lines = append(lines, doctor.Plugin(status, refused, user[status.Name] != "")...)
		}
		for _, plugin := range sortedKeys(user) {
			if !installed[plugin] {
				lines = append(lines, doctor.Missing(plugin, user[plugin]))
			}
		}
		for _, provider := range configured {
			unsure, wrong := d.checkProvider(ctx, plugins, provider, checkTime)
			providers = append(providers, doctor.Provider(provider.Name, wrong, unsure))
		}
		return nil
	})
	if err != nil {
		lines = append(lines, doctor.Bad(doctor.Fail, "plugins", "plugin directory", "PASSMEND_PLUGIN_DIR names it: "+c.pluginDir, "%v", err))
	}
	return append(lines, providers...)
}

func providerNames(providers []core.Provider) []string {
	names := make([]string, len(providers))
	for i, provider := range providers {
		names[i] = provider.Name
	}
	return names
}

func examineDisks(c config) (lines []doctor.Line) {
	paths := [][2]string{{"plugins", c.pluginDir}, {"temporary files", os.TempDir()}}
	if c.sqlite() {
		paths = append([][2]string{{"data", filepath.Dir(strings.TrimPrefix(c.databaseURL, "sqlite://"))}}, paths...)
	}
	for _, path := range paths {
		free, whole, known := observability.DiskRoom(path[1])
		lines = append(lines, doctor.Disk(path[0], path[1], free, whole, known))
	}
	return lines
}

// examineNetwork asks about every host of pages and every domain that mail is sent
// from, several at a time.
func examineNetwork(ctx context.Context, c config, known places, resolver doctor.Resolver) []doctor.Line {
	var asks []func() []doctor.Line
	one := func(ask func() doctor.Line) {
		asks = append(asks, func() []doctor.Line { return []doctor.Line{ask()} })
	}
	page := func(name, address string) {
		one(func() doctor.Line { return doctor.Address(ctx, resolver, name) })
		if address != "" {
			one(func() doctor.Line { return doctor.Certificate(ctx, name, address, nil, time.Now()) })
		}
	}
	if c.baseURL != nil && !tenants.IsLoopback(c.baseURL.Hostname()) {
		page(c.baseURL.Hostname(), net.JoinHostPort(c.baseURL.Hostname(), or(c.baseURL.Port(), "443")))
	}
	hosts, moreHosts := bounded(known.hosts)
	for _, name := range hosts {
		page(name, net.JoinHostPort(name, "443"))
	}
	senders, moreSenders := bounded(append(known.senders, platformSender(c)...))
	for _, domain := range senders {
		one(func() doctor.Line { return doctor.SPF(ctx, resolver, domain) })
		one(func() doctor.Line { return doctor.DMARC(ctx, resolver, domain) })
	}
	for _, provider := range known.providers {
		selector, domain, signs := signing(provider)
		switch {
		case signs:
			one(func() doctor.Line { return doctor.DKIM(ctx, resolver, selector, domain) })
		case len(senders) > 0:
			one(func() doctor.Line { return doctor.Unsigned(provider.Name) })
		}
	}
	lines := atOnce(asks)
	if moreHosts+moreSenders > 0 {
		lines = append(lines, doctor.Bad(doctor.Warn, "network", "the rest", "ask about them by dig", "%d hosts and %d sending domains were not asked about: at most %d are", moreHosts, moreSenders, mostAsked))
	}
	return lines
}

// platformSender is the domain of accounts that have no sender of their own; none
// where it is this machine's.
func platformSender(c config) []string {
	_, domain, _ := strings.Cut(c.mailFrom.Address, "@")
	if domain == "" && c.baseURL != nil {
		domain = senderHost(c.baseURL)
	}
	if domain == "" || tenants.IsLoopback(domain) {
		return nil
	}
	return []string{strings.ToLower(domain)}
}

func bounded(names []string) (asked []string, more int) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	return names[:min(len(names), mostAsked)], max(0, len(names)-mostAsked)
}

// signing gives the key that a provider of ours signs with.
func signing(provider core.Provider) (selector, domain string, signs bool) {
	var values struct{ DKIMSelector, DKIMDomain string }
	err := json.Unmarshal(provider.Settings, &values)
	return values.DKIMSelector, values.DKIMDomain, err == nil && values.DKIMSelector != "" && values.DKIMDomain != ""
}

// atOnce asks several at a time and keeps the order.
func atOnce(asks []func() []doctor.Line) (lines []doctor.Line) {
	answers := make([][]doctor.Line, len(asks))
	free := make(chan struct{}, askedAtOnce)
	var asking sync.WaitGroup
	for i, ask := range asks {
		free <- struct{}{}
		asking.Go(func() {
			defer func() { <-free }()
			answers[i] = ask()
		})
	}
	asking.Wait()
	for _, answer := range answers {
		lines = append(lines, answer...)
	}
	return lines
}
