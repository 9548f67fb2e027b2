package smtp

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/smtp/smtptest"
)

func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Options{TLS: "starttls"})
	provider := newProvider(t)
	for range 5 {
		if _, err := provider.Send(t.Context(), requestTo(server.Settings(""), testMail())); err != nil {
			t.Fatal(err)
		}
	}
	if got := server.Connections(); got != 1 || len(server.Messages()) != 5 {
		t.Errorf("%d connections for %d messages, want 1 for 5", got, len(server.Messages()))
	}
}

func TestOneUseOpensAtMostSixteenConnections(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Options{})
	provider := newProvider(t)
	var sending sync.WaitGroup
	var failed atomic.Int64
	for range 100 {
		sending.Go(func() {
			if _, err := provider.Send(t.Context(), requestTo(server.Settings(""), testMail())); err != nil {
				failed.Add(1)
			}
		})
	}
	sending.Wait()
	if failed.Load() != 0 || len(server.Messages()) != 100 || server.Connections() > maxPerKey {
		t.Errorf("%d failed, %d taken over %d connections", failed.Load(), len(server.Messages()), server.Connections())
	}
}

func TestWaitingForAConnectionEndsWithTheDeadline(t *testing.T) {
	t.Parallel()
	p := newPool()
	var slots []*slot
	for range maxPerKey {
		s, err := p.enter(t.Context(), [32]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		slots = append(slots, s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := p.enter(ctx, [32]byte{1})
	failure := failureOf(&stageError{stage: stageWait, err: err}, newTimer())
	if err == nil || failure.Kind != sdk.Temporary {
		t.Errorf("enter = %v, %s", err, failure.Kind)
	}
	if _, err := p.enter(ctx, [32]byte{2}); err != nil {
		t.Errorf("another use waits too: %v", err)
	}
	for _, s := range slots {
		s.leave(nil)
	}
	if len(p.buckets) != 1 { // the other use's
		t.Errorf("%d buckets left", len(p.buckets))
	}
}

// A kept connection that died is replaced once, as long as nothing was taken.
func TestAStaleConnectionIsReplacedOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		verb, reply string
		want        sdk.Outcome
		connections int
	}{
		{"RSET", smtptest.Close, sdk.Accepted, 2},
		{"RSET", "421 idle too long", sdk.Accepted, 2},
		{"RSET", "502 what", sdk.Accepted, 2},
		{"MAIL", smtptest.Close, sdk.Accepted, 2},
		{"MAIL", "421 closing", sdk.Accepted, 2},
		{"RCPT", smtptest.Close, sdk.Accepted, 2},
		{"DATA", smtptest.Close, sdk.Accepted, 2},
		{"MAIL", "451 later", sdk.Temporary, 1},
		{"RCPT", "550 unknown", sdk.RecipientRefused, 1},
		// The control: after the dot nothing is repeated.
		{smtptest.Dot, smtptest.Close, sdk.Unknown, 1},
	} {
		t.Run(c.verb+" "+c.reply, func(t *testing.T) {
			t.Parallel()
			var sent atomic.Int64
			server := smtptest.StartScripted(t, func(connection int, verb string) string {
				if verb == c.verb && connection == 1 && sent.Load() == 1 {
					return c.reply
				}
				return ""
			})
			provider := newProvider(t)
			request := requestTo(scriptedSettings(server), testMail())
			if _, err := provider.Send(t.Context(), request); err != nil {
				t.Fatal(err)
			}
			sent.Store(1)
			_, err := provider.Send(t.Context(), request)
			if kindOf(err) != c.want || server.Connections() != c.connections {
				t.Errorf("outcome %s over %d connections, want %s over %d", kindOf(err), server.Connections(), c.want, c.connections)
			}
		})
	}
}

func TestAFreshConnectionThatFailsIsNotRepeated(t *testing.T) {
	t.Parallel()
	server := smtptest.StartScripted(t, func(_ int, verb string) string {
		if verb == "MAIL" {
			return smtptest.Close
		}
		return ""
	})
	_, err := newProvider(t).Send(t.Context(), requestTo(scriptedSettings(server), testMail()))
	if kindOf(err) != sdk.Temporary || server.Connections() != 1 {
		t.Errorf("outcome %s over %d connections", kindOf(err), server.Connections())
	}
}

func TestARefusalLeavesTheConnectionUsable(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Options{Refuse: func(stage, to string) *smtptest.Reply {
		if stage == "rcpt" && to == "nobody@example.com" {
			return &smtptest.Reply{Code: 550, Enhanced: [3]int{5, 1, 1}, Text: "unknown"}
		}
		return nil
	}})
	provider := newProvider(t)
	for i, to := range []string{"nobody@example.com", "ada@example.com", "nobody@example.com", "eve@example.com"} {
		m := testMail()
		m.To.Address = to
		want := []sdk.Outcome{sdk.RecipientRefused, sdk.Accepted}[i%2]
		if _, err := provider.Send(t.Context(), requestTo(server.Settings(""), m)); kindOf(err) != want {
			t.Errorf("%s: %v", to, err)
		}
	}
	var to []string
	for _, message := range server.Messages() {
		to = append(to, fmt.Sprint(message.To))
	}
	if server.Connections() != 1 || fmt.Sprint(to) != "[[ada@example.com] [eve@example.com]]" {
		t.Errorf("%d connections, taken %v", server.Connections(), to)
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	var bye atomic.Int64
	server := smtptest.StartScripted(t, func(_ int, verb string) string {
		if verb == "QUIT" {
			bye.Add(1)
		}
		return ""
	})
	provider := newProvider(t)
	provider.pool.idleTimeout = 20 * time.Millisecond
	if _, err := provider.Send(t.Context(), requestTo(scriptedSettings(server), testMail())); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); bye.Load() == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no QUIT")
		}
	}
	provider.pool.mu.Lock()
	defer provider.pool.mu.Unlock()
	if provider.pool.idle != 0 || len(provider.pool.buckets) != 0 {
		t.Errorf("%d idle, %d buckets", provider.pool.idle, len(provider.pool.buckets))
	}
}

// Another password must not ride on a connection that the right one opened.
func TestAConnectionIsNotSharedAcrossPasswords(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Options{TLS: "starttls", Users: map[string]string{"ada": "right"}})
	provider := newProvider(t)
	request := requestTo(server.Settings(`,"username":"ada"`), testMail())
	if _, err := provider.Send(t.Context(), withPassword(request, "right")); err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Send(t.Context(), withPassword(request, "wrong")); kindOf(err) != sdk.AuthenticationFailed {
		t.Errorf("outcome = %s", kindOf(err))
	}
}

func TestAfterCloseNothingIsKept(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Options{})
	provider := New()
	provider.Close()
	if _, err := provider.Send(t.Context(), requestTo(server.Settings(""), testMail())); err != nil {
		t.Fatal(err)
	}
	if provider.pool.idle != 0 {
		t.Errorf("%d idle", provider.pool.idle)
	}
}
