package worker

import (
	"context"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

const (
	// claimGap is how long a busy worker lets slots gather after a claim: a claim is
	// a turn of the store's writer, and one for each slot would be most of its work.
	claimGap = 5 * time.Millisecond
	// shareOfSlots: a worker is busy while this part of its slots is, and claims
	// within the gap when this part has become free.
	shareOfSlots = 4
	claimTimeout = 10 * time.Second
	leastWait    = time.Millisecond
)

// claimer asks for work, one claim after the other.
type claimer struct {
	w      *Worker
	cursor tenants.AccountID
	asked  time.Time // when it last did
	outage outage
}

// run claims until claiming ends. A claim that is under way then is not broken off,
// as nobody would know what it leased: what it brings is given back.
func (c *claimer) run(claiming, work context.Context) {
	for claiming.Err() == nil {
		claim, free, inFlight, err := c.claim(work)
		switch {
		case err != nil && work.Err() != nil:
			return
		case err != nil:
			pause(claiming, c.outage.failed(work, err))
			continue
		case claiming.Err() != nil:
			c.w.release(work, claim.Deliveries)
			return
		}
		c.outage.over(work)
		for _, delivery := range claim.Deliveries {
			c.w.begin(work, delivery, c.asked)
		}
		if again(claim, free, inFlight) {
			continue
		}
		most := c.w.c.Poll
		if claim.Next > 0 {
			most = min(max(claim.Next, leastWait), most)
		}
		c.wait(claiming, claim.Full, most)
	}
}

// claim asks for as many rows as there are free slots.
func (c *claimer) claim(ctx context.Context) (claim core.Claim, free int, inFlight map[tenants.AccountID]int, err error) {
	c.asked = time.Now()
	free, inFlight = c.w.slots()
	if free == 0 {
		return core.Claim{Full: true}, free, inFlight, nil
	}
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	claim, err = c.w.c.Queue.Claim(ctx, core.ClaimAsk{Cursor: c.cursor, Free: free, InFlight: inFlight})
	if err == nil {
		c.cursor = claim.Cursor
	}
	return claim, free, inFlight, err
}

// again says whether another claim would bring more at once: there was more than
// it brought, slots are free, and one of its accounts may still take some.
func again(claim core.Claim, free int, inFlight map[tenants.AccountID]int) bool {
	free -= len(claim.Deliveries)
	if !claim.Full || free <= 0 {
		return false
	}
	taken := make(map[tenants.AccountID]int)
	for _, delivery := range claim.Deliveries {
		taken[delivery.Account]++
	}
	for account, count := range taken {
		if inFlight[account]+count < free {
			return true
		}
	}
	return false
}

// wait returns when a claim is worth it: upon a wake, when a slot has become free
// if more work waits for one (full), or after at most so long; a busy worker
// gathers.
func (c *claimer) wait(claiming context.Context, full bool, most time.Duration) {
	free := c.w.free
	if !full {
		free = nil
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-claiming.Done():
		return
	case <-c.w.wake:
	case <-free:
	case <-timer.C:
	}
	timer.Reset(claimGap - time.Since(c.asked))
	for !c.w.roomy() {
		select {
		case <-claiming.Done():
			return
		case <-c.w.free:
		case <-timer.C:
			return
		}
	}
}

// slots gives the free slots and what each account has in flight, and begins to
// count anew what becomes free.
func (w *Worker) slots() (free int, inFlight map[tenants.AccountID]int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.free:
	default:
	}
	w.freed = 0
	inFlight = make(map[tenants.AccountID]int)
	for _, r := range w.running {
		inFlight[r.account]++
	}
	return max(w.c.Slots-len(w.running), 0), inFlight
}

// roomy says whether a claim is worth it at once: the worker is not busy, or has
// a good part of its slots to fill.
func (w *Worker) roomy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hasRoom()
}

func (w *Worker) hasRoom() bool {
	share := w.c.Slots / shareOfSlots
	return len(w.running) <= share || w.freed >= share
}
