package worker

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// BreakersConfig is how Breakers judge; the zero value is the documented default.
type BreakersConfig struct {
	// Observe is told the state of a provider's worst breaker over all accounts when
	// it changes: 0 closed, 1 half-open, 2 open. It must neither block nor call the
	// Breakers. nil: nobody is told.
	Observe func(provider string, state int)
	// Most bounds how many breakers there are; 0 means 10,000. Beyond it, what has
	// none is let through.
	Most int
}

const (
	defaultBreakers = 10_000
	// tripRow is how many unhealthy attempts in a row open a breaker, however long
	// they take to come together.
	tripRow = 5
	// Of tripLeast or more that ended within tripWindow, tripPercent unhealthy ones
	// open it too.
	tripLeast   = 20
	tripPercent = 60
	tripWindow  = time.Minute
	tripBucket  = 10 * time.Second
	// openFirst is how long it is open; a probe that fails doubles that up to openMost.
	openFirst = 10 * time.Second
	openMost  = 2 * time.Minute
	// probeWait is when to come back while a probe is under way.
	probeWait = time.Second
	// attemptLife is after how long an attempt that was never reported is forgotten:
	// longer than one can take, as its lease is gone by then.
	attemptLife = core.LeaseLife
	// breakerIdle is after how long without use a breaker is dropped. It is more than
	// openMost: what was open is not forgotten while it matters.
	breakerIdle = 5 * time.Minute
	sweepEvery  = 10 * time.Second
	// waitSpread spreads those who come back, so that they do not come as one.
	waitSpread = 0.2
)

// Breakers remember for each account and provider whether mail gets through. They
// are this process's own view: another replica learns for itself.
type Breakers struct {
	c BreakersConfig

	mu     sync.Mutex
	all    map[breakerKey]*breaker
	states map[string]*[3]int // of each provider: how many breakers are in each state
	swept  time.Time
}

var _ core.Breakers = (*Breakers)(nil)

type breakerKey struct {
	account  tenants.AccountID
	provider string
}

// breaker adds to gobreaker what it lacks: a row of failures that no window cuts,
// an open time that doubles, and attempts that are never reported. Breakers.mu
// guards it.
type breaker struct {
	key     breakerKey
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
	state   gobreaker.State
	// under are the attempts under way, oldest first.
	under []attempt
	row   int           // unhealthy ones since the last healthy one
	open  time.Duration // how long the last opening lasts
	until time.Time     // its end
	used  time.Time
}

type attempt struct {
	done  func(error)
	begun time.Time
}

var (
	errUnhealthy = errors.New("unhealthy")
	// errForgotten ends an attempt that counts neither way.
	errForgotten = errors.New("forgotten")
)

// NewBreakers gives Breakers that are all closed.
func NewBreakers(c BreakersConfig) (*Breakers, error) {
	if c.Most < 0 {
		return nil, errors.New("worker: Most breakers must not be negative")
	}
	if c.Most == 0 {
		c.Most = defaultBreakers
	}
	if c.Observe == nil {
		c.Observe = func(string, int) {}
	}
	return &Breakers{c: c, all: make(map[breakerKey]*breaker), states: make(map[string]*[3]int)}, nil
}

// Allow implements core.Breakers. The wait is more than zero when it says no.
func (b *Breakers) Allow(account tenants.AccountID, provider string) (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	one := b.find(breakerKey{account, provider}, now)
	if one == nil {
		return 0, true
	}
	one.used = now
	one.forget(now)
	if left := one.until.Sub(now); left > 0 {
		return spread(left), false
	}
	done, err := one.circuit.Allow()
	switch {
	case err == nil:
		one.under = append(one.under, attempt{done, now})
		return 0, true
	case errors.Is(err, gobreaker.ErrTooManyRequests):
		return spread(probeWait), false
	default: // the very instant at which it half-opens
		return time.Millisecond, false
	}
}

// Report implements core.Breakers. It does not say which attempt it is about. So
// good news is taken for the newest and bad news for the oldest: an attempt that
// hung since before the breaker opened says nothing against a probe, and whatever
// gets through now speaks for the provider.
func (b *Breakers) Report(account tenants.AccountID, provider string, healthy bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.all[breakerKey{account, provider}]
	if one == nil || len(one.under) == 0 {
		return
	}
	one.used = time.Now()
	if healthy {
		last := len(one.under) - 1
		newest := one.under[last]
		one.under = one.under[:last]
		one.row = 0
		newest.done(nil)
		return
	}
	oldest := one.under[0]
	one.under = one.under[1:]
	oldest.done(errUnhealthy)
}

// find gives the breaker of the key, a new one when it has none; nil when there
// are too many.
func (b *Breakers) find(key breakerKey, now time.Time) *breaker {
	b.sweep(now)
	if one := b.all[key]; one != nil {
		return one
	}
	if len(b.all) >= b.c.Most {
		return nil
	}
	one := &breaker{key: key}
	one.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:   1,
		Interval:      tripWindow,
		BucketPeriod:  tripBucket,
		Timeout:       openFirst, // the least: until may be later
		ReadyToTrip:   one.trips,
		IsExcluded:    func(err error) bool { return errors.Is(err, errForgotten) },
		OnStateChange: func(_ string, from, to gobreaker.State) { b.changed(one, from, to) },
	})
	b.all[key] = one
	b.recount(key.provider, func(states *[3]int) { states[gobreaker.StateClosed]++ })
	return one
}

// sweep drops, now and then, the breakers that nobody uses.
func (b *Breakers) sweep(now time.Time) {
	if now.Sub(b.swept) < sweepEvery {
		return
	}
	b.swept = now
	for key, one := range b.all {
		if now.Sub(one.used) > breakerIdle {
			delete(b.all, key)
			b.recount(key.provider, func(states *[3]int) { states[one.state]-- })
		}
	}
}

// changed is called by gobreaker, from within a call of ours.
func (b *Breakers) changed(one *breaker, from, to gobreaker.State) {
	one.state, one.row = to, 0
	if lasted := one.open; to == gobreaker.StateOpen {
		if one.open = openFirst; from == gobreaker.StateHalfOpen {
			one.open = min(2*lasted, openMost)
		}
		one.until = time.Now().Add(one.open)
	}
	b.recount(one.key.provider, func(states *[3]int) { states[from]--; states[to]++ })
}

// recount changes the states of a provider's breakers and tells when that changes
// the worst.
func (b *Breakers) recount(provider string, change func(states *[3]int)) {
	states := b.states[provider]
	if states == nil {
		states = new([3]int)
		b.states[provider] = states
	}
	before := worst(*states)
	change(states)
	if *states == [3]int{} {
		delete(b.states, provider)
	}
	if after := worst(*states); after != before {
		b.c.Observe(provider, after)
	}
}

func worst(states [3]int) int {
	for state := len(states) - 1; state > 0; state-- {
		if states[state] > 0 {
			return state
		}
	}
	return 0
}

// trips is asked after each unhealthy attempt that counts, while closed.
func (one *breaker) trips(counts gobreaker.Counts) bool {
	one.row++
	ended := counts.TotalSuccesses + counts.TotalFailures
	return one.row >= tripRow || ended >= tripLeast && counts.TotalFailures*100 >= ended*tripPercent
}

// forget ends attempts whose end will not be reported any more, so that a probe
// that vanished makes way for another.
func (one *breaker) forget(now time.Time) {
	for len(one.under) > 0 && now.Sub(one.under[0].begun) >= attemptLife {
		one.under[0].done(errForgotten)
		one.under = one.under[1:]
	}
}

func spread(wait time.Duration) time.Duration {
	return wait + time.Duration(rand.Float64()*waitSpread*float64(wait))
}
