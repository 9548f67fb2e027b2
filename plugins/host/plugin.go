package host

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
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
	poked   chan struct{} // one place: look at the executable now
	end     func()        // ends supervise

	// The supervise loop's own.
	binary   *binary   // what runs, or ran last
	rejected *identity // an executable that was tried in its place and did not come up
	retiring sync.WaitGroup

	mu          sync.Mutex
	state       State
	since       time.Time
	changed     chan struct{} // closed and replaced with every change of state
	draining    bool
	calls       sync.WaitGroup // Add only under mu and while not draining
	instance    *instance      // while up
	processes   []*process     // that may be running, the newest last
	description sdk.Description
	restarts    int
	lastError   string
	checksum    string
	layers      []Layer
	ports       []uint16 // that it may connect to
	anyPort     bool
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
		poked:   make(chan struct{}, 1),
		state:   StateStarting,
		since:   time.Now(),
		changed: make(chan struct{}),
	}
	p.lines = newLineLog(p.log, p.redact, h.config.MaxLines, func(dropped bool) { h.config.Observer.Line(name, lineLevel, dropped) })
	return p
}

// supervise starts the process again and again until ctx ends, and leaves none
// behind.
func (p *plugin) supervise(ctx context.Context) {
	defer p.settle()
	defer p.enter(StateDown, nil)
	defer p.forget()
	var ends int // since it was last stable
	for {
		running, err := p.bringUp(ctx)
		began := time.Now()
		if running != nil {
			running, err = p.serve(ctx, running)
		}
		if time.Since(began) >= stableAfter {
			ends = 0
		}
		wait := p.wait(ends, running != nil)
		ends++
		if ctx.Err() == nil {
			p.fail(err, wait)
		}
		// Out of the way of new calls before it is ended; draining is Stop's and is
		// done by now.
		p.enter(afterEnd(ends, wait), nil)
		if running != nil {
			running.stop(p.host.config.StopTimeout)
			p.lines.flush()
		}
		p.settle()
		if !p.pause(ctx, wait) {
			p.host.config.Observer.PluginExited(p.name, reasonStop)
			p.log.Info("plugin stopped")
			return
		}
		p.again()
	}
}

// afterEnd is the state after so many ends: calls wait for a start that comes at
// once.
func afterEnd(ends int, wait time.Duration) State {
	switch {
	case wait == 0:
		return StateStarting
	case ends >= crashLoop:
		return StateDegraded
	}
	return StateBackoff
}

// bringUp launches the process that serves from now on.
func (p *plugin) bringUp(ctx context.Context) (*instance, error) {
	running, err := p.launch(ctx)
	if err == nil {
		p.takeOver(running)
	}
	return running, err
}

// takeOver gives new calls to running.
func (p *plugin) takeOver(running *instance) {
	p.enter(StateUp, running)
	p.settle()
	p.host.config.Observer.PluginStarted(p.name, running.description.Version)
	p.log.Info("plugin started", "version", running.description.Version, "pid", running.process.pid())
}

// serve watches over running, and puts a process of a new executable in its place
// when there is one: the old one ends when the new one is up and its own calls are
// done. It returns what runs at last, and why that is to be given up.
func (p *plugin) serve(ctx context.Context, running *instance) (*instance, error) {
	for {
		err := p.watch(ctx, running)
		if !errors.Is(err, errReplaced) {
			return running, err
		}
		next, err := p.launch(ctx)
		if err != nil {
			p.keep(err)
			continue
		}
		p.takeOver(next)
		p.retire(ctx, running)
		running = next
	}
}

// errReplaced is watch's when another executable lies in the directory.
var errReplaced = errors.New("the executable was replaced")

// keep tells that a new executable did not come up and the old one goes on.
func (p *plugin) keep(err error) {
	p.mu.Lock()
	p.lastError = "the new executable: " + err.Error()
	p.mu.Unlock()
	p.log.Warn("plugin is not upgraded", "error", err.Error())
}

// retire ends old once its calls are done, in the background: the one that took
// over is watched meanwhile.
func (p *plugin) retire(ctx context.Context, old *instance) {
	p.retiring.Go(func() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			old.calls.Wait()
		}()
		timer := time.NewTimer(p.host.config.DrainTimeout)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
		case <-ctx.Done(): // Stop has drained
		}
		old.stop(p.host.config.StopTimeout)
	})
}

// forget waits for the retired processes and lets go of the sealed copy.
func (p *plugin) forget() {
	p.retiring.Wait()
	if p.binary != nil {
		p.binary.close()
	}
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
		case <-p.poked:
		case <-ticker.C:
		}
		if p.replaced() {
			return errReplaced
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

func (p *plugin) awaitDrained(most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-p.drain():
	case <-timer.C:
	}
}

// poke has the executable looked at now.
func (p *plugin) poke() {
	select {
	case p.poked <- struct{}{}:
	default:
	}
}

// kill ends every process at once.
func (p *plugin) kill() {
	p.mu.Lock()
	processes := slices.Clone(p.processes)
	p.mu.Unlock()
	for _, process := range processes {
		process.kill()
	}
}

func (p *plugin) addProcess(process *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.processes = append(slices.DeleteFunc(p.processes, gone), process)
}

func gone(process *process) bool {
	select {
	case <-process.exited:
		return true
	default:
		return false
	}
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
		Cage:      slices.Clone(p.layers),
		Ports:     slices.Clone(p.ports),
		AnyPort:   p.anyPort,
	}
	if p.instance != nil { // its number is 0 once it is gone
		status.PID = p.instance.process.pid()
	} else if n := len(p.processes); n > 0 {
		status.PID = p.processes[n-1].pid()
	}
	return status
}

// pause waits for d, or until it is poked: what was wrong may have been put right.
// False when ctx ended first.
func (p *plugin) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.poked:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
