package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/httpapi"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

// services stands for the host of plugins. The plugin "hooked" believes who sends
// its secret and reads a JSON list of events; "deaf" reads none, "down" is not up.
type services struct {
	mu    sync.Mutex
	seen  []sdk.Callback
	stall chan struct{} // when set, a callback waits for it
}

func (s *services) ParseEvent(ctx context.Context, plugin string, settings sdk.Settings, callback sdk.Callback) (events []sdk.ProviderEvent, err error) {
	s.mu.Lock()
	s.seen = append(s.seen, callback)
	stall := s.stall
	s.mu.Unlock()
	if stall != nil {
		select {
		case <-stall:
		case <-ctx.Done():
		}
	}
	switch plugin {
	case "deaf":
		return nil, &sdk.Failure{Kind: sdk.Misconfigured, Public: "the provider reads no callbacks"}
	case "down":
		return nil, &sdk.Failure{Kind: sdk.Temporary, Public: "the mail provider is not running"}
	case "crashed":
		return nil, &sdk.Failure{Kind: sdk.Unknown, Public: "the provider gave no usable answer"}
	}
	if !slices.Contains(callback.Headers, sdk.Header{Name: "Authorization", Value: hook(settings.Secrets["hook"].Reveal())["Authorization"]}) {
		return nil, &sdk.Failure{Kind: sdk.AuthenticationFailed, Public: "wrong-hook-hint"}
	}
	if err := json.Unmarshal(callback.Body, &events); err != nil {
		return nil, &sdk.Failure{Kind: sdk.ContentRefused, Public: "unreadable-hint"}
	}
	return events, nil
}

func hook(secret string) map[string]string {
	return map[string]string{"Authorization": basic("hook", secret)}
}

// provider configures one of an account, or of the platform.
func (e *edge) provider(account tenants.AccountID, name, plugin, secret string) {
	e.t.Helper()
	provider := core.Provider{ID: core.ProviderID(newID()), Account: account, Name: name, Plugin: plugin}
	must(e.t, core.SealSettings(e.keys, &provider, map[string]tenants.Secret{"hook": tenants.NewSecret(secret)}))
	must(e.t, e.store.CreateProvider(context.Background(), account, provider))
}

// sent walks a request for an address to a mail that a provider took, and gives its id.
func (e *edge) sent(account tenants.Account, address, provider, messageID string) string {
	e.t.Helper()
	e.link(account, address)
	must(e.t, e.store.Settle(context.Background(), account.ID, e.mail.LeaseOf(), core.Settlement{
		State: core.DeliveryDone, MessageID: messageID, Attempt: &core.Attempt{Provider: provider, Outcome: "accepted"},
	}))
	return string(e.mail.Request)
}

func eventsBody(events ...sdk.ProviderEvent) string {
	body, err := json.Marshal(events)
	if err != nil {
		panic(err)
	}
	return string(body)
}

func bounce(messageID string) sdk.ProviderEvent {
	return sdk.ProviderEvent{
		ID: "bounce of " + messageID, Kind: sdk.Bounced, MessageID: messageID, Recipient: "ada@example.com",
		At: time.Date(2030, 1, 2, 3, 4, 5, 678e6, time.UTC), Public: "no such mailbox: ada@example.com", Private: "550",
	}
}

// reported is what the timeline tells of a request's mail.
func (e *edge) reported(account tenants.Account, request string) (state string, reports []map[string]any) {
	e.t.Helper()
	answer := e.get("/v1/accounts/"+account.Slug+"/password-requests/"+request, bearer(e.operatorToken()))
	var found struct {
		Data struct {
			Attributes struct {
				State      string
				Deliveries []struct {
					Kind, State string
					Reports     []map[string]any
				}
			}
		}
	}
	must(e.t, json.Unmarshal([]byte(answer.Body), &found))
	for _, delivery := range found.Data.Attributes.Deliveries {
		if delivery.Kind == "mail" {
			return found.Data.Attributes.State + " " + delivery.State, delivery.Reports
		}
	}
	e.t.Fatalf("no mail in %s", answer.Body)
	return "", nil
}

// A bounce shows in the timeline, keeps the request's state and the balance, and
// ends the next request of that address, which is mailed again once it is off the list.
func TestBounceEndsTheNextRequest(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.provider(e.acme.ID, "post", "hooked", "hook-secret")
	request := e.sent(e.acme, "ada@example.com", "post", "m-1")
	path := "/v1/accounts/acme/provider-events/post"

	first := e.do(ask{path: path, body: eventsBody(bounce("m-1")), header: hook("hook-secret")})
	if first.Status != 200 || first.Body != `{}` {
		t.Fatalf("%d %s", first.Status, first.Body)
	}
	state, reports := e.reported(e.acme, request)
	if len(reports) != 1 {
		t.Fatalf("%v", reports)
	}
	delete(reports[0], "recorded")
	want := map[string]any{"provider": "post", "kind": "bounced", "detail": "no such mailbox: [redacted]", "at": "2030-01-02T03:04:05.678Z"}
	if diff := cmp.Diff(want, reports[0]); diff != "" || state != "sent bounced" {
		t.Error(state, diff)
	}
	for name, body := range map[string]string{
		"told again":      eventsBody(bounce("m-1"), bounce("m-1")),
		"nobody's":        eventsBody(bounce("m-2")),
		"without message": eventsBody(sdk.ProviderEvent{ID: "x", Kind: sdk.Bounced, Recipient: "boss@example.com"}),
		"of no interest":  `[]`,
	} {
		again := e.do(ask{path: path, body: body, header: hook("hook-secret")})
		if diff := cmp.Diff(first.fingerprint(), again.fingerprint()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if _, reports := e.reported(e.acme, request); len(reports) != 1 {
		t.Errorf("%v", reports)
	}

	next := e.requested(e.acme, "Ada@Example.com")
	e.resolveOne()
	answer := e.get("/v1/accounts/acme/password-requests/"+next, bearer(e.token(e.boss)))
	if !strings.Contains(answer.Body, `"state":"suppressed","reason":"suppressed_address"`) || strings.Contains(answer.Body, `"kind":"mail"`) {
		t.Errorf("%s", answer.Body)
	}
	list := e.suppressions("/v1/accounts/acme/suppressions", e.token(e.boss))
	if len(list) != 1 || list[0].Attributes != (suppressionShown{"bounced", "post", "ada@example.com"}) {
		t.Fatalf("%+v", list)
	}
	if answer := e.do(ask{method: "DELETE", path: "/v1/accounts/acme/suppressions/" + list[0].ID, header: bearer(e.token(e.boss))}); answer.Status != 204 {
		t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	e.link(e.acme, "ada@example.com") // fails the test when no mail comes of it
	balance := got(e.store.Balance(t.Context()))(t)
	for _, count := range balance.States {
		balance.Accepted -= count
	}
	if balance.Accepted != 0 {
		t.Errorf("the ledger is off by %d", balance.Accepted)
	}
	if logs := e.logs.String(); logs != "" {
		t.Errorf("something was logged: %s", logs)
	}
}

// resolveOne carries out the plan for the one request that waits.
func (e *edge) resolveOne() {
	e.t.Helper()
	claim := got(e.store.Claim(e.t.Context(), core.ClaimAsk{Free: 10}))(e.t)
	if len(claim.Deliveries) != 1 {
		e.t.Fatalf("%d deliveries wait", len(claim.Deliveries))
	}
	resolver := core.Resolver{Accounts: e.resolver, Users: e.store, Sealer: e.keys, Keys: e.keys, NewID: newID}
	plan := got(resolver.Resolve(e.t.Context(), claim.Deliveries[0]))(e.t)
	got(e.store.Resolve(e.t.Context(), claim.Deliveries[0].Account, claim.Deliveries[0].LeaseOf(), plan))(e.t)
}

// Without an id, what tells events apart is kind, message and recipient; what
// delays changes nothing.
func TestEventsWithoutID(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.provider(e.acme.ID, "post", "hooked", "s")
	request := e.sent(e.acme, "ada@example.com", "post", "m-1")
	late := sdk.ProviderEvent{Kind: sdk.Deferred, MessageID: "m-1"}
	for _, events := range [][]sdk.ProviderEvent{{late, late}, {late, {Kind: sdk.Delivered, MessageID: "m-1"}}, {{Kind: "teleported", MessageID: "m-1"}}} {
		if answer := e.do(ask{path: "/v1/accounts/acme/provider-events/post", body: eventsBody(events...), header: hook("s")}); answer.Status != 200 {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
	}
	state, reports := e.reported(e.acme, request)
	var kinds []string
	for _, report := range reports {
		kinds = append(kinds, fmt.Sprint(report["kind"]))
	}
	slices.Sort(kinds) // those recorded in one millisecond have no order
	if diff := cmp.Diff([]string{"deferred", "delivered", "teleported"}, kinds); diff != "" || state != "sent delivered" {
		t.Error(state, diff)
	}
}

// Whoever proves to be an account's provider says something about that account's
// messages, and about nobody else's; the platform's says it about everybody's that
// it sends for.
func TestEventsStayInTheirAccount(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.user(e.other, "ada@example.com", core.RoleUser)
	third := got(e.store.CreateAccount(t.Context(), tenants.New(tenants.AccountID(newID()), "third", "Third")))(t)
	e.user(third, "ada@example.com", core.RoleUser)
	e.provider("", "post", "hooked", "platform")
	e.provider(e.acme.ID, "post", "hooked", "acme")
	acme := e.sent(e.acme, "ada@example.com", "post", "m-acme")
	other := e.sent(e.other, "ada@example.com", "post", "m-other")
	third3 := e.sent(third, "ada@example.com", "post", "m-third")
	states := func() (all [3]string) {
		all[0], _ = e.reported(e.acme, acme)
		all[1], _ = e.reported(e.other, other)
		all[2], _ = e.reported(third, third3)
		return all
	}
	all := eventsBody(bounce("m-acme"), bounce("m-other"), bounce("m-third"))
	post := func(slug, secret string, want int) {
		t.Helper()
		if answer := e.do(ask{path: "/v1/accounts/" + slug + "/provider-events/post", body: all, header: hook(secret)}); answer.Status != want {
			t.Fatalf("%s: %d %s", slug, answer.Status, answer.Body)
		}
	}
	post("acme", "platform", 401) // acme has its own
	post("other", "acme", 401)
	if diff := cmp.Diff([3]string{"sent done", "sent done", "sent done"}, states()); diff != "" {
		t.Fatal(diff)
	}
	post("acme", "acme", 200)
	if diff := cmp.Diff([3]string{"sent bounced", "sent done", "sent done"}, states()); diff != "" {
		t.Fatal(diff)
	}
	must(t, e.store.DeleteProvider(t.Context(), e.acme.ID, "post"))
	e.provider(e.acme.ID, "post", "hooked", "again")
	fresh := e.sent(e.acme, "boss@example.com", "post", "m-fresh")
	all = eventsBody(bounce("m-fresh"), bounce("m-other"), bounce("m-third"))
	post("other", "platform", 200)
	if diff := cmp.Diff([3]string{"sent bounced", "sent bounced", "sent bounced"}, states()); diff != "" {
		t.Fatal(diff)
	}
	if state, _ := e.reported(e.acme, fresh); state != "sent done" {
		t.Errorf("the platform's provider spoke for the account's own: %s", state)
	}
	for _, account := range []tenants.Account{e.acme, e.other, third} {
		if n := len(got(e.store.Suppressions(t.Context(), account.ID, core.SuppressionQuery{Limit: 10}))(t)); n != 1 {
			t.Errorf("%s: %d suppressions", account.Slug, n)
		}
	}
}

func TestCallbackRefusals(t *testing.T) {
	t.Parallel()
	e := setup(t)
	for name, plugin := range map[string]string{"post": "hooked", "quiet": "deaf", "away": "down", "broken": "crashed"} {
		e.provider(e.acme.ID, name, plugin, "hook-secret")
	}
	e.provider(e.other.ID, "theirs", "hooked", "hook-secret")
	nowhere := "Not Found | NOT_FOUND | - | The requested account 'acme' was not found"
	for name, c := range map[string]struct {
		provider, body string
		header         map[string]string
		want           string
	}{
		"no proof":          {"post", `[]`, nil, "Unauthorized | - | - | The callback does not prove where it comes from"},
		"an admin's token":  {"post", `[]`, bearer(e.token(e.boss)), "Unauthorized | - | - | The callback does not prove where it comes from"},
		"nothing readable":  {"post", `x`, hook("hook-secret"), "Bad Request | - | - | The callback cannot be read"},
		"no callbacks":      {"quiet", `[]`, hook("hook-secret"), nowhere},
		"no provider":       {"none", `[]`, hook("hook-secret"), nowhere},
		"another account's": {"theirs", `[]`, hook("hook-secret"), nowhere},
		"no name":           {"%00%2F..%2F" + strings.Repeat("x", 100), `[]`, nil, nowhere},
		"down":              {"away", `[]`, hook("hook-secret"), "Service Unavailable | - | - | The callback cannot be taken now; send it again later"},
		"crashed":           {"broken", `[]`, hook("hook-secret"), "Service Unavailable | - | - | The callback cannot be taken now; send it again later"},
	} {
		answer := e.do(ask{path: "/v1/accounts/acme/provider-events/" + c.provider, body: c.body, header: c.header})
		if line := answer.line(t); line != c.want {
			t.Errorf("%s: %s", name, line)
		}
		if answer.Status == 503 && answer.Header.Get("Retry-After") != "30" {
			t.Errorf("%s: Retry-After %q", name, answer.Header.Get("Retry-After"))
		}
		if strings.Contains(answer.Body, "hint") || strings.Contains(answer.Body, "mail provider") {
			t.Errorf("%s: the plugin's words are in %s", name, answer.Body)
		}
	}
	if line := e.do(ask{path: "/v1/accounts/none/provider-events/post", body: `[]`}).line(t); line != strings.Replace(nowhere, "acme", "none", 1) {
		t.Error(line)
	}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		if answer := e.do(ask{method: method, path: "/v1/accounts/acme/provider-events/post", header: hook("hook-secret")}); answer.Status != 404 {
			t.Errorf("%s: %d", method, answer.Status)
		}
	}
	if answer := e.do(ask{path: "/v1/accounts/acme/provider-events/post", body: `[]`, header: hook("hook-secret")}); answer.Status != 200 {
		t.Errorf("positive control: %d %s", answer.Status, answer.Body)
	}
	if logs := e.logs.String(); strings.Contains(logs, "hook") || strings.Contains(logs, "hint") {
		t.Errorf("logged: %s", logs)
	}
}

// The plugin sees what came, byte for byte, whatever type it says it has.
func TestPluginSeesTheCallbackAsItCame(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.provider("", "post", "hooked", "s")
	body := "\x00\xff\x1f\x8b not JSON " + strings.Repeat("é", 20_000)
	request := got(http.NewRequest("POST", e.url+"/v1/accounts/acme/provider-events/post?x=%zz", strings.NewReader(body)))(t)
	request.Header = http.Header{
		"Content-Type": {"a/b/c;;"}, "Content-Encoding": {"gzip"}, "x-signature": {"one", "two"}, "Accept": {"text/html"}, "User-Agent": {"Service/1"},
		"Accept-Encoding": {"identity"},
	}
	response := got(e.client.Do(request))(t)
	response.Body.Close()
	if response.StatusCode != 401 || len(e.services.seen) != 1 {
		t.Fatalf("%d, %d callbacks", response.StatusCode, len(e.services.seen))
	}
	seen := e.services.seen[0]
	if !bytes.Equal(seen.Body, []byte(body)) {
		t.Errorf("%d bytes of %d", len(seen.Body), len(body))
	}
	want := []sdk.Header{
		{Name: "Accept", Value: "text/html"}, {Name: "Accept-Encoding", Value: "identity"}, {Name: "Content-Encoding", Value: "gzip"},
		{Name: "Content-Length", Value: fmt.Sprint(len(body))}, {Name: "Content-Type", Value: "a/b/c;;"}, {Name: "Host", Value: e.host},
		{Name: "User-Agent", Value: "Service/1"}, {Name: "X-Signature", Value: "one"}, {Name: "X-Signature", Value: "two"},
	}
	if diff := cmp.Diff(want, seen.Headers); diff != "" {
		t.Error(diff)
	}
}

func TestCallbackSizes(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.provider(e.acme.ID, "post", "hooked", "s")
	for size, want := range map[int]int{2: 200, 16 << 10: 200, 16<<10 + 1: 200, 1 << 20: 200, 1<<20 + 1: 413} {
		body := "[" + strings.Repeat(" ", size-2) + "]"
		for name, reader := range map[string]io.Reader{"counted": strings.NewReader(body), "chunked": io.MultiReader(strings.NewReader(body))} {
			request := got(http.NewRequest("POST", e.url+"/v1/accounts/acme/provider-events/post", reader))(t)
			request.Header.Set("Authorization", hook("s")["Authorization"])
			response := got(e.client.Do(request))(t)
			text := string(got(io.ReadAll(response.Body))(t))
			response.Body.Close()
			if response.StatusCode != want || (want == 413 && !strings.Contains(text, "larger than 1048576 bytes")) {
				t.Errorf("%d bytes, %s: %d %s", size, name, response.StatusCode, text)
			}
		}
	}
}

// Large callbacks of strangers take a few places at the most; small ones pass by.
func TestLargeCallbacksAreBounded(t *testing.T) {
	t.Parallel()
	const places = 16
	e := setup(t)
	e.provider(e.acme.ID, "post", "hooked", "s")
	stall := make(chan struct{})
	e.services.stall = stall
	path, large := "/v1/accounts/acme/provider-events/post", strings.Repeat(" ", 17_000)
	var held sync.WaitGroup
	for range places {
		held.Go(func() { e.do(ask{path: path, body: large}) })
	}
	arrived := func() int {
		e.services.mu.Lock()
		defer e.services.mu.Unlock()
		return len(e.services.seen)
	}
	for deadline := time.Now().Add(10 * time.Second); arrived() < places; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d callbacks arrived", arrived())
		}
	}
	if answer := e.do(ask{path: path, body: large}); answer.Status != 503 || answer.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: %d %s", answer.Status, answer.Body)
	}
	e.services.mu.Lock()
	e.services.stall = nil
	e.services.mu.Unlock()
	if answer := e.do(ask{path: path, body: `[]`, header: hook("s")}); answer.Status != 200 {
		t.Errorf("a small one: %d %s", answer.Status, answer.Body)
	}
	close(stall)
	held.Wait()
	if answer := e.do(ask{path: path, body: "[" + large + "]", header: hook("s")}); answer.Status != 200 {
		t.Errorf("a large one afterwards: %d %s", answer.Status, answer.Body)
	}
}

// Secrets of callbacks are not guessed: what proves nothing counts, for its account
// alone, and what proves itself does not.
func TestLimitOfCallbacksThatProveNothing(t *testing.T) {
	t.Parallel()
	e, at := limited(t, func(l *httpapi.Limits) { l.BadCallback = core.Limit{} }) // the default
	e.provider("", "post", "hooked", "s")
	post := func(slug, secret string) reply {
		return e.do(ask{path: "/v1/accounts/" + slug + "/provider-events/post", body: `[]`, header: hook(secret)})
	}
	for i := range 30 {
		if right, wrong := post("acme", "s").Status, post("acme", "wrong").Status; right != 200 || wrong != 401 {
			t.Fatalf("%d: %d and %d", i, right, wrong)
		}
	}
	e.observer.take()
	if diff := cmp.Diff(throttle{429, "TOO_MANY_REQUESTS", "bad_callback", "0", "20"}, throttleOf(t, post("acme", "s"))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"limited token reject"}, e.observer.take()); diff != "" {
		t.Error(diff)
	}
	if answer := post("other", "s"); answer.Status != 200 {
		t.Errorf("another account: %d", answer.Status)
	}
	at.move(20 * time.Second)
	if answer := post("acme", "s"); answer.Status != 200 {
		t.Errorf("later: %d", answer.Status)
	}
}
