package webhook

import (
	"crypto/tls"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// stage is how far a call had come; stages after the first are also its steps.
type stage int

const (
	stageStart stage = iota
	stageDNS
	stageDial
	stageTLS
	stageWait // the headers are written: the endpoint may have the event
)

var stageNames = [...]string{"start", "dns", "dial", "tls", "wait"}

func (s stage) String() string { return stageNames[s] }

// trace follows one call. The transport reports from goroutines of its own, and
// may do so when the call is over.
type trace struct {
	entered time.Time

	mu    sync.Mutex
	at    stage
	steps []sdk.Step // closed ones
	begun time.Time  // of the open step; zero when none is
}

func newTrace() *trace { return &trace{entered: time.Now()} }

// hooks report the steps. Two families of addresses are dialled side by side:
// the step is open from the first attempt to the one that is used.
func (t *trace) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		DNSStart:             func(httptrace.DNSStartInfo) { t.begin(stageDNS) },
		DNSDone:              func(httptrace.DNSDoneInfo) { t.end(stageDNS) },
		ConnectStart:         func(string, string) { t.begin(stageDial) },
		ConnectDone:          func(_, _ string, err error) { t.connected(err) },
		TLSHandshakeStart:    func() { t.begin(stageTLS) },
		TLSHandshakeDone:     func(tls.ConnectionState, error) { t.end(stageTLS) },
		WroteHeaders:         func() { t.begin(stageWait) },
		GotFirstResponseByte: func() { t.end(stageWait) },
	}
}

// begin opens a step, unless the call has already come that far.
func (t *trace) begin(at stage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at <= t.at {
		return
	}
	t.at, t.begun = at, time.Now()
}

// end closes the step if it is the open one.
func (t *trace) end(at stage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at == t.at {
		t.close()
	}
}

// connected closes the dial step at the connection that is used; after a failed
// attempt another may follow.
func (t *trace) connected(err error) {
	if err == nil {
		t.end(stageDial)
	}
}

// close closes the open step, if there is one.
func (t *trace) close() {
	if t.begun.IsZero() {
		return
	}
	t.steps = append(t.steps, sdk.Step{
		Name:     t.at.String(),
		Start:    t.begun.Sub(t.entered),
		Duration: time.Since(t.begun),
	})
	t.begun = time.Time{}
}

// finish gives the stage that was reached and the steps, the last of which is
// closed if the call broke off in it. Nothing that is reported later counts.
func (t *trace) finish() (stage, []sdk.Step) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.close()
	return t.at, t.steps[:len(t.steps):len(t.steps)]
}
