// Package sdktest is the conformance kit: the contract of sdk.Provider as cases
// that any provider can be held against, in process or over the wire.
//
// Limits first: the kit cannot make a server fail in a given way, so outcomes of
// refusals are the provider's own tests; it looks at what a test server took, not
// at the connection. It does not import testing: a command runs it too.
//
// A vendor's test is
//
//	func TestConformance(t *testing.T) {
//		sdktest.ExerciseProvider(t, sdktest.Target{Provider: myprovider.New(), ...})
//	}
package sdktest

import (
	"fmt"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// T is what the kit needs of a test; *testing.T has it.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Logf(format string, args ...any)
}

// Target is a provider and a world for it to work in.
type Target struct {
	Provider sdk.Provider
	// Name is the provider's, as in the executable passmend-NAME.
	Name string
	// Settings are usable ones, of a test server that takes everything.
	Settings sdk.Settings
	// Refused are settings that Check must refuse; at least one.
	Refused []Refused
	// Stalled are settings of a server that takes the connection and never
	// answers. Zero leaves out the cases for deadlines.
	Stalled sdk.Settings
	// Inbox gives what the test server took so far, decoded.
	Inbox func() []Sent
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
type Sent struct {
	MessageID string // without brackets
	To        string
	Text      string
	HTML      string
}

// Case is one sentence of the contract.
type Case struct {
	Name string
	run  func(*run)
}

// callLimit bounds every call that the kit makes.
const callLimit = 20 * time.Second

// ExerciseProvider runs every case; each failure names its case. Cases follow one
// another, a failed one does not keep the next from running.
func ExerciseProvider(t T, target Target) {
	t.Helper()
	for _, c := range Cases() {
		c.Run(t, target)
	}
}

// Run runs one case.
func (c Case) Run(t T, target Target) {
	t.Helper()
	if target.From == "" {
		target.From = "noreply@acme.example"
	}
	if target.To == "" {
		target.To = "ada@example.com"
	}
	r := &run{t: t, name: c.Name, Target: target}
	defer func() {
		if value := recover(); value != nil && value != stopped {
			r.errorf("panic: %v", value)
		}
	}()
	c.run(r)
}

// run is one case being run.
type run struct {
	Target
	t    T
	name string
}

type stop struct{}

var stopped any = stop{}

func (r *run) errorf(format string, args ...any) {
	r.t.Helper()
	r.t.Errorf("%s: %s", r.name, fmt.Sprintf(format, args...))
}

// fatalf ends the case.
func (r *run) fatalf(format string, args ...any) {
	r.t.Helper()
	r.errorf(format, args...)
	panic(stopped)
}
