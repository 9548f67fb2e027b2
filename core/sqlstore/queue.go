package sqlstore

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/passmend/passmend/core"
)

// errStopped is ErrBusy to the caller: nothing was done, and another replica, or
// this one after its restart, will do it.
var errStopped = fmt.Errorf("store is not running: %w", core.ErrBusy)

// queue holds what waits for the next commit.
type queue[T any] chan *entry[T]

// entry is one caller's part of a commit.
type entry[T any] struct {
	value T
	since time.Time
	// trace is that of the caller, as the Observer tells it.
	trace string
	// err is written by the writer before it closes done.
	err  error
	done chan struct{}
	// left: the caller stopped waiting.
	left atomic.Bool
}

func newEntry[T any](value T, trace string) *entry[T] {
	return &entry[T]{value: value, since: time.Now(), trace: trace, done: make(chan struct{})}
}

// of gives the queue to a lane that takes so many, nil to one that takes none.
func (q queue[T]) of(most int) queue[T] {
	if most == 0 {
		return nil
	}
	return q
}

// offer adds an entry unless the queue is full.
func (q queue[T]) offer(e *entry[T]) error {
	select {
	case q <- e:
		return nil
	default:
		return core.ErrBusy
	}
}

// put adds an entry, waiting for room.
func (q queue[T]) put(ctx context.Context, e *entry[T], stopped <-chan struct{}) error {
	select {
	case q <- e:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-stopped:
		return errStopped
	}
}

// take adds to batch what is there, until it holds most entries.
func (q queue[T]) take(batch []*entry[T], most int) []*entry[T] {
	for len(batch) < most {
		select {
		case e := <-q:
			batch = append(batch, e)
		default:
			return batch
		}
	}
	return batch
}

// wait gives what became of the entry. The end of ctx ends the wait only.
func (e *entry[T]) wait(ctx context.Context, stopped <-chan struct{}) error {
	select {
	case <-e.done:
		return e.err
	case <-ctx.Done():
		e.left.Store(true)
		return ctx.Err()
	case <-stopped:
	}
	// The writer may have finished this entry as its last.
	select {
	case <-e.done:
		return e.err
	default:
		return errStopped
	}
}

// release lets the caller go on.
func (e *entry[T]) release(err error) {
	if err != nil {
		e.err = err
	}
	close(e.done)
}
