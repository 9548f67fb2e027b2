package sqlstore

import (
	"sync"
	"time"
)

const (
	// clockStep is how much more time than this process saw pass may have passed for
	// the database before its clock counts as set forward.
	clockStep = 5 * time.Second
	// stepQuiet is longer than a worker's heartbeat: after it, leases that are held
	// have been extended by the new clock.
	stepQuiet = 20 * time.Second
)

// clockWatch holds the database's clock against this process's monotonic one. A
// lease is as long as the database's clock says, so a clock that is set forward
// lets all lapse at once, held or not: they get the time of a heartbeat to say so.
type clockWatch struct {
	mu       sync.Mutex
	database time.Time
	local    time.Time // with its monotonic reading
	quiet    time.Time
}

// settled takes a reading of the database's clock and says whether it can be
// trusted to tell which leases lapsed. local is this process's time then.
func (c *clockWatch) settled(database, local time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.local.IsZero() && database.Sub(c.database)-local.Sub(c.local) > clockStep {
		c.quiet = local.Add(stepQuiet)
	}
	c.database, c.local = database, local
	return !local.Before(c.quiet)
}
