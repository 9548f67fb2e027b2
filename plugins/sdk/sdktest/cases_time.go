package sdktest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

var timeCases = []Case{
	{"A deadline is honoured", nothing, deadline},
	{"A cancellation is honoured", nothing, cancellation},
	{"A call that is over before it begins sends nothing", nothing, overBefore},
	{"A server that hangs does not hold up other calls", nothing, apartFromStalled},
	{"64 calls at once are each delivered once", nothing, concurrent},
}

// patience is how long a call may go on beyond its end.
const patience = 3 * time.Second

// ended makes a call that must be over soon; false: it still runs.
func ended(ctx context.Context, within time.Duration, call func(context.Context) error) (over bool, err error) {
	done := make(chan error, 1)
	go func() { done <- call(ctx) }()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case err := <-done:
		return true, err
	case <-timer.C:
		return false, errors.New("the call is still running")
	}
}

func deadline(r *run) {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	r.stalled(ctx)
}

func cancellation(r *run) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	timer := time.AfterFunc(300*time.Millisecond, cancel)
	defer timer.Stop()
	r.stalled(ctx)
}

func (r *run) stalled(ctx context.Context) {
	request := r.stalledRequest()
	over, err := ended(ctx, patience, func(ctx context.Context) error {
		_, err := r.trySend(ctx, request)
		return err
	})
	if !over {
		r.errorf("Send is still running %s after it began", patience)
	}
	if err == nil {
		r.errorf("a receipt from a server that never answered")
	}
}

func overBefore(r *run) {
	request, count := r.deliverable("over")
	ctx, cancel := r.context()
	cancel()
	if _, err := r.trySend(ctx, request); err == nil {
		r.errorf("a receipt")
	}
	time.Sleep(50 * time.Millisecond)
	if n := count(); n != 0 {
		r.errorf("%d messages arrived", n)
	}
}

func apartFromStalled(r *run) {
	ctx, cancel := r.context()
	var sending sync.WaitGroup
	for range 16 {
		request := r.stalledRequest()
		sending.Go(func() { _, _ = r.trySend(ctx, request) })
	}
	time.Sleep(50 * time.Millisecond)
	request, count := r.deliverable("beside")
	over, err := ended(ctx, patience, func(ctx context.Context) error {
		_, err := r.trySend(ctx, request)
		return err
	})
	if err != nil {
		r.errorf("beside 16 calls that hang: %v", err)
	}
	cancel()
	sending.Wait()
	if !over || err != nil {
		return
	}
	if n := eventually(1, count); n != 1 {
		r.errorf("%d messages arrived, want 1", n)
	}
}

func concurrent(r *run) {
	const n = 64
	var sending sync.WaitGroup
	var mu sync.Mutex
	counts := make([]func() int, n)
	requests := make([]sdk.SendRequest, n)
	for i := range n {
		requests[i], counts[i] = r.deliverable(fmt.Sprint("concurrent-", i))
	}
	for i := range n {
		sending.Go(func() {
			ctx, cancel := r.context()
			defer cancel()
			if _, err := r.trySend(ctx, requests[i]); err != nil {
				mu.Lock()
				defer mu.Unlock()
				r.errorf("call %d: %s", i, tell(err))
			}
		})
	}
	sending.Wait()
	for i, count := range counts {
		if got := eventually(1, count); got != 1 {
			r.errorf("message %d arrived %d times", i, got)
		}
	}
}
