package core_test

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

func newUUID() string { return uuid.Must(uuid.NewV7()).String() }

// lockedText is a log that is read while it is written.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// endpoint makes one that wants the events of those names.
func (h *house) endpoint(names ...core.EventName) core.Endpoint {
	h.t.Helper()
	url := "https://hook.example/" + newUUID()
	endpoint, _, err := h.desk.Create(h.t.Context(), h.account, core.EndpointChange{URL: &url, Subscriptions: names})
	if err != nil {
		h.t.Fatal(err)
	}
	return endpoint
}

// happens raises an event about the user.
func (h *house) happens(name core.EventName) {
	h.t.Helper()
	first := "Ada"
	_, err := h.store.UpdateUser(h.t.Context(), h.account.ID, h.user.ID, core.UserChange{
		FirstName: &first, Events: []core.Event{{ID: core.EventID(newUUID()), Name: name, User: h.user.ID}},
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// askQuietly asks for a link that no mail brings.
func (h *house) askQuietly(address string) {
	h.t.Helper()
	no := false
	if err := h.intake.Accept(h.t.Context(), h.account, core.Ask{Address: h.address(address), Deliver: &no}); err != nil {
		h.t.Fatal(err)
	}
}

// webhook is how the one delivery of a webhook stands.
type webhook struct {
	state    string
	attempts int
	wait     time.Duration // until the next attempt
}

func (h *house) webhook() (w webhook) {
	h.t.Helper()
	var wait int64
	err := h.db.QueryRowContext(h.t.Context(), `
		SELECT state, (SELECT count(*) FROM attempts a WHERE a.delivery_id = d.id), run_at - CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER)
		FROM deliveries d WHERE kind = 'webhook'`).Scan(&w.state, &w.attempts, &wait)
	if err != nil {
		h.t.Fatal(err)
	}
	w.wait = time.Duration(wait) * time.Microsecond
	return w
}

var errBusyEndpoint = &sdk.Failure{Kind: sdk.Temporary, Public: "the endpoint answered 503", Code: "503"}

// T30: the schedule of threats.md, each wait within the jitter.
func TestWebhookSchedule(t *testing.T) {
	t.Parallel()
	want := []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
	var sum time.Duration
	for i, base := range want {
		sum += base
		for range 200 {
			if got := core.WebhookRetryDelay(i + 1); got < base*9/10 || got > base*11/10 {
				t.Fatalf("after attempt %d: %s, want %s within a tenth", i+1, got, base)
			}
		}
	}
	if got := core.WebhookRetryDelay(len(want) + 1); got != 0 {
		t.Errorf("after the last: %s", got)
	}
	if hours := sum.Hours(); hours < 75 || hours > 76 {
		t.Errorf("%.1f hours in all", hours)
	}
}

// An endpoint that is down is asked by the schedule: for a token within seconds, for
// anything else by threats.md's, and never before what it asks for.
func TestWebhookWaits(t *testing.T) {
	t.Parallel()
	later := &sdk.Failure{Kind: sdk.RateLimited, Public: "the endpoint asks for fewer events (429)", Code: "429", RetryAfter: time.Hour}
	for name, c := range map[string]struct {
		failure     error
		tell        func(*house)
		least, most time.Duration
	}{
		"an event":              {errBusyEndpoint, func(h *house) { h.happens(core.EventUserUpdated) }, 4 * time.Second, 6 * time.Second},
		"a token":               {errBusyEndpoint, func(h *house) { h.askQuietly("ada@example.com") }, 0, 1500 * time.Millisecond},
		"as long as it asks":    {later, func(h *house) { h.happens(core.EventUserUpdated) }, 59 * time.Minute, 61 * time.Minute},
		"a blocked destination": {&sdk.Failure{Kind: sdk.Misconfigured, Public: "url leads to a network", Steps: []sdk.Step{{Name: "dial"}}}, func(h *house) { h.happens(core.EventUserUpdated) }, 4 * time.Second, 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, 0, "a")
			h.plugin.answer = func(int, string) error { return c.failure }
			h.endpoint(core.AllEvents)
			c.tell(h)
			var stands webhook
			h.wait("an attempt is made", func() bool {
				if len(h.plugin.mails()) == 0 {
					return false
				}
				stands = h.webhook()
				return stands.attempts == 1
			})
			if stands.state != "queued" || stands.wait < c.least-time.Second || stands.wait > c.most {
				t.Errorf("%+v, want a wait of %s to %s", stands, c.least, c.most)
			}
		})
	}
}

// The event of a token ends with its link, and says so.
func TestWebhookWithATokenStopsAtItsExpiry(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "a")
	h.plugin.answer = func(int, string) error { return errBusyEndpoint }
	h.endpoint(core.EventPasswordReset)
	h.askQuietly("ada@example.com")
	h.wait("it is tried again and again", func() bool { return len(h.plugin.mails()) >= 2 })
	h.exec(`UPDATE requests SET expires_at = expires_at - 7200000000`)
	h.exec(`UPDATE deliveries SET not_after = not_after - 7200000000, run_at = 0 WHERE kind = 'webhook'`)
	h.wait("it has expired", func() bool { return h.webhook().state == "expired" })
	sent := len(h.plugin.mails())
	time.Sleep(50 * time.Millisecond)
	if n := len(h.plugin.mails()); n != sent {
		t.Errorf("%d attempts after the end", n-sent)
	}
}

// What became of a link or of a subscription since is looked at for every attempt.
func TestWebhookIsNotToldWhatNobodyWantsAnyMore(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*house, core.Endpoint){
		"unsubscribed": func(h *house, e core.Endpoint) {
			e.Subscriptions = []core.EventName{core.EventUserBanned}
			if _, err := h.store.UpdateEndpoint(h.t.Context(), h.account.ID, e); err != nil {
				h.t.Fatal(err)
			}
		},
		"removed": func(h *house, e core.Endpoint) {
			if err := h.store.DeleteEndpoint(h.t.Context(), h.account.ID, e.ID); err != nil {
				h.t.Fatal(err)
			}
		},
		"disabled": func(h *house, _ core.Endpoint) { h.exec(`UPDATE webhook_endpoints SET disabled_at = 1`) },
		"link spent": func(h *house, _ core.Endpoint) {
			if err := h.redeem(tenants.NewSecret(toldToken(h.t, h.plugin.mails()[0])), "a new one, remembered"); err != nil {
				h.t.Fatal(err)
			}
		},
		"user gone": func(h *house, _ core.Endpoint) { h.exec(`DELETE FROM users`) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, 0, "a")
			h.plugin.answer = func(_ int, plugin string) error {
				if plugin != "webhook" {
					return nil // the notice
				}
				return &sdk.Failure{Kind: sdk.RateLimited, Public: "later", Code: "429", RetryAfter: 2 * time.Second}
			}
			endpoint := h.endpoint(core.EventPasswordReset)
			h.askQuietly("ada@example.com")
			h.wait("an attempt is made", func() bool { return len(h.plugin.mails()) > 0 && h.webhook().attempts == 1 })
			change(h, endpoint)
			h.wait("it is given up", func() bool { return h.webhook().state == "superseded" })
			if n := h.webhook().attempts; n != 1 {
				t.Errorf("%d attempts", n)
			}
		})
	}
}

// toldToken is the token in what an endpoint is posted.
func toldToken(t *testing.T, request sdk.SendRequest) string {
	t.Helper()
	var event struct {
		Data struct{ Attributes struct{ Payload string } }
	}
	var payload struct {
		Meta struct{ PasswordResetToken string }
	}
	if err := errors.Join(json.Unmarshal(request.Event.Body, &event), json.Unmarshal([]byte(event.Data.Attributes.Payload), &payload)); err != nil {
		t.Fatal(err)
	}
	return payload.Meta.PasswordResetToken
}

// What the plugin is handed: the URL, every header final, and where it may not go.
func TestWebhookIsHandedToItsPlugin(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "a")
	endpoint := h.endpoint(core.EventUserUpdated)
	h.happens(core.EventUserUpdated)
	h.wait("it is done", func() bool { return len(h.plugin.mails()) == 1 && h.webhook().state == "done" })
	request := h.plugin.mails()[0]
	event := request.Event
	if h.plugin.names[0] != "webhook" || event.URL != endpoint.URL || cmp.Diff([]string{"192.0.2.1/32"}, event.Forbidden) != "" || request.Mail != nil {
		t.Errorf("%s, %+v", h.plugin.names[0], request)
	}
	if event.Headers[0] != (sdk.Header{Name: "User-Agent", Value: "Passmend/1.2.3"}) {
		t.Errorf("%+v", event.Headers)
	}
}

// An endpoint that has failed for days is warned of three times and then disabled,
// which its account's other endpoints are told.
func TestWebhookThatFailsForDaysIsDisabled(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "a")
	endpoint, watch := h.endpoint(core.EventUserUpdated), h.endpoint(core.EventEndpointDisabled)
	h.plugin.answer = func(_ int, _ string) error {
		sent := h.plugin.sent[len(h.plugin.sent)-1]
		if strings.Contains(string(sent.Event.Body), `"event":"user.updated"`) {
			return errBusyEndpoint
		}
		return nil
	}
	warned := func() int {
		h.t.Helper()
		now, err := h.store.Endpoint(h.t.Context(), h.account.ID, endpoint.ID)
		if err != nil {
			h.t.Fatal(err)
		}
		return now.Warned
	}
	// fails has one more attempt fail after so many, the first of them so long ago.
	attempts := 0
	fails := func(failures int, ago time.Duration) {
		h.t.Helper()
		h.exec(`UPDATE webhook_endpoints SET failures = ?, failing_since = CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER) - ? WHERE id = ?`,
			failures, ago.Microseconds(), string(endpoint.ID))
		if attempts == 0 {
			h.happens(core.EventUserUpdated)
		} else {
			h.exec(`UPDATE deliveries SET run_at = 0 WHERE kind = 'webhook'`)
		}
		attempts++
		h.wait("an attempt is made", func() bool {
			var n int
			if err := h.db.QueryRow(`SELECT count(*) FROM attempts`).Scan(&n); err != nil {
				h.t.Fatal(err)
			}
			return n >= attempts
		})
	}
	const day = 24 * time.Hour
	for _, c := range []struct {
		failures int
		ago      time.Duration
		warned   int
	}{
		{3, 30 * day, 0},          // few
		{100, day, 0},             // not for long
		{10, 3 * day, 50},         // 11 of 20, 60 %
		{12, 3 * day, 50},         // no second warning
		{14, 4 * day, 70},         // 75 %
		{18, 110 * time.Hour, 90}, // 91 %
	} {
		if fails(c.failures, c.ago); warned() != c.warned {
			t.Errorf("after %d failures in %s: warned at %d %%, want %d", c.failures+1, c.ago, warned(), c.warned)
		}
	}
	if n := strings.Count(h.logs.String(), "webhook endpoint keeps failing and will be disabled"); n != 3 {
		t.Errorf("%d warnings:\n%s", n, h.logs.String())
	}
	if strings.Contains(h.logs.String(), "hook.example") {
		t.Error("the log holds the URL")
	}
	fails(19, 5*day+time.Hour)
	h.wait("the others are told", func() bool {
		for _, request := range h.plugin.mails() {
			if body := string(request.Event.Body); strings.Contains(body, `"event":"webhook-endpoint.disabled"`) && strings.Contains(body, `\"reason\":\"failing\"`) {
				return true
			}
		}
		return false
	})
	now, err := h.store.Endpoint(t.Context(), h.account.ID, endpoint.ID)
	if err != nil || now.DisabledReason != core.DisabledFailing {
		t.Errorf("%+v, %v", now, err)
	}
	if now, err := h.store.Endpoint(t.Context(), h.account.ID, watch.ID); err != nil || !now.Disabled.IsZero() {
		t.Errorf("%+v, %v", now, err)
	}
}

// An endpoint has four attempts at once, an account sixteen over all of its endpoints,
// and what waits for its turn is done all the same.
func TestWebhooksAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "a")
	const endpoints, events = 6, 8
	for range endpoints {
		h.endpoint(core.EventUserUpdated)
	}
	p := &crowd{busy: make(map[string]int)}
	h.plugin.send = p.send
	for range events {
		h.happens(core.EventUserUpdated)
	}
	h.wait("all are told", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.done == endpoints*events
	})
	if p.mostEach > 4 || p.mostAll > 16 || p.mostAll < 8 {
		t.Errorf("at most %d at an endpoint and %d in all, want 4 and 16", p.mostEach, p.mostAll)
	}
}

// crowd counts who is there at once.
type crowd struct {
	mu                           sync.Mutex
	busy                         map[string]int // by URL
	all, mostEach, mostAll, done int
}

func (c *crowd) send(request sdk.SendRequest) {
	url := request.Event.URL
	c.mu.Lock()
	c.busy[url]++
	c.all++
	c.mostEach, c.mostAll = max(c.mostEach, c.busy[url]), max(c.mostAll, c.all)
	c.mu.Unlock()
	time.Sleep(20 * time.Millisecond)
	c.mu.Lock()
	c.busy[url]--
	c.all--
	c.done++
	c.mu.Unlock()
}
