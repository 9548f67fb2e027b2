package sqlstore

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"

	"modernc.org/sqlite"

	"github.com/passmend/passmend/core/coretest"
)

// asked is a lookups whose every read waits for the test: it gives the keys that share
// one, and takes what comes of it.
type asked struct {
	*lookups[string, int]
	reads   chan []string
	answers chan error
}

func newAsked(t *testing.T) (*asked, *Store) {
	t.Helper()
	s, err := Open(t.Context(), Config{URL: "sqlite://" + filepath.Join(t.TempDir(), "db"), NewID: coretest.NewID})
	fatal(t, err)
	t.Cleanup(func() { _ = s.Close() })
	a := &asked{reads: make(chan []string), answers: make(chan error)}
	a.lookups = newLookups(s, func(_ context.Context, keys []string) (map[string]int, error) {
		a.reads <- keys
		rows := make(map[string]int, len(keys))
		for _, key := range keys {
			if n, err := strconv.Atoi(key); err == nil {
				rows[key] = n
			}
		}
		return rows, <-a.answers
	})
	return a, s
}

// answer is what came of one look-up.
type answer struct {
	value int
	found bool
	err   error
}

func (a *asked) ask(ctx context.Context, key string) <-chan answer {
	came := make(chan answer, 1)
	go func() {
		value, found, err := a.one(ctx, key)
		came <- answer{value, found, err}
	}()
	return came
}

// gathered asks for keys while a read is under way, and lets that one end.
func (a *asked) gathered(t *testing.T, keys ...string) []<-chan answer {
	t.Helper()
	first := a.ask(t.Context(), "0")
	<-a.reads
	came := make([]<-chan answer, len(keys))
	for i, key := range keys {
		came[i] = a.ask(t.Context(), key)
		for len(a.queue) <= i { // until it waits
			runtime.Gosched()
		}
	}
	a.answers <- nil
	<-first
	return came
}

func TestLookupsShareAStatement(t *testing.T) {
	t.Parallel()
	a, s := newAsked(t)
	fatal(t, s.Start(t.Context()))
	var running sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	running.Go(func() { a.run(ctx) })
	defer running.Wait()
	defer stop()

	came := a.gathered(t, "1", "none", "3")
	if keys := <-a.reads; !slices.Equal(keys, []string{"1", "none", "3"}) {
		t.Fatalf("one read for %q, want the three that waited", keys)
	}
	a.answers <- nil
	for i, want := range []answer{{1, true, nil}, {0, false, nil}, {3, true, nil}} {
		if got := <-came[i]; got != want {
			t.Errorf("look-up %d gave %v, want %v", i, got, want)
		}
	}

	// One of two broke the statement: each is asked for by itself.
	came = a.gathered(t, "1", "broken")
	<-a.reads
	a.answers <- errBroken
	for _, err := range []error{nil, errBroken} {
		if keys := <-a.reads; len(keys) != 1 {
			t.Fatalf("a read for %q after a broken one, want one key", keys)
		}
		a.answers <- err
	}
	if got := <-came[0]; got != (answer{1, true, nil}) {
		t.Errorf("beside a broken key: %v", got)
	}
	if got := <-came[1]; !errors.Is(got.err, errBroken) {
		t.Errorf("the broken key gave %v", got)
	}

	// The database failed: nobody is asked for again.
	came = a.gathered(t, "1", "2")
	<-a.reads
	a.answers <- errAway
	for i := range came {
		if got := <-came[i]; !errors.Is(got.err, errAway) {
			t.Errorf("without a database look-up %d gave %v", i, got)
		}
	}

	// A caller leaves and the rest go on.
	leaving, leave := context.WithCancel(t.Context())
	left := a.ask(leaving, "1")
	<-a.reads
	leave()
	if got := <-left; !errors.Is(got.err, context.Canceled) {
		t.Errorf("who left got %v", got)
	}
	a.answers <- nil

	// Whoever leaves while the answer is written reads nothing of it: for the race detector.
	for range 50 {
		leaving, leave := context.WithCancel(t.Context())
		left := a.ask(leaving, "1")
		<-a.reads
		go leave()
		a.answers <- nil
		if got := <-left; got != (answer{1, true, nil}) && (got.found || !errors.Is(got.err, context.Canceled)) {
			t.Fatalf("who may have left got %v", got)
		}
	}
	fatal(t, s.Stop(t.Context()))
}

// errBroken is of a row's values, errAway of the whole database.
var (
	errBroken = errors.New("broken")
	errAway   = &sqlite.Error{} // a code that is no row's
)

// TestLookupsOutliveTheStore: who waits when the store stops is answered all the same,
// as those are for whom it never started.
func TestLookupsOutliveTheStore(t *testing.T) {
	t.Parallel()
	a, s := newAsked(t)
	came := a.ask(t.Context(), "7")
	<-a.reads
	a.answers <- nil
	if got := <-came; got != (answer{7, true, nil}) {
		t.Errorf("before the start: %v", got)
	}
	fatal(t, s.Start(t.Context()))
	came = a.ask(t.Context(), "8") // nobody runs
	for len(a.queue) == 0 {        // until it waits
		runtime.Gosched()
	}
	fatal(t, s.Stop(t.Context()))
	<-a.reads
	a.answers <- nil
	if got := <-came; got != (answer{8, true, nil}) {
		t.Errorf("at the stop: %v", got)
	}
}
