package pgtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ErrNoClock: the library that gives a server a clock of its own is not installed.
var ErrNoClock = errors.New("no libfaketime in /usr/lib/*/faketime (Debian: libfaketime)")

// OwnClock lets the server, from its next start on, read a clock that SetClock
// moves. Only the wall clock: timeouts go on by the machine's. ErrNoClock.
func (c *Cluster) OwnClock() error {
	found, err := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	if err != nil || len(found) == 0 {
		return ErrNoClock
	}
	c.clock = []string{
		"LD_PRELOAD=" + found[0], "FAKETIME_TIMESTAMP_FILE=" + c.clockFile(),
		// Else each process goes on for a while by the offset that it read last, and a
		// step is none.
		"FAKETIME_NO_CACHE=1",
		"FAKETIME_DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1",
	}
	return c.SetClock(0)
}

// SetClock steps the server's clock, of all its processes at once, to so far from
// the machine's, in whole seconds.
func (c *Cluster) SetClock(offset time.Duration) error {
	next := c.clockFile() + ".next"
	if err := c.write(next, fmt.Sprintf("%+d\n", int(offset.Seconds()))); err != nil {
		return err
	}
	return os.Rename(next, c.clockFile()) // a reader finds the one or the other
}

func (c *Cluster) clockFile() string { return filepath.Join(c.dir, "clock") }
