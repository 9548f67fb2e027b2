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

func TestConnectionsAreOpenedAsNeededAndNotBeyondTheSetting(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, setting string
		atOnce, want  int
	}{
		{"one after the other", "", 1, 1},
		{"as many as are under way", "", 40, 40},
		{"no more than the setting", `,"connections":5`, 40, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			// Nothing is taken before as many are there as there should be.
			var arrived atomic.Int64
			full := make(chan struct{})
			server := smtptest.Start(t, smtptest.Options{Refuse: func(stage, _ string) *smtptest.Reply {
				if stage == "data" {
					if arrived.Add(1) == int64(c.want) {
						close(full)
					}
					<-full
				}
				return nil
			}})
			provider := newProvider(t)
			if failed := sendAtOnce(t, provider, requestTo(server.Settings(c.setting), testMail()), c.atOnce); failed != 0 {
				t.Errorf("%d failed", failed)
			}
			if got := server.Peak(); got != c.want || len(server.Messages()) != c.atOnce {
				t.Errorf("%d connections for %d messages, want %d for %d", got, len(server.Messages()), c.want, c.atOnce)
			}
		})
	}
}

// sendAtOnce gives the number of failures.
func sendAtOnce(t *testing.T, provider *Provider, request sdk.SendRequest, n int) int64 {
	t.Helper()
	var sending sync.WaitGroup
	var failed atomic.Int64
	for range n {
		sending.Go(func() {
			if _, err := provider.Send(t.Context(), request); err != nil {
				failed.Add(1)
			}
		})
	}
	sending.Wait()
	return failed.Load()
}

// 64 is as much as the host lets one account have under way.
func TestHangingMailsDoNotKeepAnothersFromTheServer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, setting string
		want          sdk.Outcome
	}{
		{"default", "", sdk.Accepted},
		// The control: as few connections as hang.
		{"64 connections", `,"connections":64`, sdk.Temporary},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const hanging = 64
			var hang sync.WaitGroup
			hang.Add(hanging)
			over := make(chan struct{})
			server := smtptest.Start(t, smtptest.Options{Refuse: func(stage, to string) *smtptest.Reply {
				if stage == "rcpt" && to == "hog@example.com" {
					hang.Done()
					<-over
				}
				return nil
			}})
			provider := newProvider(t)
			var hog sync.WaitGroup
			defer hog.Wait()
			defer close(over)
			for range hanging {
				hog.Go(func() {
					m := testMail()
					m.To.Address = "hog@example.com"
					_, _ = provider.Send(t.Context(), requestTo(server.Settings(c.setting), m))
				})
			}
			hang.Wait()
			patience := 20 * time.Second
			if c.want != sdk.Accepted {
				patience = 100 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if _, err := provider.Send(ctx, requestTo(server.Settings(c.setting), testMail())); kindOf(err) != c.want {
				t.Errorf("outcome = %s (%v), want %s", kindOf(err), err, c.want)
			}
		})
	}
}

func TestWaitingForAConnectionEndsWithTheDeadline(t *testing.T) {
	t.Parallel()
	p := newPool()
	first, err := p.enter(t.Context(), [32]byte{1}, 1, sdk.Mailbox{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = p.enter(ctx, [32]byte{1}, 1, sdk.Mailbox{})
	failure := failureOf(&stageError{stage: stageWait, err: err}, newTimer())
	if err == nil || failure.Kind != sdk.Temporary {
		t.Errorf("enter = %v, %s", err, failure.Kind)
	}
	other, err := p.enter(t.Context(), [32]byte{2}, 1, sdk.Mailbox{})
	if err != nil {
		t.Errorf("another use waits too: %v", err)
	}
	first.leave(nil)
	other.leave(nil)
	if len(p.buckets) != 0 {
		t.Errorf("%d buckets left", len(p.buckets))
	}
}

// A server that takes few connections gets few, and every message all the same.
func TestAServerThatRefusesConnectionsIsBelieved(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Options{MaxOpen: 3})
	provider := newProvider(t)
	request := requestTo(server.Settings(""), testMail())
	if failed := sendAtOnce(t, provider, request, 40); failed != 0 || len(server.Messages()) != 40 {
		t.Errorf("%d failed, %d taken", failed, len(server.Messages()))
	}
	refused := server.Refused()
	if refused == 0 {
		t.Error("the server refused nothing: the test shows nothing")
	}
	if failed := sendAtOnce(t, provider, request, 40); failed != 0 || server.Refused() != refused {
		t.Errorf("%d failed, %d more refused", failed, server.Refused()-refused)
	}
	// A while later some more are tried, and refused again.
	provider.pool.mu.Lock()
	provider.pool.growAfter = 0
	provider.pool.mu.Unlock()
	if failed := sendAtOnce(t, provider, request, 40); failed != 0 || server.Refused() == refused {
		t.Errorf("%d failed, %d more refused", failed, server.Refused()-refused)
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
		eachWay(t, c.verb+" "+c.reply, func(t *testing.T, greeted string) {
			var sent atomic.Int64
			server := smtptest.StartScripted(t, func(connection int, verb string) string {
				if verb == c.verb && connection == 1 && sent.Load() == 1 {
					return c.reply
				}
				if verb == "EHLO" {
					return greeted
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
			if kindOf(err) != c.want {
				t.Errorf("outcome %s, want %s", kindOf(err), c.want)
			}
			if server.Connections() != c.connections {
				t.Errorf("%d connections, want %d", server.Connections(), c.connections)
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
