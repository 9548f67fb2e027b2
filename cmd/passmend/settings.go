package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/httpapi"
	"github.com/passmend/passmend/observability"
	"github.com/passmend/passmend/plugins/host"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

// setting is one value of the configuration: PASSMEND_<KEY> in the environment,
// --key-with-dashes on the command line, key in the file.
type setting struct {
	key      string
	fallback string
	help     string
}

// settings lists the whole configuration, in the order of the help.
var settings = []setting{
	{"http_addr", "127.0.0.1:8080", "where the API and the pages listen, HOST:PORT"},
	{"admin_addr", "127.0.0.1:9090", "where /metrics, /livez and /readyz listen, HOST:PORT"},
	{"base_url", "", "where people reach the pages, as https://reset.example.com; links begin with it"},
	{"account", "", "id or slug of the only account there is: paths need not name it and may name no other (default: any number of accounts)"},
	{"database_url", "", "sqlite://PATH or postgres://... (default: passmend.db in the data directory)"},
	{"allow_unsafe_durability", "false", "serve on a PostgreSQL that may lose what it acknowledged: true or false"},
	{"data_dir", "passmend-data", "directory for what has no path of its own"},
	{"keys_file", "", "file made by 'passmend keys init' (default: keys.json in the data directory)"},
	{"plugin_dir", "", "directory of the passmend-* plugins (default: where this command is)"},
	{"plugin_allow_unpinned", "", "names of plugins that may run though 'plugin install' did not put them there, comma-separated (default: none but ours)"},
	{"plugin_ports", "", "TCP ports that plugins may connect to besides those they ask for, as smtp:2526, comma-separated"},
	{"plugin_sandbox", "best-effort", "where a layer of a plugin's cage is missing: best-effort (it runs without), required (it does not start); off: no cage"},
	{"webhook_allow", "", "networks that are not public and that webhooks may go to all the same, comma-separated CIDRs (default: none)"},
	{"default_providers", "", "names of platform providers in order, comma-separated (default: all, by name)"},
	{"mail_from", "", "sender of accounts that have none, as 'Name <address>' (default: no-reply at the base URL's host)"},
	{"trusted_proxies", "", "networks whose X-Forwarded-For is believed, comma-separated CIDRs (default: none)"},
	{"roles", "api,worker", "what this replica does: api, worker or both; split them on PostgreSQL only"},
	{"retention", "720h", "how long ended requests are kept, at least 24h"},
	{"audit_retention", "9600h", "how long the audit log is kept, at least 24h"},
	{"drain_delay", "5s", "how long to go on serving after SIGTERM while no longer ready, 0s to 10s"},
	{"worker_slots", "128", "deliveries under way at once, 1 to 4096"},
	{"log_level", "info", "debug, info, warn or error"},
	{"metrics_tenant_label", "top", "which accounts metrics tell apart: off, top (the 200 with the most requests) or all"},
	{"limit_rstpwd", "5/h", "asks per account, client and address: RATE/UNIT[:BURST][,...] or off"},
	{"limit_mutpwd", "5/10m", "password changes per account, client and user"},
	{"limit_auth", "5/m", "sign-ins per account, client and address"},
	{"limit_ip", "20/m:10", "asks per client"},
	{"limit_ip_day", "200/d", "asks per client and day"},
	{"limit_account", "50/s:200", "asks per account"},
	{"limit_bad_token", "30/10m", "wrong links per client"},
	{"limit_bad_callback", "30/10m", "callbacks of providers that prove nothing, per account and client"},
	{"limit_probe", "3/10m", "paths that only scanners try, per client; the last blocks it for 30 minutes"},
	{"limit_recipient", "3/h,6/d", "mails per account and address; silent"},
	{"limit_recipient_all", "10/d", "mails per address over all accounts; silent"},
	{"limit_coalesce", "120s", "time within which a repeat sends the same link again; 0s to 1h, or off"},
	{"canary", "false", "reset a password of the service's own every minute by each provider of the platform's chain: true or false"},
	{"canary_address", "", "where the canary's mails go, as canary@probe.example.com; they are tagged, canary+TAG@"},
	{"canary_inbox", "127.0.0.1:2526", "where the canary takes its mails by SMTP, HOST:PORT"},
	{"canary_via", "", "HOST:PORT that the canary calls without TLS in place of the base URL's host (default: the base URL)"},
	{"mailbox_addr", "127.0.0.1:1025", "where the development mailbox takes SMTP, HOST:PORT"},
	{"dev_admin_token", "", "admin token of the development account (default: a new one is printed)"},
}

// envName and flagName give a setting's name in the other two places.
func envName(key string) string  { return "PASSMEND_" + strings.ToUpper(key) }
func flagName(key string) string { return strings.ReplaceAll(key, "_", "-") }

// config is the configuration, read and checked.
type config struct {
	httpAddr, adminAddr, mailboxAddr string

	baseURL          *url.URL // nil: not given
	onlyAccount      string   // id or slug; empty: any number
	databaseURL      string
	dataDir          string
	keysFile         string
	pluginDir        string
	allowUnpinned    []string            // names of plugins
	pluginPorts      map[string][]uint16 // by plugin's name
	sandbox          host.Sandbox
	webhookAllow     []netip.Prefix
	defaultProviders []string
	mailFrom         sdk.Mailbox // zero: not given
	trustedProxies   []netip.Prefix
	workerSlots      int
	roles            roles
	retention        time.Duration
	auditRetention   time.Duration
	drainDelay       time.Duration
	allowUnsafe      bool
	logLevel         string
	accountLabel     observability.AccountLabel
	limits           httpapi.Limits
	recipient        core.Limit // per account and address
	recipientAll     core.Limit // per address
	coalesce         time.Duration
	devAdminToken    tenants.Secret

	canary                                bool
	canaryAddress, canaryInbox, canaryVia string
}

// newConfig checks every value and names the first setting that is wrong, with
// what it accepts.
func newConfig(value func(key string) string) (config, error) {
	c := config{
		httpAddr: value("http_addr"), adminAddr: value("admin_addr"), mailboxAddr: value("mailbox_addr"),
		dataDir:       value("data_dir"),
		logLevel:      value("log_level"),
		onlyAccount:   value("account"),
		devAdminToken: tenants.NewSecret(value("dev_admin_token")),
	}
	c.keysFile = or(value("keys_file"), filepath.Join(c.dataDir, "keys.json"))
	c.databaseURL = or(value("database_url"), "sqlite://"+filepath.Join(c.dataDir, "passmend.db"))
	for _, key := range []string{"http_addr", "admin_addr", "mailbox_addr"} {
		if host, port, err := net.SplitHostPort(value(key)); err != nil || strings.ContainsAny(host, " /") || !isPort(port) {
			return c, badSetting(key, value(key), "HOST:PORT with a port of 0 to 65535, as 127.0.0.1:8080")
		}
	}
	if !slices.ContainsFunc([]string{"sqlite://", "postgres://", "postgresql://"}, func(scheme string) bool {
		return strings.HasPrefix(c.databaseURL, scheme) && c.databaseURL != scheme
	}) {
		// The URL may hold a password: it is not repeated.
		return c, badSetting("database_url", "", "sqlite://PATH or postgres://USER:PASSWORD@HOST/DATABASE")
	}
	for _, check := range []func(*config, func(string) string) error{
		(*config).readBaseURL, (*config).readPlugins, (*config).readNetworks, (*config).readSender, (*config).readNumbers, (*config).readLimits, (*config).readCanary,
	} {
		if err := check(&c, value); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c *config) readBaseURL(value func(string) string) error {
	raw := value("base_url")
	if raw == "" {
		return nil
	}
	parsed, err := url.Parse(raw)
	accepts := "https://HOST[:PORT][/PATH], or http:// on localhost or a loopback address"
	if err == nil && parsed.User != nil {
		return badSetting("base_url", "", accepts+", without user and password")
	}
	if err != nil || parsed.Host == "" || parsed.RawQuery != "" || parsed.Fragment != "" || strings.Contains(parsed.Host, "*") {
		return badSetting("base_url", raw, accepts)
	}
	if parsed.Scheme != "https" && (parsed.Scheme != "http" || !tenants.IsLoopback(parsed.Hostname())) {
		return badSetting("base_url", raw, accepts)
	}
	if strings.Trim(parsed.Path, "/") != "" {
		return badSetting("base_url", raw, "https://HOST[:PORT] without a path: accounts are the first part of a page's path")
	}
	parsed.Path = ""
	c.baseURL = parsed
	return nil
}

func (c *config) readPlugins(value func(string) string) error {
	var err error
	if c.pluginDir = value("plugin_dir"); c.pluginDir == "" {
		if c.pluginDir, err = executableDir(); err != nil {
			return err
		}
	}
	c.allowUnpinned = splitList(value("plugin_allow_unpinned"))
	if slices.ContainsFunc(c.allowUnpinned, func(name string) bool { return !tenants.ValidName(name) }) {
		return badSetting("plugin_allow_unpinned", value("plugin_allow_unpinned"), "names of plugins, comma-separated")
	}
	c.pluginPorts = make(map[string][]uint16)
	for _, text := range splitList(value("plugin_ports")) {
		name, port, _ := strings.Cut(text, ":")
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 || !tenants.ValidName(name) {
			return badSetting("plugin_ports", value("plugin_ports"), "NAME:PORT, comma-separated, as smtp:2526")
		}
		c.pluginPorts[name] = append(c.pluginPorts[name], uint16(number))
	}
	c.sandbox = host.Sandbox(value("plugin_sandbox"))
	if !slices.Contains([]host.Sandbox{host.SandboxBestEffort, host.SandboxRequired, host.SandboxOff}, c.sandbox) {
		return badSetting("plugin_sandbox", value("plugin_sandbox"), "best-effort, required or off")
	}
	c.defaultProviders = splitList(value("default_providers"))
	for _, name := range c.defaultProviders {
		if !tenants.ValidName(name) {
			return badSetting("default_providers", value("default_providers"), "names of 1 to 63 of a-z, 0-9 and \"-\", comma-separated")
		}
	}
	return nil
}

// maxWebhookNetworks is how many the plugin takes.
const maxWebhookNetworks = 64

func (c *config) readNetworks(value func(string) string) error {
	for _, list := range []struct {
		key, accepts string
		most         int
		takes        func(netip.Prefix) bool
		into         *[]netip.Prefix
	}{
		{"trusted_proxies", "CIDRs, comma-separated, as 10.0.0.0/8", len(value("trusted_proxies")), func(netip.Prefix) bool { return true }, &c.trustedProxies},
		{"webhook_allow", "at most 64 CIDRs, comma-separated, as 10.1.0.0/16; none of this machine's loopback, and no IPv4 network written as IPv6", maxWebhookNetworks,
			func(p netip.Prefix) bool { return !p.Addr().IsLoopback() && !p.Addr().Is4In6() }, &c.webhookAllow},
	} {
		for _, text := range splitList(value(list.key)) {
			prefix, err := netip.ParsePrefix(text)
			if err != nil || !list.takes(prefix) || len(*list.into) == list.most {
				return badSetting(list.key, value(list.key), list.accepts)
			}
			*list.into = append(*list.into, prefix.Masked())
		}
	}
	return nil
}

func (c *config) readSender(value func(string) string) error {
	raw := value("mail_from")
	if raw == "" {
		return nil
	}
	from, ok := parseMailbox(raw)
	if !ok {
		return badSetting("mail_from", raw, "an address as no-reply@example.com or 'Example <no-reply@example.com>'")
	}
	c.mailFrom = from
	return nil
}

func (c *config) readNumbers(value func(string) string) error {
	slots, err := strconv.Atoi(value("worker_slots"))
	if err != nil || slots < 1 || slots > 4096 {
		return badSetting("worker_slots", value("worker_slots"), "a number from 1 to 4096")
	}
	c.workerSlots = slots
	for _, name := range splitList(value("roles")) {
		switch name {
		case "api":
			c.roles.api = true
		case "worker":
			c.roles.worker = true
		default:
			return badSetting("roles", value("roles"), "api, worker or api,worker")
		}
	}
	if c.roles == (roles{}) {
		return badSetting("roles", value("roles"), "api, worker or api,worker")
	}
	if c.sqlite() && c.roles != (roles{api: true, worker: true}) {
		return badSetting("roles", value("roles"), "api,worker on an embedded database: it has one server")
	}
	if c.retention, err = time.ParseDuration(value("retention")); err != nil || c.retention < 24*time.Hour {
		return badSetting("retention", value("retention"), "a duration of at least 24h, as 720h")
	}
	if c.auditRetention, err = time.ParseDuration(value("audit_retention")); err != nil || c.auditRetention < 24*time.Hour {
		return badSetting("audit_retention", value("audit_retention"), "a duration of at least 24h, as 9600h")
	}
	if c.drainDelay, err = time.ParseDuration(value("drain_delay")); err != nil || c.drainDelay < 0 || c.drainDelay > 10*time.Second {
		return badSetting("drain_delay", value("drain_delay"), "a duration of 0s to 10s, as 5s")
	}
	if c.allowUnsafe, err = strconv.ParseBool(value("allow_unsafe_durability")); err != nil {
		return badSetting("allow_unsafe_durability", value("allow_unsafe_durability"), "true or false")
	}
	if _, err := parseLevel(c.logLevel); err != nil {
		return badSetting("log_level", c.logLevel, "debug, info, warn or error")
	}
	c.accountLabel = observability.AccountLabel(value("metrics_tenant_label"))
	if !slices.Contains([]observability.AccountLabel{observability.AccountsOff, observability.AccountsTop, observability.AccountsAll}, c.accountLabel) {
		return badSetting("metrics_tenant_label", value("metrics_tenant_label"), "off, top or all")
	}
	return nil
}

func (c *config) readLimits(value func(string) string) error {
	for _, limit := range []struct {
		key  string
		into *core.Limit
	}{
		{"limit_rstpwd", &c.limits.Rstpwd}, {"limit_mutpwd", &c.limits.Mutpwd},
		{"limit_auth", &c.limits.Auth}, {"limit_ip", &c.limits.IP}, {"limit_ip_day", &c.limits.IPDay},
		{"limit_account", &c.limits.Account}, {"limit_bad_token", &c.limits.BadToken},
		{"limit_bad_callback", &c.limits.BadCallback}, {"limit_probe", &c.limits.Probe},
		{"limit_recipient", &c.recipient}, {"limit_recipient_all", &c.recipientAll},
	} {
		parsed, err := core.ParseLimit(value(limit.key))
		if err != nil {
			return badSetting(limit.key, value(limit.key), "RATE/UNIT[:BURST][,...] as 5/h, 5/10m or 20/m:10,200/d, or off")
		}
		*limit.into = parsed
	}
	for key, limit := range map[string]core.Limit{"limit_recipient": c.recipient, "limit_recipient_all": c.recipientAll} {
		for _, rate := range limit.Rates {
			if rate.Burst == 0 && rate.Count > core.MaxWindow {
				return badSetting(key, value(key), fmt.Sprintf("a RATE of at most %d, or more with a BURST, as 100/d:20", core.MaxWindow))
			}
		}
	}
	if err := c.limits.Validate(); err != nil {
		return usageError{err}
	}
	if text := value("limit_coalesce"); text != "off" {
		coalesce, err := time.ParseDuration(text)
		if err != nil || coalesce < 0 || coalesce > time.Hour {
			return badSetting("limit_coalesce", text, "a duration of 0s to 1h, as 120s, or off")
		}
		c.coalesce = coalesce
	}
	return nil
}

// roles is what a replica does.
type roles struct{ api, worker bool }

// String gives the form of the setting.
func (r roles) String() string {
	switch {
	case !r.worker:
		return "api"
	case !r.api:
		return "worker"
	default:
		return "api,worker"
	}
}

// sqlite says whether the database is the embedded one.
func (c *config) sqlite() bool { return strings.HasPrefix(c.databaseURL, "sqlite://") }

// engine names the database in spans and metrics.
func (c *config) engine() string {
	if c.sqlite() {
		return "sqlite"
	}
	return "postgresql"
}

// limitsOff names the limits that are switched off, for a warning at start.
func (c *config) limitsOff() []string {
	var names []string
	for _, limit := range []struct {
		name string
		off  bool
	}{
		{"RSTPWD", c.limits.Rstpwd.Off}, {"MUTPWD", c.limits.Mutpwd.Off}, {"AUTH", c.limits.Auth.Off},
		{"IP", c.limits.IP.Off}, {"IP_DAY", c.limits.IPDay.Off}, {"ACCOUNT", c.limits.Account.Off},
		{"BAD_TOKEN", c.limits.BadToken.Off}, {"BAD_CALLBACK", c.limits.BadCallback.Off}, {"PROBE", c.limits.Probe.Off},
		{"RECIPIENT", c.recipient.Off}, {"RECIPIENT_ALL", c.recipientAll.Off},
		{"COALESCE", c.coalesce == 0},
	} {
		if limit.off {
			names = append(names, limit.name)
		}
	}
	return names
}

// badSetting is the one clear line for a wrong value, under each of its names.
func badSetting(key, value, accepts string) error {
	got := ""
	if value != "" {
		got = fmt.Sprintf(" (got %q)", value)
	}
	return usageError{fmt.Errorf("--%s, %s: must be %s%s", flagName(key), envName(key), accepts, got)}
}

func missingSetting(key, remedy string) error {
	return usageError{fmt.Errorf("--%s, %s: is needed: %s", flagName(key), envName(key), remedy)}
}

func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0 && n <= 65535
}

func splitList(s string) []string {
	var list []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

func or(value, fallback string) string {
	if value != "" {
		return value
	}
	return fallback
}
