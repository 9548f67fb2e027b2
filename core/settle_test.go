package core

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/plugins/sdk"
)

func TestSettle(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	failed := func(kind sdk.Outcome) error { return &sdk.Failure{Kind: kind, Public: "why"} }
	for _, c := range []struct {
		name     string
		chain    []string
		provider string
		attempt  int
		err      error
		state    DeliveryState
		reason   Reason
		next     string
		delay    time.Duration // without jitter
	}{
		{"accepted", []string{"a"}, "a", 1, nil, DeliveryDone, "", "", 0},
		{"a refused address goes to the next at once", []string{"a", "b"}, "a", 1, failed(sdk.RecipientRefused), DeliveryQueued, "", "b", 0},
		{"an address that all refuse has failed", []string{"a", "b"}, "b", 2, failed(sdk.RecipientRefused), DeliveryFailed, ReasonRecipientRefused, "b", 0},
		{"content that all refuse has failed", []string{"a"}, "a", 1, failed(sdk.ContentRefused), DeliveryFailed, ReasonContentRefused, "a", 0},
		{"misconfigured goes to the next at once", []string{"a", "b"}, "a", 1, failed(sdk.Misconfigured), DeliveryQueued, "", "b", 0},
		{"misconfigured everywhere waits to be mended", []string{"a"}, "a", 1, failed(sdk.AuthenticationFailed), DeliveryQueued, "", "a", time.Second},
		{"temporary is tried again where it was", []string{"a", "b"}, "a", 1, failed(sdk.Temporary), DeliveryQueued, "", "a", time.Second},
		{"temporary twice goes to the next", []string{"a", "b"}, "a", 2, failed(sdk.Temporary), DeliveryQueued, "", "b", 5 * time.Second},
		{"unknown is held, then goes to the next", []string{"a", "b"}, "a", 1, failed(sdk.Unknown), DeliveryQueued, "", "b", holdTime},
		{"unknown with one provider is held", []string{"a"}, "a", 1, failed(sdk.Unknown), DeliveryQueued, "", "a", holdTime},
		{"an error of no kind is unknown", []string{"a"}, "a", 1, errors.New("boom"), DeliveryQueued, "", "a", holdTime},
		{"rate limited waits as told", []string{"a"}, "a", 1, &sdk.Failure{Kind: sdk.RateLimited, RetryAfter: 7 * time.Minute}, DeliveryQueued, "", "a", 7 * time.Minute},
		{"a long quota goes to the next", []string{"a", "b"}, "a", 1, &sdk.Failure{Kind: sdk.QuotaExhausted, Until: now.Add(40 * time.Minute)}, DeliveryQueued, "", "b", 40 * time.Minute},
		{"never past the hour at which the link is dead", []string{"a"}, "a", 1, &sdk.Failure{Kind: sdk.RateLimited, RetryAfter: 2 * time.Hour}, DeliveryExpired, "", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			delivery := Delivery{Attempt: c.attempt, Provider: c.provider, Now: now, NotAfter: now.Add(time.Hour)}
			got := settle(delivery, c.chain, c.provider, sdk.Receipt{Outcome: sdk.Accepted}, c.err, time.Millisecond)
			if got.State != c.state || got.Reason != c.reason || got.Provider != c.next {
				t.Errorf("got %s %q to %q, want %s %q to %q", got.State, got.Reason, got.Provider, c.state, c.reason, c.next)
			}
			if low, high := c.delay*8/10, c.delay*12/10; got.Delay < low || got.Delay > high {
				t.Errorf("delay %s, want %s to %s", got.Delay, low, high)
			}
			if got.Attempt == nil || got.Attempt.Provider != c.provider || got.Attempt.Outcome == "" {
				t.Errorf("the attempt is recorded as %+v", got.Attempt)
			}
		})
	}
}

func TestRetryDelayGrowsToHalfAnHour(t *testing.T) {
	t.Parallel()
	var got []time.Duration
	for attempt := range 9 {
		got = append(got, RetryDelay(attempt+1).Round(time.Second))
		base := retryAfter[min(attempt, len(retryAfter)-1)]
		if d := got[attempt]; d < base*8/10-time.Second || d > base*12/10+time.Second {
			t.Errorf("after attempt %d: %s, want about %s", attempt+1, d, base)
		}
	}
	if RetryDelay(0) > 2*time.Second || RetryDelay(-5) > 2*time.Second {
		t.Error("an attempt below 1 must count as the first")
	}
}

func TestProviderTakenOutOfTheChainMeansTheFirst(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff([]int{0, 1, 0, 0}, []int{
		position([]string{"a", "b"}, "a"), position([]string{"a", "b"}, "b"),
		position([]string{"a", "b"}, "gone"), position(nil, ""),
	}); diff != "" {
		t.Error(diff)
	}
}
