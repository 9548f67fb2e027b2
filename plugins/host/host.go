// Package host runs delivery plugins: it finds their executables, starts each as
// a process of its own, speaks to it over mutual TLS on a private unix socket,
// watches it, starts it again when it ends, and drains it before it is stopped.
//
// Limits first: a call is made once and never repeated (repeating is the
// dispatcher's); who is trusted is Config.Verify's to say; the cage is Linux's, and
// elsewhere a plugin outlives a host that is killed. Of the cage: it tells ports
// but no addresses apart, and no UDP port before Landlock's ABI 10; the existence
// and size of a file can be asked for, its content cannot; the number of threads
// and the use of processors have no bound; a TCP port may be listened on that the
// kernel chooses.
//
// What is executed is a sealed copy of what was verified. It is started by a helper,
// this same program (see Cage), which applies to itself, in order: no file of the
// host's open, the end with its host, no new privileges, Landlock, no capabilities,
// a filter of calls, limits; and then becomes the plugin.
//
// The ports that a plugin may connect to are those that Verify gave for its bytes.
// Where it gave none, they are what the plugin describes: it is started once in a
// cage without any port and asked, and then started anew with what it answered,
// which is kept for these bytes until the host ends.
//
// The life of one plugin:
//
//	             handshake, Describe            process ended,
//	starting ───────────────────────────► up ── unhealthy three times ──┐
//	   ▲  │                                                             │
//	   │  └─ no handshake in time, bad handshake, ended ──► backoff ◄───┘
//	   └──────────────────── 0.5 s doubling to 60 s ────────── │
//	                                    Stop: drained, ended ──► down
//
// The first end of a plugin that was up is followed by a start at once; the wait
// begins with the second, and is forgotten once the plugin stayed up for 60 s.
package host

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"
)

// ErrUnavailable is wrapped by the error of a call to a plugin that is not
// installed, not up, or stopping. The same error holds an *sdk.Failure of kind
// Temporary: nothing was sent.
var ErrUnavailable = errors.New("plugin is not available")

// Config is what a Host needs. Only Dir is required.
type Config struct {
	// Dir holds the executables, each named passmend-NAME.
	Dir string
	// Only names the one plugin that is run, for who needs no other; empty: all.
	Only string
	// SocketDir is where the host makes its private directory; os.TempDir() by
	// default. Its path may have at most 40 bytes: a socket's has to stay under 100.
	SocketDir string
	// Logger takes the plugins' lines and their starts and ends; none by default.
	Logger *slog.Logger
	// Observer counts; none by default.
	Observer Observer

	// StartTimeout bounds launch, handshake and Describe together; 4 s.
	StartTimeout time.Duration
	// HealthEvery is the pause between health calls, HealthTimeout the deadline of
	// each; 5 s and 2 s. The third miss in a row ends the process.
	HealthEvery   time.Duration
	HealthTimeout time.Duration
	// BackoffMin and BackoffMax bound the wait before a restart; 0.5 s and 60 s.
	BackoffMin time.Duration
	BackoffMax time.Duration
	// CallTimeout bounds a call that has no deadline; 60 s.
	CallTimeout time.Duration
	// DrainTimeout is how long Stop waits for calls in flight; 20 s.
	DrainTimeout time.Duration
	// StopTimeout is how long a process may take to end when asked to; 2 s. Then
	// its process group is killed.
	StopTimeout time.Duration
	// MaxCalls bounds the calls in flight to one plugin; 256.
	MaxCalls int
	// MaxLines bounds the lines a second that one plugin may log; 50.
	MaxLines int
	// MemoryLimit is the most memory of a plugin's process in bytes, unless its
	// Grant says otherwise; 256 MiB.
	MemoryLimit int64

	// Verify is asked before every start for leave to execute the bytes with this
	// checksum, which lie in no place where they could be exchanged any more, and
	// for what was approved for them. Its error is shown to the operator. Nil
	// accepts everything with an empty Grant, for development.
	Verify func(name, path string, sum [sha256.Size]byte) (Grant, error)
	// Sandbox says what becomes of a plugin for which a layer of the cage is
	// missing; SandboxBestEffort.
	Sandbox Sandbox
	// Helper is a program that calls Cage first: SelfHelper when this one does. No
	// helper, no cage.
	Helper string
	// AnyPort lets plugins connect to every port, for development: a cage cannot
	// tell loopback from anywhere else.
	AnyPort bool
	// Sandboxed is told of every layer of the cage of every process that comes up;
	// nobody by default. It must not block.
	Sandboxed func(name, layer string, active bool)
	// Reached is told, before each call, which process it goes to; ctx is the caller's.
	// It is called from many goroutines and must not block; nil: nobody is told.
	Reached func(ctx context.Context, pid int)
}

// crashLoop is after how many ends in a row a plugin is degraded.
const crashLoop = 5

// stableAfter is how long a plugin has to be up for its past ends to be forgotten.
const stableAfter = time.Minute

// maxBase bounds the private directory's path: go-plugin v1.8.0 adds
// "/plugin-dir" and "/plugin" with a random number of up to ten digits each, and
// the whole has to stay under 100 bytes.
const maxBase = 60

var pluginName = regexp.MustCompile(`^passmend-([a-z0-9][a-z0-9-]{0,30}[a-z0-9])$`)

func (c *Config) validate() error {
	if c.Dir == "" {
		return errors.New("plugin host: Dir is required")
	}
	if c.SocketDir == "" {
		c.SocketDir = os.TempDir()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Observer == nil {
		c.Observer = silent{}
	}
	for _, d := range []struct {
		value *time.Duration
		name  string
		none  time.Duration
	}{
		{&c.StartTimeout, "StartTimeout", 4 * time.Second},
		{&c.HealthEvery, "HealthEvery", 5 * time.Second},
		{&c.HealthTimeout, "HealthTimeout", 2 * time.Second},
		{&c.BackoffMin, "BackoffMin", 500 * time.Millisecond},
		{&c.BackoffMax, "BackoffMax", time.Minute},
		{&c.CallTimeout, "CallTimeout", time.Minute},
		{&c.DrainTimeout, "DrainTimeout", 20 * time.Second},
		{&c.StopTimeout, "StopTimeout", 2 * time.Second},
	} {
		if *d.value < 0 {
			return fmt.Errorf("plugin host: %s must not be negative", d.name)
		}
		if *d.value == 0 {
			*d.value = d.none
		}
	}
	if c.MaxCalls < 0 || c.MaxLines < 0 || c.MemoryLimit < 0 {
		return errors.New("plugin host: MaxCalls, MaxLines and MemoryLimit must not be negative")
	}
	if c.MaxCalls == 0 {
		c.MaxCalls = 256
	}
	if c.MaxLines == 0 {
		c.MaxLines = 50
	}
	if c.MemoryLimit == 0 {
		c.MemoryLimit = 256 << 20
	}
	return c.validateCage()
}

func (c *Config) validateCage() error {
	if c.Sandbox == "" {
		c.Sandbox = SandboxBestEffort
	}
	if !slices.Contains([]Sandbox{SandboxBestEffort, SandboxRequired, SandboxOff}, c.Sandbox) {
		return fmt.Errorf("plugin host: Sandbox must be %s, %s or %s", SandboxBestEffort, SandboxRequired, SandboxOff)
	}
	if c.Sandbox == SandboxRequired && c.AnyPort {
		return errors.New("plugin host: AnyPort leaves a layer out that Sandbox requires")
	}
	if os.Args[0] == helperName {
		// It would start itself for ever.
		return errors.New("plugin host: this program is a Helper and does not call Cage first")
	}
	if c.Reached == nil {
		c.Reached = func(context.Context, int) {}
	}
	if c.Sandboxed == nil {
		c.Sandboxed = func(string, string, bool) {}
	}
	return nil
}

// Host runs the plugins of one directory. Its methods may be called from many
// goroutines at once.
type Host struct {
	config Config

	mu      sync.Mutex
	started bool
	stopped bool
	plugins map[string]*plugin
	base    *base
	spawner *spawner
	begin   func(name, path string) // starts one more plugin; under mu
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// New makes a Host; nothing runs before Start.
func New(config Config) (*Host, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	return &Host{config: config, plugins: make(map[string]*plugin)}, nil
}

// Start finds the plugins and launches each; it does not wait for them, see
// Ready. A plugin that does not start is not an error of Start: it shows in List
// and is tried again. ctx carries values only; Stop ends what Start began.
func (h *Host) Start(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.started {
		return errors.New("plugin host: started before")
	}
	found, err := h.found()
	if err != nil {
		return err
	}
	if swept := sweep(h.config.SocketDir); swept > 0 {
		h.config.Logger.Info("sockets of hosts that were killed are gone", "directories", swept)
	}
	if h.base, err = newBase(h.config.SocketDir); err != nil {
		return fmt.Errorf("directory for plugin sockets: %w", err)
	}
	h.started = true
	h.spawner = newSpawner()
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	h.cancel = cancel
	h.begin = func(name, path string) {
		ctx, cancel := context.WithCancel(run)
		p := newPlugin(name, path, h)
		p.end = cancel
		h.plugins[name] = p
		h.running.Go(func() {
			defer cancel()
			p.supervise(ctx)
		})
	}
	for name, path := range found {
		h.begin(name, path)
	}
	return nil
}

// found gives the executables that are run.
func (h *Host) found() (map[string]string, error) {
	found, err := find(h.config.Dir)
	maps.DeleteFunc(found, func(name, _ string) bool { return h.config.Only != "" && name != h.config.Only })
	return found, err
}

// Reload looks at the directory again: a plugin that is new there is started, one
// that is gone is drained and ended, and one whose executable is another is
// replaced once the new process is up (which happens by itself within HealthEvery).
// It waits for none of it. Before Start and after Stop it does nothing.
func (h *Host) Reload() error {
	found, err := h.found()
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.started || h.stopped {
		return nil
	}
	for name, p := range h.plugins {
		if _, ok := found[name]; ok {
			p.poke()
			continue
		}
		delete(h.plugins, name)
		h.running.Go(func() {
			p.awaitDrained(h.config.DrainTimeout)
			p.end()
		})
	}
	for name, path := range found {
		if h.plugins[name] == nil {
			h.begin(name, path)
		}
	}
	return nil
}

// Ready waits until every plugin is up or has failed once. Its error is ctx's.
func (h *Host) Ready(ctx context.Context) error {
	for _, p := range h.all() {
		select {
		case <-p.settled:
		case <-ctx.Done():
			return fmt.Errorf("plugin %q is still starting: %w", p.name, ctx.Err())
		}
	}
	return nil
}

// Stop refuses new calls, waits for those in flight (at most DrainTimeout, and
// until ctx ends), ends every process and removes the sockets. Calls that were
// still in flight end as Unknown. An error means that something is left behind.
func (h *Host) Stop(ctx context.Context) error {
	h.mu.Lock()
	if !h.started || h.stopped {
		h.mu.Unlock()
		return nil
	}
	h.stopped = true
	h.mu.Unlock()

	h.drain(ctx)
	h.cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.running.Wait()
		h.spawner.stop()
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		for _, p := range h.all() {
			p.kill()
		}
		select {
		case <-ended:
		case <-time.After(h.config.StopTimeout):
			return fmt.Errorf("stop plugins: %w", ctx.Err())
		}
	}
	if err := h.base.remove(); err != nil {
		return fmt.Errorf("remove plugin sockets: %w", err)
	}
	return nil
}

func (h *Host) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, h.config.DrainTimeout)
	defer cancel()
	var drained []<-chan struct{}
	for _, p := range h.all() {
		drained = append(drained, p.drain())
	}
	for _, done := range drained {
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}

func (h *Host) all() []*plugin {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*plugin, 0, len(h.plugins))
	for _, p := range h.plugins {
		all = append(all, p)
	}
	return all
}

// find gives the executables of dir by plugin name. What is not a regular
// executable file, or is named otherwise, is not a plugin.
func find(dir string) (map[string]string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("plugin directory: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("plugin directory: %w", err)
	}
	found := make(map[string]string)
	for _, entry := range entries {
		match := pluginName.FindStringSubmatch(entry.Name())
		if match == nil {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
			continue
		}
		found[match[1]] = path
	}
	return found, nil
}
