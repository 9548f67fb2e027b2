package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/smtp"
)

const (
	// underWay bounds the requests that were asked for and not yet mailed, so that
	// accepting and mailing go at one pace and the queue stays short.
	underWay = 512
	// arriveTime is how long the last mails may take after the load has ended.
	arriveTime = 90 * time.Second
	// askRate is the pace of the measure from request to mail, per second, and
	// askTimes how many lengths of a repeat it lasts.
	askRate  = 5
	askTimes = 4
)

// mails measures how many mails go from request to the sink in a second, and what
// they cost the server.
func (b *bench) mails(ctx context.Context) error {
	alone := b.limit("SMTP provider alone, without a server, 16 at once", "1/s")
	rate := b.figure("mails end to end, request to the sink's 250", "1/s", atLeast(3000))
	rate.Note = fmt.Sprintf("at most %d requests under way; every request's mail arrived", underWay)
	cpu := b.figure("server CPU for 1,000 mails, plugin included", "s", atMost(0.5))
	plugin := b.figure("of which the plugin", "s", nil)
	return b.withSite(ctx, func(ctx context.Context, s *site) error {
		to, err := newSink()
		if err != nil {
			return err
		}
		defer to.close()
		if err := s.platform(ctx, ordinaryAccounts, ordinaryUsers, to); err != nil {
			return err
		}
		err = b.repeats("mails", func() error {
			lone, err := b.providerAlone(ctx, to)
			if err != nil {
				return fmt.Errorf("SMTP provider alone: %w", err)
			}
			alone.add(lone)
			return s.served(ctx, func(p *process) error {
				m, err := b.mailing(ctx, s, p, to)
				if err != nil {
					return err
				}
				rate.add(m.perSecond)
				if m.mails > 0 && m.cpu > 0 {
					cpu.add((m.cpu + m.plugins).Seconds() / m.mails * 1000)
					plugin.add(m.plugins.Seconds() / m.mails * 1000)
				}
				return nil
			})
		})
		if err != nil || b.Profiles == "" {
			return err
		}
		return s.served(ctx, func(p *process) error {
			return b.profiled(ctx, p, "mails", func(ctx context.Context) error {
				_, err := b.mailing(ctx, s, p, to)
				return err
			})
		})
	})
}

type mailing struct {
	perSecond, mails float64
	cpu, plugins     time.Duration
}

// mailing runs the load until every request of it has been mailed, and measures
// the time between the warm-up and the end of asking.
func (b *bench) mailing(ctx context.Context, s *site, p *process, to *sink) (m mailing, err error) {
	before := to.taken.Load()
	places := make(chan struct{}, underWay)
	to.tell(func(string, time.Time) {
		select {
		case <-places:
		default: // a mail that came twice
		}
	})
	var asked atomic.Int64
	next := s.spread()
	l := s.load(p, connections)
	l.warm *= 2
	l.next = func() target { asked.Add(1); return next() }
	l.gate = func(ctx context.Context) bool {
		select {
		case places <- struct{}{}:
			return true
		case <-ctx.Done():
			return false
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var measuring sync.WaitGroup
	var measured error
	measuring.Go(func() { m, measured = b.measureMailing(ctx, l, p, to) })
	_, err = l.run(ctx)
	if err != nil {
		cancel()
	}
	measuring.Wait()
	if err := errors.Join(err, measured); err != nil {
		return m, err
	}
	return m, arrived(ctx, func() int64 { return asked.Load() - (to.taken.Load() - before) })
}

func (b *bench) measureMailing(ctx context.Context, l load, p *process, to *sink) (m mailing, err error) {
	if !pause(ctx, l.warm) {
		return m, ctx.Err()
	}
	// Without /proc there is a rate and no processor time.
	cpu, plugins, noCPU := p.cpu()
	taken, began := to.taken.Load(), time.Now()
	if !pause(ctx, l.length) {
		return m, ctx.Err()
	}
	// A rate of none is no figure: where a mail takes longer, the measure does too.
	for to.taken.Load() == taken && time.Since(began) < arriveTime {
		if !pause(ctx, 10*time.Millisecond) {
			return m, ctx.Err()
		}
	}
	m.mails = float64(to.taken.Load() - taken)
	m.perSecond = m.mails / time.Since(began).Seconds()
	if noCPU == nil {
		cpuAfter, pluginsAfter, err := p.cpu()
		if err != nil {
			return m, err
		}
		m.cpu, m.plugins = cpuAfter-cpu, pluginsAfter-plugins
	}
	return m, nil
}

// arrived waits until nothing is missing any more.
func arrived(ctx context.Context, missing func() int64) error {
	deadline := time.Now().Add(arriveTime)
	for missing() > 0 {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d requests were accepted and not mailed within %s", missing(), arriveTime)
		}
		if !pause(ctx, 10*time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}

// providerAlone sends with the provider's own code in this process, at as many
// connections as it keeps.
func (b *bench) providerAlone(ctx context.Context, to *sink) (float64, error) {
	const senders = 16
	provider := smtp.New()
	to.tell(func(string, time.Time) {})
	settings := sdk.Settings{Values: to.settings()}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	length := min(b.Length, 2*time.Second)
	end := time.Now().Add(length)
	var sent atomic.Int64
	var wait sync.WaitGroup
	for range senders {
		wait.Go(func() {
			for ctx.Err() == nil && time.Now().Before(end) {
				_, err := provider.Send(ctx, sdk.SendRequest{IdempotencyKey: b.NewID(), Settings: settings, Mail: someMail(b.NewID())})
				if err != nil {
					cancel(err)
				}
				sent.Add(1)
			}
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return float64(sent.Load()) / length.Seconds(), nil
}

// someMail has about the size of a real one.
func someMail(id string) *sdk.Mail {
	text := make([]byte, 0, 4<<10)
	for len(text) < 1<<10 {
		text = append(text, "Somebody asked for a new password for this account.\n"...)
	}
	html := text
	for len(html) < 4<<10 {
		html = append(html, "<p>Somebody asked for a new password for this account.</p>\n"...)
	}
	return &sdk.Mail{
		From: sdk.Mailbox{Name: "Bench", Address: "no-reply@bench.example"}, To: sdk.Mailbox{Address: "ada@bench.example"},
		Subject: "Reset your password", Text: string(text), HTML: string(html), MessageID: id + "@bench.example",
	}
}

// latency measures from a request to the sink's 250 when the machine is at ease.
func (b *bench) latency(ctx context.Context) error {
	p50 := b.figure(fmt.Sprintf("request to mail at %d requests/s, p50", askRate), "ms", atMost(6))
	p99 := b.figure(fmt.Sprintf("request to mail at %d requests/s, p99", askRate), "ms", atMost(15))
	p99.Note = fmt.Sprintf("%d samples a repeat", int(askRate*askTimes*b.Length.Seconds()))
	return b.withSite(ctx, func(ctx context.Context, s *site) error {
		to, err := newSink()
		if err != nil {
			return err
		}
		defer to.close()
		if err := s.platform(ctx, ordinaryAccounts, ordinaryUsers, to); err != nil {
			return err
		}
		return s.served(ctx, func(p *process) error {
			next := s.spread()
			if _, err := paced(ctx, p.http, next, to, askRate, 2*warmUp); err != nil {
				return err
			}
			return b.repeats("request to mail", func() error {
				took, err := paced(ctx, p.http, next, to, askRate, askTimes*b.Length)
				if err == nil {
					p50.add(milliseconds(took.quantile(0.5)))
					p99.add(milliseconds(took.quantile(0.99)))
				}
				return err
			})
		})
	})
}

// paced asks at a steady pace on one connection and gives the times from asking to
// the sink's 250, once all mails are there.
func paced(ctx context.Context, address string, next func() target, to *sink, perSecond int, length time.Duration) (samples, error) {
	c, err := dial(ctx, address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(length + answerTime)); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var took samples
	asked := make(map[string]time.Time)
	to.tell(func(recipient string, at time.Time) {
		mu.Lock()
		defer mu.Unlock()
		if since, known := asked[recipient]; known {
			took = append(took, at.Sub(since))
			delete(asked, recipient)
		}
	})
	interval := time.Second / time.Duration(perSecond)
	began := time.Now()
	for due := began; due.Sub(began) < length; due = due.Add(interval) {
		if !pause(ctx, time.Until(due)) {
			return nil, ctx.Err()
		}
		who := next()
		mu.Lock()
		asked[who.address] = time.Now()
		mu.Unlock()
		if err := c.ask(who); err != nil {
			return nil, err
		}
	}
	err = arrived(ctx, func() int64 {
		mu.Lock()
		defer mu.Unlock()
		return int64(len(asked))
	})
	mu.Lock()
	defer mu.Unlock()
	return took, err
}
