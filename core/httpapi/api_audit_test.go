package httpapi_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// audited is an entry as it is shown.
type audited struct {
	ID         string
	Attributes struct {
		Event string
		Seq   int
		Actor struct {
			Kind string
			ID   *string
		}
		Object    struct{ Type, ID string }
		Fields    []string
		Network   *string
		RequestID *string
	}
}

func (e *edge) audit(path, token string) (list []audited, next string) {
	e.t.Helper()
	answer := e.get(path, bearer(token))
	var document struct {
		Data  []audited
		Links struct{ Next *string }
	}
	if answer.Status != 200 || json.Unmarshal([]byte(answer.Body), &document) != nil || document.Data == nil {
		e.t.Fatalf("%s: %d %s", path, answer.Status, answer.Body)
	}
	if document.Links.Next != nil {
		next = *document.Links.Next
	}
	return document.Data, next
}

// line is an entry in short: who, what, to whom.
func (a audited) line() string {
	line := a.Attributes.Actor.Kind
	if a.Attributes.Actor.ID != nil {
		line += " " + *a.Attributes.Actor.ID
	}
	line += " " + a.Attributes.Event + " " + a.Attributes.Object.Type + "/" + a.Attributes.Object.ID
	return strings.TrimSpace(line + " " + strings.Join(a.Attributes.Fields, ","))
}

// Who calls is known by token, by the password that was given, or by the link.
func TestAuditNamesWhoChangedWhat(t *testing.T) {
	t.Parallel()
	e := setup(t)
	const account = "/v1/accounts/acme"
	operator, boss := e.operatorToken(), e.token(e.boss)
	before, _ := e.audit(account+"/audit-events", boss)
	do := func(want int, a ask) reply {
		t.Helper()
		answer := e.do(a)
		if answer.Status != want {
			t.Fatalf("%s: %d %s", a.path, answer.Status, answer.Body)
		}
		return answer
	}
	changed := do(200, ask{method: "PATCH", path: account, body: newAccount(`{"name":"Acme & Co"}`), header: bearer(operator)})
	do(200, ask{method: "PATCH", path: account + "/users/ada@example.com", body: newUser(`{"email":"ada2@example.com","role":"developer"}`), header: bearer(boss)})
	pat := e.userWithPassword(e.acme, "pat@example.com", nil)
	do(201, ask{path: account + "/tokens", header: map[string]string{"Authorization": basic("pat@example.com", adaPassword)}})
	raw := e.link(e.acme, "boss@example.com")
	do(200, ask{path: account + "/users/" + string(e.boss.ID) + "/actions/reset-password", body: `{"meta":{"passwordResetToken":"` + raw + `","newPassword":"a long enough phrase"}}`})

	list, _ := e.audit("/v1/audit-events?account="+string(e.acme.ID)+"&limit=100", operator)
	fresh := list[:len(list)-len(before)]
	own := got(e.signIn.Tokens.APITokens(t.Context(), e.acme.ID, core.TokenQuery{User: pat.ID, Limit: 1}))(t)
	self, _, err := e.signIn.Bearer(t.Context(), tenants.NewSecret(operator))
	must(t, err)
	want := []string{
		"user " + string(e.boss.ID) + " authn_password_reset users/" + string(e.boss.ID) + " password,tokens",
		"user " + string(pat.ID) + " authn_token_created tokens/" + string(own[0].ID),
		"user " + string(pat.ID) + " user_created users/" + string(pat.ID),
		"admin " + string(e.boss.ID) + " authz_change users/" + string(e.ada.ID) + " role",
		"admin " + string(e.boss.ID) + " user_updated users/" + string(e.ada.ID) + " email",
		"operator " + string(self.ID) + " account_updated accounts/" + string(e.acme.ID) + " name",
	}
	var lines []string
	for _, entry := range fresh {
		lines = append(lines, entry.line())
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
	last := fresh[len(fresh)-1].Attributes
	if *last.RequestID != changed.Header.Get("X-Request-Id") || *last.Network != "127.0.0.0/24" {
		t.Errorf("%s from %s", *last.RequestID, *last.Network)
	}
	must(t, func() error { _, err := core.VerifyAudit(t.Context(), e.store, e.acme.ID); return err }())
}

func TestAuditIsForWhoGoverns(t *testing.T) {
	t.Parallel()
	e := setup(t)
	const path, all = "/v1/accounts/acme/audit-events", "/v1/audit-events"
	stranger := e.user(e.other, "boss@example.com", core.RoleAdmin)
	reader := e.user(e.acme, "reader@example.com", core.RoleReadOnly)
	for _, c := range []struct {
		path, token string
		want        int
	}{
		{path, e.token(e.boss), 200}, {path, e.operatorToken(), 200}, {all, e.operatorToken(), 200},
		{path, e.token(e.ada), 403}, {path, e.token(reader), 403}, {path, e.token(stranger), 404}, {path, "", 401},
		{all, e.token(e.boss), 403}, {all, "", 401},
		{path + "?event=none", e.token(e.boss), 400}, {path + "?actor=none", e.token(e.boss), 400}, {path + "?limit=0", e.token(e.boss), 400},
		{path + "?page[number]=1", e.token(e.boss), 400}, {all + "?account=acme", e.operatorToken(), 400},
	} {
		header := map[string]string{}
		if c.token != "" {
			header = bearer(c.token)
		}
		if answer := e.get(c.path, header); answer.Status != c.want {
			t.Errorf("%s: %d %s, want %d", c.path, answer.Status, answer.Body, c.want)
		}
	}
	// The other account's entries are not among them, and none of its cursors leads in.
	theirs, _ := e.audit("/v1/accounts/other/audit-events", e.token(stranger))
	mine, _ := e.audit(path+"?limit=100", e.token(e.boss))
	for _, entry := range mine {
		for _, other := range theirs {
			if entry.ID == other.ID {
				t.Fatalf("%s is in both lists", entry.ID)
			}
		}
	}
	if stolen, _ := e.audit(path+"?page[cursor]="+theirs[0].ID, e.token(e.boss)); len(stolen) != 0 {
		t.Errorf("another account's cursor gives %v", stolen)
	}
}

func TestAuditPagesFiltersAndOutlivesTheAccount(t *testing.T) {
	t.Parallel()
	e := setup(t)
	boss, operator := e.token(e.boss), e.operatorToken()
	path := "/v1/accounts/acme/audit-events?event=user_created&limit=1"
	first, next := e.audit(path, boss)
	if len(first) != 1 || next == "" || !strings.Contains(next, "event=user_created") {
		t.Fatalf("%v, next %q", first, next)
	}
	second, next := e.audit(next, boss)
	if len(second) != 1 || second[0].ID == first[0].ID || next != "" {
		t.Errorf("%v, next %q", second, next)
	}
	for actor, want := range map[string]int{string(e.boss.ID): 2, "service": 1, "operator": 0} {
		if list, _ := e.audit("/v1/accounts/acme/audit-events?actor="+url.QueryEscape(actor), boss); len(list) != want {
			t.Errorf("%d entries of %s, want %d: %v", len(list), actor, want, list)
		}
	}
	if answer := e.do(ask{method: "DELETE", path: "/v1/accounts/acme", header: bearer(operator)}); answer.Status != 204 {
		t.Fatal(answer.Status)
	}
	if answer := e.get("/v1/accounts/acme/audit-events", bearer(operator)); answer.Status != 404 {
		t.Errorf("the account's own list: %d", answer.Status)
	}
	kept, _ := e.audit("/v1/audit-events?account="+string(e.acme.ID), operator)
	if len(kept) == 0 || kept[0].Attributes.Event != "account_deleted" || kept[0].Attributes.Actor.Kind != "operator" {
		t.Errorf("%v", kept)
	}
	everywhere, _ := e.audit("/v1/audit-events?limit=100", operator)
	platform, _ := e.audit("/v1/audit-events?account=platform", operator)
	if len(platform) != 1 || platform[0].Attributes.Event != "authn_token_created" || len(everywhere) <= len(kept) {
		t.Errorf("%d of the platform, %d everywhere, %d of the account", len(platform), len(everywhere), len(kept))
	}
}

// Every change of a webhook endpoint is recorded, whoever makes it.
func TestAuditOfWebhookEndpoints(t *testing.T) {
	t.Parallel()
	e := setup(t)
	ctx, id := t.Context(), core.EndpointID(newID())
	endpoint := core.Endpoint{ID: id, Account: e.acme.ID, URL: "https://hooks.example.com/in", Subscriptions: []core.EventName{core.EventUserCreated}, APIVersion: "1.8", SealedSecret: []byte("s")}
	got(e.store.CreateEndpoint(ctx, e.acme.ID, endpoint))(t)
	got(e.store.UpdateEndpoint(ctx, e.acme.ID, endpoint))(t)
	got(e.store.RotateSecret(ctx, e.acme.ID, id, []byte("t"), 0))(t)
	got(e.store.EnableEndpoint(ctx, e.acme.ID, id))(t)
	must(t, e.store.DeleteEndpoint(ctx, e.acme.ID, id))
	list, _ := e.audit("/v1/accounts/acme/audit-events?limit=6", e.token(e.boss))
	var events []string
	for _, entry := range list[1:] { // the newest is the token of who asks
		events = append(events, entry.line())
	}
	var want []string
	for _, name := range []core.AuditName{core.AuditEndpointDeleted, core.AuditEndpointEnabled, core.AuditSecretRotated, core.AuditEndpointUpdated, core.AuditEndpointCreated} {
		want = append(want, "service "+string(name)+" webhook-endpoints/"+string(id))
	}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Error(diff)
	}
}
