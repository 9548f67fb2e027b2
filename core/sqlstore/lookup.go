package sqlstore

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// finders answer what is asked for nearly every request.
type finders struct {
	accountBySlug, accountByID *lookups[string, tenants.Account]
	userByAddress              *lookups[rowKey, core.User]
}

func newFinders(s *Store) finders {
	return finders{
		accountBySlug: newLookups(s, s.accountsBySlug),
		accountByID:   newLookups(s, s.accountsByID),
		userByAddress: newLookups(s, s.usersByAddress),
	}
}

// run answers until ctx ends.
func (f finders) run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { f.accountBySlug.run(ctx) })
	running.Go(func() { f.accountByID.run(ctx) })
	running.Go(func() { f.userByAddress.run(ctx) })
	running.Wait()
}

// mostLookups is how many look-ups share a statement.
const mostLookups = 256

// lookup is one caller's question for a row.
type lookup[K comparable, V any] struct {
	key   K
	value V
	found bool
}

// lookups are questions of one kind, answered many at a time: while one statement
// runs, the next one's gather. Nobody lingers. Where nothing runs, each is answered
// by itself.
type lookups[K comparable, V any] struct {
	store *Store
	queue queue[lookup[K, V]]
	// read gives the rows that are there.
	read func(ctx context.Context, keys []K) (map[K]V, error)
}

func newLookups[K comparable, V any](s *Store, read func(ctx context.Context, keys []K) (map[K]V, error)) *lookups[K, V] {
	return &lookups[K, V]{store: s, queue: make(queue[lookup[K, V]], mostLookups), read: read}
}

// one gives the row of a key, if there is one.
func (l *lookups[K, V]) one(ctx context.Context, key K) (value V, found bool, err error) {
	e := newEntry(lookup[K, V]{key: key}, "")
	if w := l.store.writer.Load(); w != nil {
		if err = l.queue.put(ctx, e, w.stopped); err == nil {
			err = e.wait(ctx, w.stopped)
		}
		switch {
		case err == nil:
			return e.value.value, e.value.found, nil
		case !errors.Is(err, errStopped):
			return value, false, err // what is in e may be written just now
		}
		e = newEntry(lookup[K, V]{key: key}, "")
	}
	err = l.answer(ctx, e)
	return e.value.value, e.value.found, err
}

// run answers until ctx ends.
func (l *lookups[K, V]) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-l.queue:
			runtime.Gosched() // see writer.gather
			l.together(context.WithoutCancel(ctx), l.queue.take([]*entry[lookup[K, V]]{e}, mostLookups))
		}
	}
}

// together answers all with one statement. When one key may have broken it for all,
// each is answered by itself.
func (l *lookups[K, V]) together(ctx context.Context, entries []*entry[lookup[K, V]]) {
	answer := func(entries ...*entry[lookup[K, V]]) error {
		return l.store.patiently(ctx, func(ctx context.Context) error { return l.answer(ctx, entries...) })
	}
	err := answer(entries...)
	for _, e := range entries {
		alone := err
		if err != nil && len(entries) > 1 && l.store.fault(err).ofRow() {
			alone = answer(e)
		}
		e.release(alone)
	}
}

func (l *lookups[K, V]) answer(ctx context.Context, entries ...*entry[lookup[K, V]]) error {
	keys := make([]K, len(entries))
	for i, e := range entries {
		keys[i] = e.value.key
	}
	rows, err := l.read(ctx, keys)
	for _, e := range entries {
		e.value.value, e.value.found = rows[e.value.key]
	}
	return err
}
