// Package sdktest is the conformance kit: the contract of sdk.Provider as cases
// that any provider can be held against, as a value or as an executable in any
// language.
//
// Limits first: the kit looks at what a test server took and at what the provider
// answered and printed, not at its code; a class of failure is tried only where
// the target has a server that makes it happen, and a case that cannot be tried
// says so. It does not import testing: a command runs it too.
//
// A vendor's test is
//
//	func TestConformance(t *testing.T) {
//		sdktest.ExerciseProvider(t, sdktest.Target{Provider: myprovider.New(), ...})
//	}
//
// The groups of cases, and what each needs of the Target:
//
//	Describe, Health, Check      Settings, Refused
//	mail                         Inbox; header fields where it shows them
//	failures                     Scripted, a server for each class
//	time                         Stalled
//	events                       nothing: the kit listens itself
//	callbacks                    Callbacks
//	process                      Path
package sdktest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// Version is the kit's own; a report names it.
const Version = "1.0.0"

// T is what the kit needs of a test; *testing.T has it.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Logf(format string, args ...any)
}

// Target is a provider and a world for it to work in.
type Target struct {
	// Provider is the one to test. In its place Path names an executable: the kit
	// runs it, talks to it as the host does, and adds the cases about processes.
	Provider sdk.Provider
	Path     string
	// Name is the provider's, as in the executable passmend-NAME.
	Name string
	// Settings are usable ones, of a test server that takes everything.
	Settings sdk.Settings
	// Refused are settings that Check must refuse; at least one.
	Refused []Refused
	// Stalled are settings of a server that takes the connection and never
	// answers. Zero leaves out the cases for deadlines, but for events.
	Stalled sdk.Settings
	// Scripted are settings of servers that make a mail fail, by how.
	Scripted map[sdk.Outcome]sdk.Settings
	// Inbox gives what the test server took so far, decoded. Nil leaves out mail.
	Inbox func() []Sent
	// Callbacks are genuine ones of the provider's service.
	Callbacks []Callback
	// From and To are addresses that the test server takes; those of example.com
	// by default.
	From, To string
}

// Refused is one kind of unusable settings.
type Refused struct {
	Case     string
	Settings sdk.Settings
	// Names is the setting that the public text must name.
	Names string
}

// Sent is one mail as the far side sees it, parts decoded, lines ended by "\n".
// ParseMail makes one of a mail as it is on the wire.
type Sent struct {
	MessageID string // without brackets
	To        string // of the envelope
	Text      string
	HTML      string
	// Header holds the fields in order, encoded as they came. Nil: the target
	// cannot tell, and what is about them is left out.
	Header []sdk.Header
	Inline []sdk.Inline
}

// Callback is a genuine callback and what is to be read from it.
type Callback struct {
	Case     string
	Settings sdk.Settings
	Callback sdk.Callback
	// Want are the events; Public, Private and At are not compared.
	Want []sdk.ProviderEvent
}

// Case is one sentence of the contract.
type Case struct {
	Name  string
	needs needs
	run   func(*run)
}

// needs is what a case cannot do without.
type needs int

const (
	nothing   needs = iota
	mail            // the provider takes mail, and there is an inbox
	events          // it takes events
	callbacks       // it reads callbacks, and the target has some
	process         // it is an executable
)

// callLimit bounds every call that the kit makes, caseLimit every case.
const (
	callLimit = 20 * time.Second
	caseLimit = 45 * time.Second
)

// ExerciseProvider runs every case on target; each failure names its case. Cases
// follow one another, a failed one does not keep the next from running.
func ExerciseProvider(t T, target Target) {
	t.Helper()
	Exercise(context.Background(), target, func(result Result) {
		t.Helper()
		switch result.Verdict {
		case Failed:
			t.Errorf("%s: %s", result.Case, strings.Join(result.Reasons, "; "))
		case Skipped:
			t.Logf("%s: left out: %s", result.Case, strings.Join(result.Reasons, "; "))
		}
	})
}

// Exercise runs every case on target and reports. each is told of every result as
// it comes. When ctx ends, no further case begins.
func Exercise(ctx context.Context, target Target, each func(Result)) Report {
	k, started := open(target)
	defer k.close()
	report := k.report()
	add := func(result Result) {
		report.Add(result)
		each(result)
	}
	if started.Verdict != "" {
		add(started)
	}
	if started.Verdict != Failed {
		for _, c := range Cases() {
			if ctx.Err() != nil {
				break
			}
			add(k.try(c))
		}
	}
	return report
}

// Run runs this case alone.
func (c Case) Run(target Target) Result {
	k, started := open(target)
	defer k.close()
	if started.Verdict == Failed {
		return started
	}
	return k.try(c)
}

// run is one case being run.
type run struct {
	*kit
	result Result
}

type stop struct{}

var stopped any = stop{}

func (r *run) errorf(format string, args ...any) {
	r.result.Verdict = Failed
	r.result.Reasons = append(r.result.Reasons, fmt.Sprintf(format, args...))
}

// fatalf ends the case.
func (r *run) fatalf(format string, args ...any) {
	r.errorf(format, args...)
	panic(stopped)
}

// skipf ends the case, which could not be tried; what failed before stays failed.
func (r *run) skipf(format string, args ...any) {
	if r.result.Verdict != Failed {
		r.result.Verdict = Skipped
		r.result.Reasons = append(r.result.Reasons, fmt.Sprintf(format, args...))
	}
	panic(stopped)
}
