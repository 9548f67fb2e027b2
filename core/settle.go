package core

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// retryAfter is the wait before attempt n+2; the last repeats. Mail that answers a
// person who is waiting is tried again within seconds, then minutes.
var retryAfter = []time.Duration{
	time.Second, 5 * time.Second, 15 * time.Second, time.Minute,
	5 * time.Minute, 15 * time.Minute, 30 * time.Minute,
}

const (
	// holdTime is the wait after an attempt that may have delivered: a provider that
	// comes back can still say so, and two mails in a row are worse than a late one.
	holdTime = 30 * time.Second
	// triesInARow is how often a provider is tried before the next has its turn.
	triesInARow = 2
	jitter      = 0.2
)

// RetryDelay is the wait after the given attempt (1 is the first), jittered by a
// fifth either way so that a crowd does not come back as one.
func RetryDelay(attempt int) time.Duration {
	base := retryAfter[min(max(attempt, 1), len(retryAfter))-1]
	return base + time.Duration((rand.Float64()*2-1)*jitter*float64(base))
}

// settle decides what follows an attempt (design.md, Provider chain).
func settle(delivery Delivery, chain []string, provider string, receipt sdk.Receipt, err error, took time.Duration) Settlement {
	settlement := Settlement{
		State:     DeliveryDone,
		Attempt:   &Attempt{Provider: provider, Outcome: string(receipt.Outcome), Code: receipt.Code, Duration: took},
		MessageID: receipt.MessageID,
	}
	if err == nil {
		return settlement
	}
	failure := sdk.FailureOf(err)
	settlement.Attempt.Outcome, settlement.Attempt.Detail = string(failure.Kind), failure.Public
	settlement.Attempt.Code = failure.Code
	settlement.State, settlement.Provider = DeliveryQueued, provider

	here := position(chain, provider)
	last := here+1 >= len(chain)
	following := provider
	if len(chain) > 0 {
		following = chain[(here+1)%len(chain)]
	}
	switch failure.Kind {
	case sdk.RecipientRefused, sdk.ContentRefused:
		if last {
			settlement.State, settlement.Reason = DeliveryFailed, refusal(failure.Kind)
			return settlement
		}
		settlement.Provider = following
	case sdk.Misconfigured, sdk.AuthenticationFailed:
		// Somebody may mend it while the link lives: after the whole chain, wait.
		settlement.Provider = following
		if last {
			settlement.Delay = RetryDelay(delivery.Attempt)
		}
	case sdk.Unknown:
		settlement.Provider, settlement.Delay = following, holdTime
	default: // temporary, rate-limited, quota-exhausted
		settlement.Delay = max(RetryDelay(delivery.Attempt), failure.RetryAfter)
		if until := failure.Until.Sub(delivery.Now); !failure.Until.IsZero() && until > settlement.Delay {
			settlement.Delay = until
		}
		if delivery.Attempt%triesInARow == 0 || settlement.Delay > retryAfter[len(retryAfter)-1] {
			settlement.Provider = following
		}
	}
	return unlessTooLate(settlement, delivery, took)
}

// snooze puts a delivery off without an attempt: its provider is known to be down.
func snooze(delivery Delivery, wait time.Duration) Settlement {
	settlement := Settlement{State: DeliveryQueued, Delay: wait, Provider: delivery.Provider, Snoozed: true}
	return unlessTooLate(settlement, delivery, 0)
}

// park keeps a delivery until its provider is released. Whether it is too late is
// seen then.
func park(delivery Delivery, provider ProviderID) Settlement {
	return Settlement{State: DeliveryQueued, Provider: delivery.Provider, Snoozed: true, Parked: provider}
}

// unlessTooLate ends a delivery whose next attempt would come after its hour.
func unlessTooLate(settlement Settlement, delivery Delivery, took time.Duration) Settlement {
	if !delivery.NotAfter.IsZero() && delivery.Now.Add(took+settlement.Delay).After(delivery.NotAfter) {
		settlement.State, settlement.Delay, settlement.Provider, settlement.Snoozed = DeliveryExpired, 0, "", false
	}
	return settlement
}

func refusal(kind sdk.Outcome) Reason {
	if kind == sdk.RecipientRefused {
		return ReasonRecipientRefused
	}
	return ReasonContentRefused
}

// position finds a provider in the chain; one that was taken out since, or none,
// means the first.
func position(chain []string, provider string) int {
	return max(slices.Index(chain, provider), 0)
}
