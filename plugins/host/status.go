package host

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// State is where a plugin is in its life, see the package's drawing.
type State string

// The states.
const (
	StateStarting State = "starting"
	StateUp       State = "up"
	StateBackoff  State = "backoff"
	StateDegraded State = "degraded"
	StateDown     State = "down"
)

// Status is one plugin as it is now.
type Status struct {
	Name    string
	Version string // empty before the first Describe
	Path    string
	// Checksum is the SHA-256 in hex of what was executed last; empty until then.
	Checksum  string
	State     State
	Restarts  int
	PID       int       // 0 unless a process runs
	Since     time.Time // when State began
	LastError string    // why it last ended or did not start; empty if it never did
	Contents  []sdk.Content
	// Cage is every layer as it was at the last start, in LayerNames' order; empty
	// before the first.
	Cage []Layer
	// Ports are the TCP ports that it may connect to, in order; AnyPort says that
	// nothing bounds them.
	Ports   []uint16
	AnyPort bool
}

// List gives every plugin, by name.
func (h *Host) List() []Status {
	var list []Status
	for _, p := range h.all() {
		list = append(list, p.status())
	}
	slices.SortFunc(list, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Observer is told what happens. Every argument is from a bounded set, but for
// versions and durations. Its methods are called from many goroutines and must
// not block.
type Observer interface {
	PluginStarted(name, version string)
	// PluginExited is told of every end and of every start that failed; reason is
	// one of exit, start, verify, handshake, timeout, describe, health and stop.
	// A process that another took over from is not told of.
	PluginExited(name, reason string)
	// Call is told of every call that reached a plugin or was refused: method is
	// Check, Send or ParseEvent, outcome one of sdk's; ctx is the caller's.
	Call(ctx context.Context, name, method, outcome string, d time.Duration)
	// Line is told of every line that a plugin wrote to its output: whether it went to
	// the log, at a level of slog's in small letters, or was dropped beyond the rate.
	Line(name, level string, dropped bool)
}

type silent struct{}

func (silent) PluginStarted(string, string)                                {}
func (silent) PluginExited(string, string)                                 {}
func (silent) Call(context.Context, string, string, string, time.Duration) {}
func (silent) Line(string, string, bool)                                   {}

// The reasons of Observer.PluginExited.
const (
	reasonExit      = "exit"
	reasonStart     = "start"
	reasonVerify    = "verify"
	reasonHandshake = "handshake"
	reasonTimeout   = "timeout"
	reasonDescribe  = "describe"
	reasonHealth    = "health"
	reasonStop      = "stop"
)

// endError is why a process ended or did not come up.
type endError struct {
	reason string
	text   string
}

func (e *endError) Error() string { return e.text }
