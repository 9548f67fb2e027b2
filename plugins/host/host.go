// Package host runs delivery plugins: it finds their executables, starts each as
// a process of its own, speaks to it over mutual TLS on a private unix socket,
// watches it, starts it again when it ends, and drains it before it is stopped.
//
// Limits first: plugins are found once, at Start; a call is made once and never
// repeated (repeating is the dispatcher's); signatures and the cage are not here
// yet; a plugin on a system other than Linux outlives a host that is killed.
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
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
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
	// MemoryLimit is the plugins' GOMEMLIMIT in bytes; 230 MiB.
	MemoryLimit int64
}

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
		c.MemoryLimit = 230 << 20
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
	plugins map[string]*plugin // complete once started; not written after
	base    string             // our private directory
	spawner *spawner
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
	found, err := find(h.config.Dir)
	if err != nil {
		return err
	}
	sockets, err := filepath.Abs(h.config.SocketDir)
	if err == nil {
		h.base, err = os.MkdirTemp(sockets, "passmend-")
	}
	if err != nil {
		return fmt.Errorf("directory for plugin sockets: %w", err)
	}
	if len(h.base) > maxBase {
		_ = os.Remove(h.base) // just made and empty
		return fmt.Errorf("directory for plugin sockets: the path of SocketDir is too long: at most %d bytes",
			maxBase-len(filepath.Base(h.base))-1)
	}
	h.started = true
	h.spawner = newSpawner()
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	h.cancel = cancel
	for name, path := range found {
		p := newPlugin(name, path, h)
		h.plugins[name] = p
		h.running.Go(func() { p.supervise(run) })
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
	if err := os.RemoveAll(h.base); err != nil {
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
