package core

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// webhookRetryAfter is the wait before attempt n+2 of an event without a token; after
// the last there is none (Standard Webhooks, operational considerations: 75 h in all).
var webhookRetryAfter = []time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
	10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

const (
	webhookJitter = 0.1
	// pluginWait is when to come back while the plugin that posts is not there.
	pluginWait = 15 * time.Second
	// An endpoint is disabled after failingTime of nothing but failures, and
	// failingLeast of them.
	failingTime  = 5 * 24 * time.Hour
	failingLeast = 20
)

// warnings are when an endpoint's owner is warned, in percent of the way to its being
// disabled.
var warnings = [...]int{50, 70, 90}

// WebhookRetryDelay is the wait after the given attempt (1 is the first) of an event
// without a token, jittered by a tenth either way; 0: there is no other attempt.
func WebhookRetryDelay(attempt int) time.Duration {
	if attempt > len(webhookRetryAfter) {
		return 0
	}
	base := webhookRetryAfter[max(attempt, 1)-1]
	return base + time.Duration((rand.Float64()*2-1)*webhookJitter*float64(base))
}

// WebhookLife is after how long an event without a token is given up, whatever held
// it up; one with a token ends with its link.
const WebhookLife = 14 * 24 * time.Hour

// settleWebhook decides what follows an attempt (threats.md, Retry and disabling). An
// event with a token is tried again within seconds, any other by webhookRetryAfter;
// neither past its hour.
func settleWebhook(delivery Delivery, tokened bool, plugin string, receipt sdk.Receipt, err error, took time.Duration) Settlement {
	attempt := &Attempt{
		Provider: plugin, Outcome: string(receipt.Outcome), Code: receipt.Code, Answer: receipt.Answer, Duration: took,
	}
	if err == nil {
		return Settlement{State: DeliveryDone, Attempt: attempt}
	}
	failure := sdk.FailureOf(err)
	if !reached(failure) && failure.Kind == sdk.Temporary {
		return snooze(delivery, pluginWait+time.Duration(rand.Float64()*webhookJitter*float64(pluginWait)))
	}
	attempt.Outcome, attempt.Detail = string(failure.Kind), failure.Public
	attempt.Code, attempt.Answer = failure.Code, failure.Answer
	settlement := Settlement{State: DeliveryQueued, Attempt: attempt}
	switch failure.Kind {
	case sdk.RecipientRefused:
		settlement.State, settlement.Reason = DeliveryFailed, ReasonEndpointGone
		return settlement
	case sdk.ContentRefused:
		settlement.State, settlement.Reason = DeliveryFailed, ReasonContentRefused
		return settlement
	}
	settlement.Delay = RetryDelay(delivery.Attempt)
	if !tokened {
		settlement.Delay = WebhookRetryDelay(delivery.Attempt)
		if settlement.Delay == 0 {
			settlement.State, settlement.Reason = DeliveryFailed, ReasonExhausted
			return settlement
		}
	}
	settlement.Delay = max(settlement.Delay, failure.RetryAfter)
	return unlessTooLate(settlement, delivery, took)
}

// reached says whether the plugin tried: what never came to it, or was lost with it,
// says nothing about the endpoint.
func reached(failure *sdk.Failure) bool { return failure.Code != "" || len(failure.Steps) > 0 }

// judge puts into the settlement what the attempt says of the endpoint.
func (d *WebhookDispatcher) judge(ctx context.Context, settlement Settlement, delivery Delivery, endpoint Endpoint, err error) (Settlement, error) {
	if err == nil {
		settlement.Endpoint = &EndpointNews{ID: endpoint.ID, Healthy: true}
		return settlement, nil
	}
	failure := sdk.FailureOf(err)
	if settlement.Attempt == nil || !reached(failure) {
		return settlement, nil
	}
	news := &EndpointNews{ID: endpoint.ID}
	settlement.Endpoint = news
	way := endpoint.wayToDisabled(delivery.Now)
	switch {
	case failure.Kind == sdk.RecipientRefused:
		news.Disable = DisabledGone
	case way >= 100:
		news.Disable = DisabledFailing
	default:
		news.Warned = d.warn(ctx, endpoint, way)
		return settlement, nil
	}
	news.Event, err = d.disabled(delivery, endpoint, news.Disable)
	return settlement, err
}

// wayToDisabled is how far one more failure brings the endpoint, in percent: both the
// time and the number of failures have to be reached.
func (e Endpoint) wayToDisabled(now time.Time) int {
	if e.FailingSince.IsZero() {
		return 0
	}
	byTime := 100 * float64(now.Sub(e.FailingSince)) / float64(failingTime)
	byCount := 100 * float64(e.Failures+1) / failingLeast
	return int(min(byTime, byCount))
}

// warn tells once of each warning that is reached, and gives the last of them.
func (d *WebhookDispatcher) warn(ctx context.Context, endpoint Endpoint, way int) int {
	warned := endpoint.Warned
	for _, at := range warnings {
		if way >= at {
			warned = max(warned, at)
		}
	}
	if warned > endpoint.Warned {
		d.c.Logger.WarnContext(ctx, "webhook endpoint keeps failing and will be disabled",
			slog.String("account", string(endpoint.Account)), slog.String("endpoint", string(endpoint.ID)),
			slog.Int("percent", warned), slog.Int("failures", endpoint.Failures+1), slog.Time("since", endpoint.FailingSince))
	}
	return warned
}

// disabled is the event that tells the account's other endpoints.
func (d *WebhookDispatcher) disabled(delivery Delivery, endpoint Endpoint, reason DisabledReason) (Event, error) {
	endpoint.Disabled, endpoint.DisabledReason = delivery.Now, reason
	endpoint.Failures++
	shown, err := d.c.Wire.EndpointResource(endpoint)
	if err != nil {
		return Event{}, fmt.Errorf("resource of webhook endpoint %s: %w", endpoint.ID, err)
	}
	facts, err := json.Marshal(map[string]any{"data": shown, "reason": reason})
	if err != nil {
		return Event{}, fmt.Errorf("facts of webhook endpoint %s: %w", endpoint.ID, err)
	}
	return Event{ID: EventID(d.c.NewID()), Name: EventEndpointDisabled, Facts: facts}, nil
}
