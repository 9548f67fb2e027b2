package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// plugin is one executable and the process that runs it now. Its supervise loop
// is the only writer of its state.
type plugin struct {
	name    string
	path    string
	host    *Host
	log     *slog.Logger
	redact  *redactor
	lines   *lineLog
	slots   chan struct{}
	settled chan struct{} // closed once it is up or has failed

	mu          sync.Mutex
	state       State
	since       time.Time
	changed     chan struct{} // closed and replaced with every change of state
	draining    bool
	calls       sync.WaitGroup // Add only under mu and while not draining
	instance    *instance      // while up
	process     *process       // while one runs
	description sdk.Description
	restarts    int
	lastError   string
	checksum    string
}

func newPlugin(name, path string, h *Host) *plugin {
	p := &plugin{
		name:    name,
		path:    path,
		host:    h,
		log:     h.config.Logger.With("plugin", name),
		redact:  newRedactor(),
		slots:   make(chan struct{}, h.config.MaxCalls),
		settled: make(chan struct{}),
		state:   StateStarting,
		since:   time.Now(),
		changed: make(chan struct{}),
	}
	p.lines = newLineLog(p.log, p.redact, h.config.MaxLines)
	return p
}

// supervise starts the process again and again until ctx ends, and leaves none
// behind.
func (p *plugin) supervise(ctx context.Context) {
	defer p.settle()
	defer p.enter(StateDown, nil)
	var ends int // since it was last stable
	for {
		running, err := p.bringUp(ctx)
		began := time.Now()
		if running != nil {
			err = p.watch(ctx, running)
		}
		if time.Since(began) >= stableAfter {
			ends = 0
		}
		wait := p.wait(ends, running != nil)
		ends++
		if ctx.Err() == nil {
			p.fail(err, wait)
		}
		next := StateBackoff
		if wait == 0 {
			next = StateStarting // calls wait for it
		}
		// Out of the way of new calls before it is ended; draining is Stop's and is
		// done by now.
		p.enter(next, nil)
		if running != nil {
			running.stop(p.host.config.StopTimeout)
			p.lines.flush()
		}
		p.settle()
		if !pause(ctx, wait) {
			p.host.config.Observer.PluginExited(p.name, reasonStop)
			p.log.Info("plugin stopped")
			return
		}
		p.again()
	}
}

// bringUp launches one process. Its checksum is read beside it.
func (p *plugin) bringUp(ctx context.Context) (*instance, error) {
	hashed := make(chan struct{})
	go func() {
		defer close(hashed)
		p.hash()
	}()
	running, err := p.launch(ctx)
	if err == nil {
		p.enter(StateUp, running)
		p.settle()
		p.host.config.Observer.PluginStarted(p.name, running.description.Version)
		p.log.Info("plugin started", "version", running.description.Version, "pid", running.process.pid())
	}
	<-hashed
	return running, err
}

// watch returns why the process is to be given up.
func (p *plugin) watch(ctx context.Context, running *instance) error {
	ticker := time.NewTicker(p.host.config.HealthEvery)
	defer ticker.Stop()
	misses := 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-running.process.exited:
			return running.process.end()
		case <-ticker.C:
		}
		check, cancel := context.WithTimeout(ctx, p.host.config.HealthTimeout)
		err := running.provider.Health(check)
		cancel()
		if err == nil {
			misses = 0
			continue
		}
		select {
		case <-running.process.exited:
			return running.process.end()
		default:
		}
		if misses++; misses == 3 {
			return &endError{reasonHealth, "did not answer three health calls in a row"}
		}
	}
}

// wait is the pause before the next start after ends earlier ends.
func (p *plugin) wait(ends int, wasUp bool) time.Duration {
	if wasUp {
		if ends == 0 {
			return 0
		}
		ends--
	}
	wait := p.host.config.BackoffMax
	if ends < 16 {
		wait = min(wait, p.host.config.BackoffMin<<ends)
	}
	// A tenth of jitter, so that plugins that died together do not start together.
	return wait - time.Duration(rand.Int64N(int64(wait)/10+1))
}

func (p *plugin) fail(err error, wait time.Duration) {
	reason := reasonExit
	var end *endError
	if errors.As(err, &end) {
		reason = end.reason
	}
	p.mu.Lock()
	p.lastError = err.Error()
	p.mu.Unlock()
	p.host.config.Observer.PluginExited(p.name, reason)
	p.log.Warn("plugin is not up", "reason", reason, "error", err.Error(), "restart_in", wait)
}

func (p *plugin) again() {
	p.mu.Lock()
	p.restarts++
	p.mu.Unlock()
	p.enter(StateStarting, nil)
}

func (p *plugin) settle() {
	select {
	case <-p.settled:
	default:
		close(p.settled)
	}
}

// enter changes the state and wakes whoever waits for a change.
func (p *plugin) enter(state State, running *instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.instance = running
	if running != nil {
		p.description = running.description
	}
	if p.state != state {
		p.state, p.since = state, time.Now()
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// drain refuses new calls; the channel closes when the last one in flight ended.
func (p *plugin) drain() <-chan struct{} {
	p.mu.Lock()
	p.draining = true
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.calls.Wait()
	}()
	return done
}

// kill ends the process at once, if there is one.
func (p *plugin) kill() {
	p.mu.Lock()
	process := p.process
	p.mu.Unlock()
	if process != nil {
		process.kill()
	}
}

func (p *plugin) setProcess(process *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.process = process
}

func (p *plugin) status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	status := Status{
		Name:      p.name,
		Version:   p.description.Version,
		Path:      p.path,
		Checksum:  p.checksum,
		State:     p.state,
		Restarts:  p.restarts,
		Since:     p.since,
		LastError: p.lastError,
		Contents:  p.description.Contents,
	}
	if p.process != nil { // its number is 0 once it is gone
		status.PID = p.process.pid()
	}
	return status
}

// hash reads the executable beside its start. It is told, not enforced: pinning
// needs a copy that nobody can exchange between hashing and executing.
func (p *plugin) hash() {
	file, err := os.Open(p.path)
	if err != nil {
		return // the start itself reports it
	}
	defer func() { _ = file.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.checksum = hex.EncodeToString(h.Sum(nil))
}

// pause waits for d; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
