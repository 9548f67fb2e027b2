package httpapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

const told = "/v1/accounts/acme/webhook-events"

// happened raises user.created and gives the id of the webhook event of the account's
// newest endpoint.
func (e *edge) happened(account tenants.Account) string {
	e.t.Helper()
	time.Sleep(2 * time.Millisecond) // ids are in the order of milliseconds
	id := core.UserID(newID())
	got(e.store.CreateUser(e.t.Context(), account.ID, core.User{
		ID: id, Address: got(core.ParseAddress(string(id) + "@example.com"))(e.t), Role: core.RoleUser,
	}, core.Event{ID: core.EventID(newID()), Name: core.EventUserCreated, User: id}))(e.t)
	return string(e.eventsOf(account)[0].ID)
}

func (e *edge) eventsOf(account tenants.Account) []core.WebhookEvent {
	e.t.Helper()
	return got(e.store.WebhookEvents(e.t.Context(), account.ID, core.WebhookEventQuery{Newest: true, Limit: 100}))(e.t)
}

// worked settles the webhook's delivery that waits.
func (e *edge) worked(settlement core.Settlement) {
	e.t.Helper()
	for _, delivery := range got(e.store.Claim(e.t.Context(), core.ClaimAsk{Free: 8}))(e.t).Deliveries {
		if delivery.Kind == core.KindWebhook {
			must(e.t, e.store.Settle(e.t.Context(), e.acme.ID, delivery.LeaseOf(), settlement))
			return
		}
	}
	e.t.Fatal("no delivery waits")
}

// contract.md, A7: in each state, in the words that clients know.
func TestAWebhookEventThroughItsStates(t *testing.T) {
	t.Parallel()
	e := setup(t)
	admin := bearer(e.token(e.boss))
	e.hook(`{"url":"https://hook.example/x","subscriptions":["user.created"],"apiVersion":"1.4"}`)
	id, account := e.happened(e.acme), string(e.acme.ID)
	event := e.eventsOf(e.acme)[0]
	user := got(e.store.User(t.Context(), e.acme.ID, event.Event.User))(t)
	payload := got(json.Marshal(e.get("/v1/accounts/acme/users/"+string(user.ID), admin).Body))(t)
	stamp := func(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }
	shown := func(status, code, body, attempts string) string {
		now := got(e.store.WebhookEvent(t.Context(), e.acme.ID, core.DeliveryID(id)))(t)
		return `{"data":{"id":"` + id + `","type":"webhook-events","attributes":{"endpoint":"https://hook.example/x","apiVersion":"1.4","payload":` + string(payload) +
			`,"event":"user.created","status":"` + status + `","lastResponseCode":` + code + `,"lastResponseBody":` + body + `,"attempts":[` + attempts + `],` +
			`"created":"` + stamp(now.Created) + `","updated":"` + stamp(now.Updated) + `"},` +
			`"relationships":{"account":{"links":{"related":"/v1/accounts/` + account + `"},"data":{"type":"accounts","id":"` + account + `"}}},` +
			`"links":{"self":"/v1/accounts/` + account + `/webhook-events/` + id + `"},"meta":{"idempotencyToken":"` + event.IdempotencyToken() + `"}}}`
	}
	check := func(status, code, body, attempts string) {
		t.Helper()
		if diff := cmp.Diff(shown(status, code, body, attempts), e.get(told+"/"+id, admin).Body); diff != "" {
			t.Error(diff)
		}
	}
	attempt := func(number int, outcome, detail, code, body string) string {
		all := got(e.store.WebhookAttempts(t.Context(), e.acme.ID, core.DeliveryID(id)))(t)
		return fmt.Sprintf(`{"number":%d,"outcome":%q,"detail":%s,"responseCode":%s,"responseBody":%s,"durationMs":1500,"ended":%q}`,
			number, outcome, detail, code, body, stamp(all[number-1].Ended))
	}
	check("DELIVERING", "null", "null", "")
	e.worked(core.Settlement{State: core.DeliveryQueued, Delay: -time.Second, Attempt: &core.Attempt{
		Provider: "webhook", Outcome: "temporary", Detail: "it said no", Code: "503", Answer: "no", Duration: 1500 * time.Millisecond,
	}})
	first := attempt(1, "temporary", `"it said no"`, "503", `"no"`)
	check("FAILING", "503", `"no"`, first)
	e.worked(core.Settlement{State: core.DeliveryDone, Attempt: &core.Attempt{Provider: "webhook", Outcome: "accepted", Code: "200", Duration: 1500 * time.Millisecond}})
	check("DELIVERED", "200", "null", first+","+attempt(2, "accepted", "null", "200", "null"))

	again := e.do(ask{path: told + "/" + id + "/actions/retry", header: admin})
	next := e.eventsOf(e.acme)[0]
	if again.Status != 201 || again.Header.Get("Location") != "/v1/accounts/"+account+"/webhook-events/"+string(next.ID) || string(next.ID) == id ||
		!strings.Contains(again.Body, `"idempotencyToken":"`+event.IdempotencyToken()+`"`) || !strings.Contains(again.Body, string(payload)) {
		t.Errorf("%d %s", again.Status, again.Body)
	}
	if line := e.do(ask{path: told + "/" + id + "/actions/retry", body: `{"data":{}}`, header: admin}).line(t); line != "Bad Request | - | /data | unpermitted parameter" {
		t.Error(line)
	}
	e.worked(core.Settlement{State: core.DeliveryFailed, Reason: core.ReasonExhausted})
	if got := e.get(told+"/"+string(next.ID), admin).one(t).Attributes["status"]; got != "FAILED" {
		t.Errorf("status %v", got)
	}
	must(t, e.store.DeleteEndpoint(t.Context(), e.acme.ID, event.Endpoint))
	if line := e.do(ask{path: told + "/" + id + "/actions/retry", header: admin}).line(t); line != "Unprocessable Entity | WEBHOOK_ENDPOINT_GONE | /data/attributes/endpoint | was deleted or is disabled" {
		t.Error(line)
	}
	for _, want := range []int{204, 404} {
		if answer := e.do(ask{method: "DELETE", path: told + "/" + id, header: admin}); answer.Status != want {
			t.Errorf("%d %s", answer.Status, answer.Body)
		}
	}
}

// A reset token reads back as nothing.
func TestAWebhookEventShowsNoToken(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.hook(`{"url":"https://hook.example/x"}`)
	raw := e.link(e.acme, "ada@example.com")
	id := string(e.eventsOf(e.acme)[0].ID)
	for _, path := range []string{told, told + "/" + id} {
		answer := e.get(path, bearer(e.token(e.boss)))
		if answer.Status != 200 || strings.Contains(answer.Body, raw) || !strings.Contains(answer.Body, `\"passwordResetToken\":\"[redacted]\"`) || !strings.Contains(answer.Body, "ada@example.com") {
			t.Errorf("%d %s", answer.Status, answer.Body)
		}
	}
}

// contract.md, C5: pages by cursor and by number, whose links lead to both sides and
// count nothing.
func TestListOfWebhookEvents(t *testing.T) {
	t.Parallel()
	e := setup(t)
	boss := e.token(e.boss)
	if empty := e.requests(told, boss); len(empty.IDs) != 0 || empty.Next != "" {
		t.Errorf("%s", empty.Whole)
	}
	e.hook(`{"url":"https://hook.example/x"}`)
	var all []string
	for range 7 {
		all = append([]string{e.happened(e.acme)}, all...)
	}
	for _, size := range []int{1, 3, 7, 10} {
		for _, begin := range []string{"page[size]", "page[number]=1&page[size]"} {
			var seen []string
			for next := fmt.Sprintf("%s?%s=%d", told, begin, size); next != "" && len(seen) < 10; {
				found := e.requests(next, boss)
				seen, next = append(seen, found.IDs...), found.Next
			}
			if diff := cmp.Diff(all, seen); diff != "" {
				t.Errorf("%s, size %d: %s", begin, size, diff)
			}
		}
	}
	links := func(query string) map[string]*string {
		t.Helper()
		var document struct{ Links map[string]*string }
		must(t, json.Unmarshal([]byte(e.get(told+"?"+query, bearer(boss)).Body), &document))
		return document.Links
	}
	text := func(s string) *string { return &s }
	for query, want := range map[string]map[string]*string{
		"page[number]=2&page[size]=3": {
			"self": text(told + "?page%5Bnumber%5D=2&page%5Bsize%5D=3"), "prev": text(told + "?page%5Bnumber%5D=1&page%5Bsize%5D=3"), "next": text(told + "?page%5Bnumber%5D=3&page%5Bsize%5D=3"),
		},
		"page[number]=3&page[size]=3&events[]=user.created": {
			"self": text(told + "?events%5B%5D=user.created&page%5Bnumber%5D=3&page%5Bsize%5D=3"), "prev": text(told + "?events%5B%5D=user.created&page%5Bnumber%5D=2&page%5Bsize%5D=3"), "next": nil,
		},
		"limit=3": {"self": text(told + "?page%5Bcursor%5D=&page%5Bsize%5D=3"), "prev": nil, "next": text(told + "?page%5Bcursor%5D=" + all[2] + "&page%5Bsize%5D=3")},
	} {
		if diff := cmp.Diff(want, links(query)); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	if oldest := e.requests(told+"?order=asc&limit=2", boss).IDs; cmp.Diff([]string{all[6], all[5]}, oldest) != "" {
		t.Errorf("oldest first: %v", oldest)
	}
	for query, want := range map[string]int{"events[]=user.created": 7, "events[]=user.banned&events[]=user.created&limit=5": 5, "events[]=user.banned": 0} {
		if n := len(e.requests(told+"?"+query, boss).IDs); n != want {
			t.Errorf("%s: %d", query, n)
		}
	}
	for query, want := range map[string]string{
		"limit=0": "limit | must be a number from 1 to 100", "page[number]=101": "page[number] | must be a number from 1 to 100", "page=1": "page | type mismatch (received string expected object)",
		"page[cursor]=x": "page[cursor] | must be a UUID or empty", "order=up": "order | is invalid (must be asc or desc)", "events[]=user.eaten": "events[] | is invalid", "events[]=*": "events[] | is invalid",
	} {
		if line := e.get(told+"?"+query, bearer(boss)).line(t); line != "Bad Request | - | "+want {
			t.Errorf("%s: %s", query, line)
		}
	}
}
