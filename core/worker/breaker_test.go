package worker

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/tenants"
)

// breakers are for one account and provider unless said otherwise. Cases run on a
// clock of their own.
type breakers struct {
	*Breakers
	t    *testing.T
	told []string
}

func newBreakers(t *testing.T, most int) *breakers {
	t.Helper()
	b := &breakers{t: t}
	var err error
	b.Breakers, err = NewBreakers(BreakersConfig{Most: most, Observe: func(provider string, state int) {
		b.told = append(b.told, fmt.Sprintf("%s %d", provider, state))
	}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const name = "main"

func (b *breakers) ends(healthy ...bool) {
	b.t.Helper()
	for _, h := range healthy {
		b.allowed()
		b.Report("a", name, h)
	}
}

func (b *breakers) allowed() {
	b.t.Helper()
	if wait, ok := b.Allow("a", name); !ok || wait != 0 {
		b.t.Fatalf("refused for %s", wait)
	}
}

// refused checks that the wait is at least so long, and at most a fifth longer.
func (b *breakers) refused(least time.Duration) {
	b.t.Helper()
	wait, ok := b.Allow("a", name)
	if ok {
		b.t.Fatal("allowed")
	}
	if most := least + least/5 + time.Millisecond; wait < least || wait > most {
		b.t.Fatalf("the wait is %s, want %s to %s", wait, least, most)
	}
}

func times(n int, healthy bool) []bool {
	all := make([]bool, n)
	for i := range all {
		all[i] = healthy
	}
	return all
}

// story runs a case on a clock of its own.
func story(t *testing.T, name string, tell func(t *testing.T)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, tell)
	})
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	story(t, "five unhealthy in a row open it, four do not", func(t *testing.T) {
		b := newBreakers(t, 0)
		b.ends(times(4, false)...)
		b.ends(true)
		b.ends(times(4, false)...)
		b.allowed()
		b.Report("a", name, false)
		b.refused(openFirst)
	})
	story(t, "a row is a row however long it takes", func(t *testing.T) {
		b := newBreakers(t, 0)
		for range 4 {
			b.ends(false)
			time.Sleep(3 * time.Minute)
		}
		b.allowed()
		b.Report("a", name, false)
		b.refused(openFirst)
	})
	story(t, "six in ten of twenty open it, of nineteen do not", func(t *testing.T) {
		b := newBreakers(t, 0)
		b.ends(true)
		for range 6 { // never five in a row
			b.ends(true, false, false)
		} // 12 of 19 were unhealthy
		b.allowed()
		b.Report("a", name, false) // and 13 of 20
		b.refused(openFirst)
	})
	story(t, "half of many do not open it", func(t *testing.T) {
		b := newBreakers(t, 0)
		for range 50 {
			b.ends(true, false)
		}
		b.allowed()
	})
	story(t, "what is older than the window does not count", func(t *testing.T) {
		b := newBreakers(t, 0)
		for range 6 {
			b.ends(true, false, false)
		}
		b.ends(true)
		time.Sleep(tripWindow + tripBucket)
		b.ends(false)
		b.allowed()
	})
	story(t, "a probe that fails doubles the wait, up to its end, and a good one closes", func(t *testing.T) {
		b := newBreakers(t, 0)
		b.ends(times(5, false)...)
		for _, seconds := range []int{10, 20, 40, 80, 120, 120} {
			open := time.Duration(seconds) * time.Second
			b.refused(open)
			time.Sleep(open - time.Millisecond)
			b.refused(time.Millisecond)
			time.Sleep(2 * time.Millisecond)
			b.ends(false)
		}
		time.Sleep(openMost + time.Millisecond)
		b.ends(true)
		b.ends(times(4, false)...)
		b.allowed()
		b.Report("a", name, false)
		b.refused(openFirst) // from the beginning again
	})
	story(t, "one probe at a time", func(t *testing.T) {
		b := newBreakers(t, 0)
		b.ends(times(5, false)...)
		time.Sleep(openFirst + time.Millisecond)
		b.allowed()
		b.refused(probeWait)
		b.Report("a", name, true)
		b.allowed()
		b.allowed()
	})
	story(t, "a probe that is never reported makes way for another", func(t *testing.T) {
		b := newBreakers(t, 0)
		b.ends(times(5, false)...)
		time.Sleep(openFirst + time.Millisecond)
		b.allowed()
		time.Sleep(attemptLife - time.Millisecond)
		b.refused(probeWait) // the control: until then it does hold the place
		time.Sleep(time.Millisecond)
		b.allowed()
		b.Report("a", name, true)
		b.allowed()
		b.allowed()
	})
	story(t, "what hung since before it opened says nothing against the probe", func(t *testing.T) {
		b := newBreakers(t, 0)
		for range 7 {
			b.allowed()
		}
		for range 5 {
			b.Report("a", name, false)
		}
		time.Sleep(openFirst + time.Millisecond)
		b.allowed() // the probe
		b.Report("a", name, false)
		b.refused(probeWait) // still under way
		b.Report("a", name, true)
		b.allowed()
		b.Report("a", name, false) // the last that hung
		b.allowed()
	})
	story(t, "one account's breaker is not another's, nor another provider's", func(t *testing.T) {
		b := newBreakers(t, 0)
		b.ends(times(5, false)...)
		b.refused(openFirst)
		for _, other := range []breakerKey{{"b", name}, {"a", "spare"}} {
			if _, ok := b.Allow(other.account, other.provider); !ok {
				t.Errorf("%v is refused", other)
			}
		}
	})
	story(t, "a report of nothing is passed over", func(t *testing.T) {
		b := newBreakers(t, 0)
		for range 10 {
			b.Report("a", name, false)
		}
		b.allowed()
	})
}

func TestBreakerObserverSeesTheWorstOfAProvider(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBreakers(t, 0)
		b.ends(times(5, false)...)
		if _, ok := b.Allow("b", name); !ok {
			t.Fatal("refused")
		}
		b.Report("b", name, true)
		time.Sleep(openFirst + time.Millisecond)
		b.allowed()
		b.Report("a", name, true)
		want := []string{"main 2", "main 1", "main 0"}
		if diff := cmp.Diff(want, b.told); diff != "" {
			t.Error(diff)
		}
	})
}

func TestBreakersAreBoundedAndTheIdleAreDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBreakers(t, 10)
		b.ends(times(5, false)...)
		for i := range 20 {
			account := tenants.AccountID(fmt.Sprint(i))
			for range 10 { // from the tenth on there is none to open
				if _, ok := b.Allow(account, name); ok {
					b.Report(account, name, false)
				}
			}
		}
		if n := len(b.all); n != 10 {
			t.Fatalf("there are %d", n)
		}
		if _, ok := b.Allow("19", name); !ok {
			t.Error("what has no breaker was refused")
		}
		if _, ok := b.Allow("0", name); ok {
			t.Error("what has one was let through: the control")
		}
		time.Sleep(breakerIdle + sweepEvery)
		b.allowed()
		if n := len(b.all); n != 1 {
			t.Errorf("there are %d after the sweep", n)
		}
		if last := b.told[len(b.told)-1]; last != "main 0" {
			t.Errorf("the observer was last told %q", last)
		}
	})
}

func TestBreakersConfigIsChecked(t *testing.T) {
	t.Parallel()
	if _, err := NewBreakers(BreakersConfig{Most: -1}); err == nil {
		t.Error("a negative bound was taken")
	}
}
