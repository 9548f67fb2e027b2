package bench

import (
	"context"
	"time"
)

// takeover kills a server that is in the middle of a mail and measures until the
// sink has taken the mail from another: on PostgreSQL from a second replica that
// waits for the lease, on SQLite from the same server started again.
func (b *bench) takeover(ctx context.Context) error {
	goal := atMost(75)
	other := b.figure("killed worker's mail taken over by another replica", "s", goal)
	into, times := other, 1
	if b.sqlite() {
		other.Skipped = "two replicas need PostgreSQL; one SQLite file has one server"
		into = b.figure("killed server's mail sent after a restart", "s", goal)
		times = b.Repeat
	} else {
		other.Note = "once: the wait is the lease's 60 s, not the machine's"
	}
	return b.withSite(ctx, func(ctx context.Context, s *site) error {
		to, err := newSink()
		if err != nil {
			return err
		}
		defer to.close()
		if err := s.platform(ctx, 1, ordinaryUsers, to); err != nil {
			return err
		}
		for i := range times {
			b.say("takeover: %d of %d", i+1, times)
			took, err := s.killInTheMiddle(ctx, to, s.target(i))
			if err != nil {
				return err
			}
			into.add(took.Seconds())
		}
		return nil
	})
}

func (s *site) killInTheMiddle(ctx context.Context, to *sink, who target) (time.Duration, error) {
	to.delay.Store(int64(time.Hour))
	defer to.delay.Store(0)
	begun, taken := to.begun.Load(), to.taken.Load()
	first, err := s.serve(ctx)
	if err != nil {
		return 0, err
	}
	killed := false
	defer func() {
		if !killed {
			first.kill()
		}
	}()
	c, err := dial(ctx, first.http)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := c.ask(who); err != nil {
		return 0, err
	}
	if err := reaches(ctx, &to.begun, begun+1); err != nil {
		return 0, err
	}
	to.delay.Store(0)
	var second *process
	if !s.b.sqlite() {
		if second, err = s.serve(ctx); err != nil {
			return 0, err
		}
		defer second.stop()
	}
	began := time.Now()
	first.kill()
	killed = true
	if second == nil {
		if second, err = s.serve(ctx); err != nil {
			return 0, err
		}
		defer second.stop()
	}
	err = reaches(ctx, &to.taken, taken+1)
	return time.Since(began), err
}
