// Package worker is the loop that turns due deliveries into outcomes: claim
// fairly, hold the leases, do the work, settle under the lease. It also keeps the
// breakers of providers, and sweeps out what has ended long ago.
//
// Limits first: it knows no SQL and no provider. What a delivery means is core's;
// which rows are whose is the store's. At most Config.Slots deliveries are under
// way at once. A delivery whose lease was lost is dropped, whatever it came to.
// Breakers are one process's view and die with it.
//
//	            wake, timer or free slots
//	claimer   ────────────────────────────► Claim ──► one goroutine a delivery
//	keeper    ── every 15 s ──► Extend; a lost lease cancels its delivery
//	reaper    ── every  5 s ──► Reap
//	retainer  ── every  60 s ─► Retain, in batches
//
// Each of them waits 0.1 s to 2 s when the store fails, and says so once. A
// delivery of which nothing could be heard for all but 5 s of its lease is
// cancelled here: by then it may be somebody else's.
package worker
