package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/core/render"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/core/worker"
	"github.com/passmend/passmend/observability"
	"github.com/passmend/passmend/plugins/host"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

const (
	// drainTime is how long requests and deliveries under way may take to end.
	drainTime = 20 * time.Second
	// stopTime bounds the whole stop; what is left then ends with the process.
	stopTime = 28 * time.Second
	// lastSpansTime bounds the sending of the last spans.
	lastSpansTime = 3 * time.Second
)

// service is the whole of Passmend in one process: every room, wired.
type service struct {
	config    config
	options   serviceOptions
	logger    *slog.Logger
	telemetry *observability.Telemetry
	levels    *levels

	keys      *keys.Keys
	passwords core.Passwords
	hashes    *keys.Passwords // what passwords decorates
	store     *sqlstore.Store
	accounts  *tenants.Resolver
	providers *core.ProviderCache
	plugins   *host.Host
	worker    *worker.Worker
	signIn    *core.SignIn
	signer    *core.Signer
	kept      *keptNetworks // what webhooks are kept from

	httpListener, adminListener net.Listener
	draining                    atomic.Bool
	failed                      chan error // what ended a listener
	closers                     []closer   // run in reverse
}

type closer struct {
	name string
	stop func(ctx context.Context) error
}

// serviceOptions is where the commands that run a service differ.
type serviceOptions struct {
	development bool
	mailbox     http.Handler // nil: none
	logs        io.Writer
	// seed fills the database before anything is served; nil: nothing.
	seed func(ctx context.Context, s *service) error
}

// startService brings everything up. When it fails, what was already up is taken
// down again.
func startService(ctx context.Context, c config, options serviceOptions) (s *service, err error) {
	s = &service{config: c, options: options, failed: make(chan error, 2)}
	defer func() {
		if err != nil {
			stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
			defer cancel()
			err = errors.Join(err, s.stop(stop))
		}
	}()
	steps := []func(context.Context) error{s.checkCanary, s.startTelemetry, s.openKeys, s.listen, s.openStore, s.startPlugins}
	if c.roles.worker {
		steps = append(steps, s.buildWorker)
	}
	steps = append(steps, s.startStore, s.serveAdmin, s.watch)
	if c.roles.worker {
		steps = append(steps, s.startWorker)
	}
	if c.roles.api {
		steps = append(steps, s.serveAPI)
	}
	steps = append(steps, s.startCanary)
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return s, err
		}
	}
	return s, nil
}

// stop takes everything down in the reverse of the order in which it came up.
func (s *service) stop(ctx context.Context) error {
	s.draining.Store(true)
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		if err := s.closers[i].stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", s.closers[i].name, err))
		}
	}
	s.closers = nil
	return errors.Join(errs...)
}

func (s *service) onStop(name string, stop func(ctx context.Context) error) {
	s.closers = append(s.closers, closer{name, stop})
}

func (s *service) startTelemetry(ctx context.Context) error {
	level, err := parseLevel(s.config.logLevel)
	if err != nil {
		return err
	}
	s.telemetry, err = observability.New(ctx, observability.Config{
		Version: version, Commit: commit, LogOutput: s.options.logs, LogLevel: level,
		Database: s.config.engine(), Accounts: s.config.accountLabel,
	})
	if err != nil {
		return err
	}
	s.logger = s.telemetry.Logger()
	s.levels = newLevels(s.telemetry.Level(), s.logger)
	s.onStop("log level", func(context.Context) error { s.levels.stop(); return nil })
	if names := s.config.limitsOff(); len(names) > 0 && !s.options.development {
		s.logger.WarnContext(ctx, "limits are off", slog.String("limits", strings.Join(names, ",")))
	}
	s.onStop("telemetry", s.sendLastSpans)
	return nil
}

// sendLastSpans gives the collector a moment: one that is away must not make the
// service's end a failure, or a long wait.
func (s *service) sendLastSpans(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lastSpansTime)
	defer cancel()
	if err := s.telemetry.Shutdown(ctx); err != nil {
		s.logger.WarnContext(ctx, "the last spans were not sent", slog.Any("error", err))
	}
	return nil
}

// startPlugins starts them in every role: the worker hands them mail, the API
// callbacks of their services.
func (s *service) startPlugins(ctx context.Context) (err error) {
	verifier, err := newVerifier(s.config, s.options.development, s.logger)
	if err != nil {
		return err
	}
	hosting := s.config.hosting(verifier)
	hosting.Logger, hosting.Observer, hosting.DrainTimeout = s.logger, s.telemetry, drainTime
	// A cage cannot open loopback alone; whoever requires every layer names the ports.
	hosting.AnyPort = s.options.development && s.config.sandbox != host.SandboxRequired
	if s.config.sandbox == host.SandboxOff {
		s.logger.WarnContext(ctx, "plugins run without a cage")
	}
	hosting.Sandboxed, hosting.Reached = s.telemetry.Sandboxed, s.telemetry.Reached
	if s.plugins, err = host.New(hosting); err != nil {
		return err
	}
	s.telemetry.Processes(s.pluginProcesses)
	if err := s.plugins.Start(ctx); err != nil {
		return err
	}
	s.onStop("plugins", s.plugins.Stop)
	if !s.config.roles.worker {
		return nil
	}
	return s.warnMissingPlugins(ctx)
}

// warnMissingPlugins tells of default providers whose plugin is not installed, and of
// webhooks without theirs. Serving goes on: what is accepted waits.
func (s *service) warnMissingPlugins(ctx context.Context) error {
	installed := make(map[string]bool)
	for _, status := range s.plugins.List() {
		installed[status.Name] = true
	}
	for _, name := range s.config.defaultProviders {
		provider, err := s.store.Provider(ctx, "", name)
		if err != nil {
			return err
		}
		if !installed[provider.Plugin] {
			s.logger.ErrorContext(ctx, "the plugin of a default provider is not installed; its mail waits",
				slog.String("provider", name), slog.String("plugin", provider.Plugin), slog.String("plugin_dir", s.config.pluginDir))
		}
	}
	if !installed[webhookPlugin] {
		s.logger.WarnContext(ctx, "the plugin that posts webhook events is not installed; events wait",
			slog.String("plugin", webhookPlugin), slog.String("plugin_dir", s.config.pluginDir))
	}
	return nil
}

func (s *service) openKeys(context.Context) (err error) {
	if s.keys, err = keys.Open(s.config.keysFile); err != nil {
		return usageError{fmt.Errorf("--%s, %s: %w", flagName("keys_file"), envName("keys_file"), err)}
	}
	passwords, err := keys.NewPasswords(keys.PasswordsConfig{Keys: s.keys, Observe: s.telemetry.Hashed})
	if err != nil {
		return err
	}
	s.passwords, s.hashes = s.telemetry.Passwords(passwords), passwords
	s.telemetry.Hashing(passwords.Load)
	if err := s.watchKeys(); err != nil {
		return err
	}
	s.onStop("password hashing", passwords.Stop)
	return nil
}

// openStore opens the database as its one server, and seeds it in development.
func (s *service) openStore(ctx context.Context) error {
	store, err := openStore(ctx, s.config, s.logger, s.wake, s.telemetry)
	if err != nil {
		return err
	}
	s.store = store
	s.onStop("database", func(context.Context) error { return store.Close() })
	s.watchDatabase(store)
	unlock, err := store.LockServer(ctx)
	if err != nil {
		return err
	}
	s.onStop("database lock", func(context.Context) error { unlock(); return nil })
	if s.options.seed != nil {
		if err := s.options.seed(ctx, s); err != nil {
			return fmt.Errorf("seed: %w", err)
		}
	}
	if err := s.chooseProviders(ctx); err != nil {
		return err
	}
	s.providers = core.NewProviderCache(store)
	s.signer = core.NewSigner(core.SignerConfig{Keys: store, Sealer: s.keys, NewID: newID})
	if s.accounts, err = tenants.NewResolver(store); err != nil {
		return err
	}
	return s.findOnlyAccount(ctx)
}

// findOnlyAccount refuses to serve for an account that is not there: every call would
// be a 404.
func (s *service) findOnlyAccount(ctx context.Context) error {
	if s.config.onlyAccount == "" {
		return nil
	}
	_, err := s.accounts.Resolve(ctx, s.config.onlyAccount)
	if errors.Is(err, tenants.ErrUnknown) {
		return badSetting("account", s.config.onlyAccount, "the id or slug of an account that 'passmend account list' shows")
	}
	return err
}

// wake tells the worker, if this replica has one, that work may be ready.
func (s *service) wake() {
	if s.worker != nil {
		s.worker.Wake()
	}
}

// startStore lets callers share commits. The worker is there by then, to be woken.
func (s *service) startStore(ctx context.Context) error {
	if err := s.store.Start(ctx); err != nil {
		return err
	}
	s.onStop("database writer", s.store.Stop)
	return nil
}

// chooseProviders settles the platform's default chain and refuses to serve
// without one: every mail would wait for ever.
func (s *service) chooseProviders(ctx context.Context) error {
	configured, err := s.store.Providers(ctx, "")
	if err != nil {
		return err
	}
	known := make(map[string]bool, len(configured))
	for _, provider := range configured {
		known[provider.Name] = true
	}
	if len(s.config.defaultProviders) == 0 {
		s.config.defaultProviders = sortedKeys(known)
	}
	if len(s.config.defaultProviders) == 0 {
		return missingSetting("default_providers", "there is no provider yet; add one with 'passmend provider add NAME --plugin smtp --set host=...'")
	}
	for _, name := range s.config.defaultProviders {
		if !known[name] {
			return badSetting("default_providers", name, "names that 'passmend provider list' shows")
		}
	}
	return nil
}

// buildWorker wires the walk of a request behind its acceptance.
func (s *service) buildWorker(context.Context) error {
	from := s.config.mailFrom
	if from.Address == "" {
		from = sdk.Mailbox{Address: "no-reply@" + senderHost(s.config.baseURL)}
	}
	renderer, err := render.New(render.Config{From: from})
	if err != nil {
		return err
	}
	breakers, err := worker.NewBreakers(worker.BreakersConfig{Observe: s.telemetry.BreakerState})
	if err != nil {
		return err
	}
	s.keepNetworks()
	webhooks, err := s.webhooks()
	if err != nil {
		return err
	}
	s.worker, err = worker.New(worker.Config{
		Queue:  s.telemetry.Queue(s.store),
		Ledger: s.telemetry.Ledger(s.store),
		Resolver: s.telemetry.Resolver(&core.Resolver{
			Accounts: s.accounts, Users: s.store,
			Sealer: s.keys, Keys: s.keys, NewID: newID,
			Coalesce: s.config.coalesce, Limiter: s.keys,
			Recipient: s.config.recipient, RecipientAll: s.config.recipientAll, Admins: s.store,
		}),
		Dispatcher: core.NewDispatcher(core.DispatchConfig{
			Accounts: s.accounts, Logos: s.store, Ledger: s.store, Users: s.store, Providers: s.providers,
			Sealer: s.keys, Keys: s.keys, Renderer: s.telemetry.Renderer(renderer),
			Plugins: s.telemetry.Plugins(s.plugins), Admins: s.store,
			BaseURL: s.config.baseURL, DefaultProviders: s.config.defaultProviders, NewID: newID, Breakers: breakers,
		}),
		Webhooks:  webhooks,
		Logger:    s.logger,
		Process:   s.telemetry.Process,
		Slots:     s.config.workerSlots,
		Retain:    s.retain,
		Retention: s.config.retention, Maintained: s.telemetry.Maintained,
	})
	return err
}

// retain removes what is older than its retention; the audit log has its own.
func (s *service) retain(ctx context.Context, age time.Duration, batch int) (int, error) {
	requests, err := s.store.Retain(ctx, age, batch)
	if err != nil {
		return 0, err
	}
	entries, err := s.store.RetainAudit(ctx, s.config.auditRetention, batch)
	return max(requests, entries), err
}

// senderHost gives a host name that a mail address can have.
func senderHost(base *url.URL) string {
	if host := base.Hostname(); tenants.ValidAddrSpec("no-reply@" + host) {
		return host
	}
	return "localhost"
}

// watch hears of what other processes change: what is cached is stale, and work
// may be ready.
func (s *service) watch(ctx context.Context) error {
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		s.store.Watch(watching, func() {
			s.accounts.Clear()
			s.providers.Clear()
			// A provider that was added may be of a plugin that was installed just before.
			if err := s.plugins.Reload(); err != nil {
				s.logger.Warn("plugins are not looked for", "error", err.Error())
			}
			s.wake()
		})
	}()
	s.onStop("database watch", func(context.Context) error { stopWatching(); <-watched; return nil })
	return nil
}

func (s *service) startWorker(ctx context.Context) error {
	if err := s.worker.Start(ctx); err != nil {
		return err
	}
	s.onStop("worker", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, drainTime)
		defer cancel()
		return s.worker.Stop(ctx)
	})
	return nil
}
