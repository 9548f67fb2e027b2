package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// The outcomes of an operation, as a history of a distributed test names them.
const (
	Invoked = "invoke" // it is about to be asked
	OK      = "ok"     // acknowledged: 2xx
	Fail    = "fail"   // refused, or it never left: it must not have happened
	Info    = "info"   // nobody knows
)

// Operation is one line of the load's journal.
type Operation struct {
	Address string    `json:"address"`
	Outcome string    `json:"outcome"`
	Status  int       `json:"status,omitempty"` // 0: there was no answer
	Retry   string    `json:"retry,omitempty"`  // the header Retry-After
	Error   string    `json:"error,omitempty"`
	Reused  bool      `json:"reused,omitempty"` // the connection of an error had carried others before
	At      time.Time `json:"at"`
}

// LoadConfig says what is asked, where and how fast. Every field is needed.
type LoadConfig struct {
	Targets   []string // base URLs, used in turn
	Path      string   // of the account's password requests
	Addresses []string // each is asked for once
	Rate      int      // a second
	Callers   int      // at most so many at once
	Journal   string
}

// Load asks for a reset of each address and records what it was told, on disk
// before it asks on.
type Load struct {
	config  LoadConfig
	journal *journal
	client  *http.Client
	next    atomic.Int64
	stop    chan struct{}
	once    sync.Once
	callers sync.WaitGroup
	broken  atomic.Pointer[error]
}

// NewLoad asks nothing before Start.
func NewLoad(config LoadConfig) (*Load, error) {
	if len(config.Targets) == 0 || config.Rate <= 0 || config.Callers <= 0 {
		return nil, errors.New("load: Targets, Rate and Callers are needed")
	}
	journal, err := openJournal(config.Journal)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: config.Callers, DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext}
	return &Load{
		config: config, journal: journal, stop: make(chan struct{}),
		client: &http.Client{Transport: transport, Timeout: 20 * time.Second},
	}, nil
}

// Start asks until Stop, or until every address was asked for.
func (l *Load) Start() {
	begun := time.Now()
	for range l.config.Callers {
		l.callers.Go(func() {
			for {
				n := int(l.next.Add(1)) - 1
				due := begun.Add(time.Duration(n) * time.Second / time.Duration(l.config.Rate))
				if n >= len(l.config.Addresses) || !l.sleep(time.Until(due)) {
					return
				}
				l.ask(n)
			}
		})
	}
}

// Stop lets what is under way end, and gives the journal's first error.
func (l *Load) Stop() error {
	l.once.Do(func() { close(l.stop) })
	return l.finish()
}

// Wait returns when every address was asked for.
func (l *Load) Wait() error { return l.finish() }

func (l *Load) finish() error {
	l.callers.Wait()
	l.client.CloseIdleConnections()
	if broken := l.broken.Load(); broken != nil {
		return *broken
	}
	return nil
}

// Asked is how many addresses were begun with.
func (l *Load) Asked() int { return min(int(l.next.Load()), len(l.config.Addresses)) }

func (l *Load) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-l.stop:
		return false
	case <-timer.C:
		return true
	}
}

// ask asks for one address until a server was reached.
func (l *Load) ask(n int) {
	for try := n; ; try++ {
		l.record(Operation{Address: l.config.Addresses[n], Outcome: Invoked}, false)
		op := l.post(l.config.Targets[try%len(l.config.Targets)], l.config.Addresses[n])
		l.record(op, true)
		if op.Outcome != Fail || op.Status != 0 || !l.sleep(20*time.Millisecond) {
			return
		}
	}
}

func (l *Load) post(target, address string) Operation {
	op := Operation{Address: address, Outcome: Info}
	body, err := json.Marshal(map[string]any{"meta": map[string]string{"email": address}})
	if err != nil {
		op.Error = err.Error()
		return op
	}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, target+l.config.Path, bytes.NewReader(body))
	if err != nil {
		op.Outcome, op.Error = Fail, err.Error()
		return op
	}
	request.Header.Set("Content-Type", "application/json")
	var used httptrace.GotConnInfo
	trace := httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { used = info }}
	request = request.WithContext(httptrace.WithClientTrace(request.Context(), &trace))
	response, err := l.client.Do(request)
	if err != nil {
		op.Error, op.Reused = err.Error(), used.Reused
		if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
			op.Outcome = Fail
		}
		return op
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	op.Status, op.Retry, op.Outcome = response.StatusCode, response.Header.Get("Retry-After"), Fail
	if response.StatusCode/100 == 2 {
		op.Outcome = OK
	}
	return op
}

func (l *Load) record(op Operation, synced bool) {
	op.At = time.Now()
	if err := l.journal.append(op, synced); err != nil {
		err = fmt.Errorf("load: %w", err)
		l.broken.CompareAndSwap(nil, &err)
	}
}
