package core

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

const (
	// defaultConcurrency is how many attempts an endpoint gets at once, and
	// accountConcurrency how many all endpoints of an account (threats.md, Retry and
	// disabling).
	defaultConcurrency = 4
	accountConcurrency = 16
	// overloadTime is for how long an endpoint that is overloaded gets half of that.
	overloadTime = 5 * time.Minute
	// Whoever finds an endpoint busy comes back when his turn may be, judged by what
	// the last attempts took, within these bounds.
	leastTurn = 10 * time.Millisecond
	mostWait  = 10 * time.Minute
	// paceIdle is after how long without use an endpoint is forgotten: by then what it
	// knew is worth nothing.
	paceIdle = 2 * overloadTime
)

// pace keeps an endpoint from getting more attempts at once than it can bear, and an
// account from having more than its share of those to all of its endpoints. Those
// beyond do not wait here, where they would hold slots that others need: each is sent
// away until about when its turn will be, one behind the other, so that a backlog
// comes back as a line and not as a crowd. It is one process's view.
type pace struct {
	most int

	mu    sync.Mutex
	lines map[lineKey]*line
	swept time.Time
}

// lineKey names an endpoint, or all endpoints of an account.
type lineKey struct {
	account  tenants.AccountID
	endpoint EndpointID // empty: all
}

// line is one endpoint's, or one account's.
type line struct {
	busy    int
	usual   time.Duration // what an attempt takes, the last ones counting most
	next    time.Time     // when the turn of the next who is sent away may be
	relaxed time.Time     // until when it gets half
	used    time.Time
}

// turn is one attempt's place at its endpoint and in its account.
type turn struct {
	pace     *pace
	endpoint *line
	account  *line
}

func newPace(most int) *pace { return &pace{most: most, lines: make(map[lineKey]*line)} }

// enter takes a place at the endpoint, or gives the time after which to come back.
func (p *pace) enter(account tenants.AccountID, endpoint EndpointID) (*turn, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.sweep(now)
	one, all := p.line(lineKey{account, endpoint}, now), p.line(lineKey{account: account}, now)
	most := p.most
	if now.Before(one.relaxed) {
		most = max(1, most/2)
	}
	switch {
	case one.busy >= most:
		return nil, one.wait(now, most)
	case all.busy >= accountConcurrency:
		return nil, all.wait(now, accountConcurrency)
	}
	one.busy++
	all.busy++
	return &turn{pace: p, endpoint: one, account: all}, 0
}

// line gives the line of the key, a new one when it has none.
func (p *pace) line(key lineKey, now time.Time) *line {
	l := p.lines[key]
	if l == nil {
		l = &line{usual: leastTurn}
		p.lines[key] = l
	}
	l.used = now
	return l
}

// wait puts one more at the end of a line that moves with most at once.
func (l *line) wait(now time.Time, most int) time.Duration {
	if l.next.Before(now) {
		l.next = now
	}
	l.next = l.next.Add(max(leastTurn, l.usual/time.Duration(most)))
	if far := now.Add(mostWait); l.next.After(far) {
		l.next = far
	}
	return l.next.Sub(now) + time.Duration(rand.Float64()*float64(leastTurn))
}

// sweep forgets, now and then, where nothing goes to.
func (p *pace) sweep(now time.Time) {
	if now.Sub(p.swept) < time.Minute {
		return
	}
	p.swept = now
	for key, l := range p.lines {
		if l.busy == 0 && now.Sub(l.used) > paceIdle {
			delete(p.lines, key)
		}
	}
}

// leave gives the place back.
func (t *turn) leave() {
	t.pace.mu.Lock()
	defer t.pace.mu.Unlock()
	for _, l := range []*line{t.endpoint, t.account} {
		l.busy--
		l.used = time.Now()
	}
}

// took notes how long the attempt was and whether the endpoint is overloaded.
func (t *turn) took(took time.Duration, err error) {
	t.pace.mu.Lock()
	defer t.pace.mu.Unlock()
	for _, l := range []*line{t.endpoint, t.account} {
		l.usual += (took - l.usual) / 4
	}
	if err != nil && overloaded(sdk.FailureOf(err).Code) {
		t.endpoint.relaxed = time.Now().Add(overloadTime)
	}
}

func overloaded(code string) bool {
	switch code {
	case strconv.Itoa(http.StatusTooManyRequests), strconv.Itoa(http.StatusBadGateway), strconv.Itoa(http.StatusGatewayTimeout):
		return true
	default:
		return false
	}
}
