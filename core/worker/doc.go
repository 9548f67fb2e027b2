// Package worker is the loop that turns due deliveries into outcomes: claim
// fairly, hold the leases, do the work, settle under the lease.
//
// Limits first: it knows no SQL and no provider. What a delivery means is core's;
// which rows are whose is the store's. At most Config.Slots deliveries are under
// way at once. A delivery whose lease was lost is dropped, whatever it came to.
//
//	          wake, timer or free slot
//	claimer ──────────────────────────► Claim ──► one goroutine a delivery
//	keeper  ── every 15 s ──► Extend; a lost lease cancels its delivery
//	reaper  ── every  5 s ──► Reap
package worker
