package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// While deliveries are held everything is accepted and nothing is sent; released,
// everything arrives once, no faster than asked for.
func TestHeldDeliveriesWaitAndThenArrive(t *testing.T) {
	t.Parallel()
	const people, rate = 12, 8
	for scope, flags := range map[string][]string{
		"everything": {"--all"}, "an account": {"--account", "acme"}, "a provider": {"--provider", "relay"},
	} {
		t.Run(scope, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, limitsOff...)
			for i := range people {
				s.createUser("acme", fmt.Sprintf("u%d@example.com", i), "an old one, forgotten")
			}
			s.serve()
			s.forget("ada@example.com")
			s.resetMail(1)
			s.must(append([]string{"hold"}, flags...)...)
			if scope == "a provider" {
				time.Sleep(time.Second) // a server hears of it within 250 ms
			}
			for i := range people {
				s.forget(fmt.Sprintf("u%d@example.com", i))
			}
			list := func() string { return s.must("hold", "list") }
			s.eventually("all of them wait", func() bool {
				return strings.Contains(strings.Join(strings.Fields(list()), " "), fmt.Sprintf(" %d 0", people))
			})
			if n := len(s.mailbox.Messages()); n != 1 {
				t.Fatalf("%d mails, want the one from before:\n%s", n, list())
			}
			began := time.Now()
			s.must(append([]string{"release", "--rate", fmt.Sprint(rate)}, flags...)...)
			s.eventually("all of them have arrived", func() bool { return len(s.mailbox.Messages()) >= people+1 })
			if took, least := time.Since(began), (people-1)*time.Second/rate; took < least {
				t.Errorf("they arrived within %s, at %d a second it takes %s", took, rate, least)
			}
			s.eventually("the hold is gone", func() bool { return !strings.Contains(list(), "draining") })
			if n := len(s.mailbox.Messages()); n != people+1 {
				t.Errorf("%d mails, want %d", n, people+1)
			}
			if !strings.Contains(s.metrics(), "passmend_ledger_imbalance 0") {
				t.Error("the ledger does not balance")
			}
		})
	}
}

func TestHoldNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.refuses(2, "give --all", "hold")
	s.refuses(2, "give --all", "hold", "--all", "--account", "acme")
	s.refuses(2, "--rate: must be 1 to 10000", "release", "--all", "--rate", "0")
	s.refuses(1, "no account", "hold", "--account", "none")
	s.refuses(1, "no provider", "hold", "--provider", "none")
	s.refuses(1, "no such hold", "release", "--all")
}
