package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// requested accepts a request as the API would and gives its id.
func (e *edge) requested(account tenants.Account, address string) string {
	e.t.Helper()
	must(e.t, e.asked.next.Accept(e.t.Context(), account, core.Ask{Address: got(core.ParseAddress(address))(e.t)}))
	newest := got(e.store.Requests(e.t.Context(), account.ID, core.RequestQuery{Limit: 1}))(e.t)
	return string(newest[0].ID)
}

// requestPage is a list as a client reads it.
type requestPage struct {
	IDs   []string
	Self  string
	Next  string // empty: null
	Whole string
}

func (e *edge) requests(path, token string) requestPage {
	e.t.Helper()
	answer := e.get(path, bearer(token))
	if answer.Status != 200 {
		e.t.Fatalf("%s: %d %s", path, answer.Status, answer.Body)
	}
	var list struct {
		Data []struct {
			ID         string
			Attributes map[string]any
		}
		Links struct {
			Self string
			Next *string
		}
	}
	must(e.t, json.Unmarshal([]byte(answer.Body), &list))
	if list.Data == nil {
		e.t.Fatalf("%s: data is not an array: %s", path, answer.Body)
	}
	found := requestPage{IDs: []string{}, Self: list.Links.Self, Whole: answer.Body}
	for _, request := range list.Data {
		if _, ok := request.Attributes["deliveries"]; ok {
			e.t.Errorf("%s: a list shows deliveries", path)
		}
		found.IDs = append(found.IDs, request.ID)
	}
	if list.Links.Next != nil {
		found.Next = *list.Links.Next
	}
	return found
}

// A request from acceptance to the new password, as its timeline tells it; nothing
// of it is an address, a link or a seed.
func TestTimelineOfARequest(t *testing.T) {
	t.Parallel()
	e := setup(t)
	raw, boss := e.link(e.acme, "ada@example.com"), e.token(e.boss)
	request := got(e.store.Requests(t.Context(), e.acme.ID, core.RequestQuery{Limit: 1}))(t)[0]
	id, account := string(request.ID), string(e.acme.ID)
	must(t, e.store.Settle(t.Context(), e.acme.ID, e.mail.LeaseOf(), core.Settlement{
		State: core.DeliveryDone, MessageID: "250-queued-as-7",
		Attempt: &core.Attempt{Provider: "relay", Outcome: "delivered", Detail: "taken over", Duration: 1234 * time.Millisecond},
	}))
	body := fmt.Sprintf(`{"meta":{"passwordResetToken":%q,"newPassword":"a new phrase for ada"}}`, raw)
	if answer := e.do(ask{path: "/v1/accounts/acme/users/ada@example.com/actions/reset-password", body: body}); answer.Status != 200 {
		t.Fatalf("%d %s", answer.Status, answer.Body)
	}

	answer := e.get("/v1/accounts/acme/password-requests/"+id, bearer(boss))
	timeline := got((&core.Support{Ledger: e.store, Timelines: e.store}).Timeline(t.Context(), e.acme.ID, request.ID))(t)
	stamp := func(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }
	deliveries := timeline.Deliveries
	if len(deliveries) != 3 || deliveries[0].Kind != core.KindResolve || deliveries[1].Kind != core.KindMail || deliveries[2].Kind != core.KindNotice {
		t.Fatalf("%+v", deliveries)
	}
	mail := deliveries[1]
	want := `{"data":{"id":"` + id + `","type":"password-requests","attributes":{"state":"redeemed","reason":null,"deliver":true,` +
		`"accepted":"` + stamp(timeline.Request.Accepted) + `","expires":"` + stamp(timeline.Request.Expires) + `","redeemed":"` + stamp(timeline.Request.Spent) + `","disputed":null,"deliveries":[` +
		`{"id":"` + string(deliveries[0].ID) + `","kind":"resolve","state":"done","reason":null,"provider":null,"messageId":null,"queued":"` + stamp(deliveries[0].Queued) + `","runAt":"` + stamp(deliveries[0].RunAt) + `","ended":"` + stamp(deliveries[0].Ended) + `","attempts":[],"reports":[]},` +
		`{"id":"` + string(mail.ID) + `","kind":"mail","state":"done","reason":null,"provider":null,"messageId":"250-queued-as-7","queued":"` + stamp(mail.Queued) + `","runAt":"` + stamp(mail.RunAt) + `","ended":"` + stamp(mail.Ended) + `","attempts":[` +
		`{"number":1,"provider":"relay","outcome":"delivered","detail":"taken over","durationMs":1234,"ended":"` + stamp(mail.Attempts[0].Ended) + `"}],"reports":[]},` +
		`{"id":"` + string(deliveries[2].ID) + `","kind":"notice","state":"queued","reason":null,"provider":null,"messageId":null,"queued":"` + stamp(deliveries[2].Queued) + `","runAt":"` + stamp(deliveries[2].RunAt) + `","ended":null,"attempts":[],"reports":[]}]},` +
		`"relationships":{"account":{"links":{"related":"/v1/accounts/` + account + `"},"data":{"type":"accounts","id":"` + account + `"}},"user":{"links":{"related":"/v1/accounts/` + account + `/users/` + string(e.ada.ID) + `"},"data":{"type":"users","id":"` + string(e.ada.ID) + `"}}},` +
		`"links":{"self":"/v1/accounts/` + account + `/password-requests/` + id + `"}}}`
	if diff := cmp.Diff(want, answer.Body); diff != "" {
		t.Error(diff)
	}
	if same := e.get("/v1/accounts/"+account+"/password-requests/"+strings.ToUpper(strings.ReplaceAll(id, "-", "")), bearer(boss)); same.Body != answer.Body {
		t.Errorf("another spelling: %d", same.Status)
	}
	if head := e.do(ask{method: "HEAD", path: "/v1/accounts/acme/password-requests/" + id, header: bearer(boss)}); head.Status != 200 || head.Body != "" {
		t.Errorf("HEAD: %d %q", head.Status, head.Body)
	}
}

// A request for nobody tells why it ended, and names nobody.
func TestTimelineOfARequestForNobody(t *testing.T) {
	t.Parallel()
	e := setup(t)
	id := e.requested(e.acme, "nobody@example.com")
	waiting := e.get("/v1/accounts/acme/password-requests/"+id, bearer(e.token(e.boss))).Body
	e.link(e.acme, "ada@example.com") // resolves what waits
	ended := e.get("/v1/accounts/acme/password-requests/"+id, bearer(e.token(e.boss))).Body
	for body, words := range map[string][]string{
		waiting: {`"state":"pending","reason":null`, `"expires":null,"redeemed":null`, `"kind":"resolve","state":"queued"`},
		ended:   {`"state":"suppressed","reason":"unknown_user"`, `"expires":null,"redeemed":null`, `"kind":"resolve","state":"done"`},
	} {
		for _, word := range words {
			if !strings.Contains(body, word) {
				t.Errorf("%s is not in %s", word, body)
			}
		}
		if strings.Contains(body, `"user"`) || strings.Contains(body, "nobody@") {
			t.Errorf("%s", body)
		}
	}
}

// C5: newest first, ten unless said otherwise, and a cursor that leads through all
// of them once, whatever comes in meanwhile.
func TestListOfRequests(t *testing.T) {
	t.Parallel()
	e := setup(t)
	const path = "/v1/accounts/acme/password-requests"
	boss := e.token(e.boss)
	if empty := e.requests(path, boss); len(empty.IDs) != 0 || empty.Next != "" {
		t.Errorf("%s", empty.Whole)
	}
	var all []string
	for i := range 21 {
		all = append(all, e.requested(e.acme, fmt.Sprintf("somebody%d@example.com", i)))
	}
	elsewhere := e.requested(e.other, "somebody@example.com")
	slices.Reverse(all)
	for query, want := range map[string]int{"": 10, "?limit=1": 1, "?limit=100": 21, "?page[size]=21": 21, "?page%5Bsize%5D=7&page[cursor]=&order=desc": 7, "?limit=2&unknown=x&page[other]=y": 2} {
		if diff := cmp.Diff(all[:want], e.requests(path+query, boss).IDs); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	for _, size := range []int{1, 7, 10, 20, 21, 100} {
		var seen []string
		next := fmt.Sprintf("/v1/accounts/%s/password-requests.json?page[size]=%d", strings.ToUpper(string(e.acme.ID)), size)
		for pages := 0; next != "" && pages < 30; pages++ {
			found := e.requests(next, boss)
			if len(found.IDs) == 0 || len(found.IDs) > size || (pages > 0 && found.Self != next) || !strings.HasPrefix(found.Self, "/v1/accounts/"+strings.ToUpper(string(e.acme.ID))+"/password-requests?") {
				t.Fatalf("size %d: %s", size, found.Whole)
			}
			seen, next = append(seen, found.IDs...), found.Next
			if pages == 0 {
				e.requested(e.acme, "meanwhile@example.com")
			}
		}
		if diff := cmp.Diff(all, seen); diff != "" {
			t.Errorf("size %d: %s", size, diff)
		}
		all = slices.Insert(all, 0, e.requests(path+"?limit=1", boss).IDs...)
	}
	if slices.Contains(all, elsewhere) {
		t.Error("another account's request is listed")
	}
	if found := e.requests(path+"?page[cursor]="+elsewhere, boss); slices.Contains(found.IDs, elsewhere) {
		t.Error("another account's request is listed after itself")
	}
}

// By address: the digest is found, whether or not a user has the address, in every
// spelling of it, and in this account only.
func TestListOfRequestsForAnAddress(t *testing.T) {
	t.Parallel()
	e := setup(t)
	boss := e.token(e.boss)
	first := e.requested(e.acme, "Ada@example.com")
	e.requested(e.acme, "bob@example.com")
	second := e.requested(e.acme, "ada@EXAMPLE.com")
	tagged := e.requested(e.acme, "a+b@example.com")
	e.requested(e.other, "ada@example.com")
	e.link(e.acme, "boss@example.com") // all are resolved, and nobody's address is erased
	const path = "/v1/accounts/acme/password-requests?email="
	for typed, want := range map[string][]string{
		"ada@example.com": {second, first}, "%20ADA%40example.com": {second, first}, "a%2Bb@example.com": {tagged}, "none@example.com": {},
	} {
		found := e.requests(path+typed, boss)
		if diff := cmp.Diff(want, found.IDs); diff != "" {
			t.Errorf("%s: %s", typed, diff)
		}
	}
	page := e.requests(path+"ada@example.com&limit=1&token="+url.QueryEscape(boss), boss)
	if diff := cmp.Diff([]string{second}, page.IDs); diff != "" {
		t.Error(diff)
	}
	if next := e.requests(page.Next, boss); len(next.IDs) != 1 || next.IDs[0] != first || next.Next != "" {
		t.Errorf("the next page keeps the filter: %s", next.Whole)
	}
	if strings.Contains(page.Whole, boss) {
		t.Error("a link holds the API token")
	}
}

func TestListOfRequestsRefusals(t *testing.T) {
	t.Parallel()
	e := setup(t)
	boss := e.token(e.boss)
	for query, want := range map[string]string{
		"limit=0": "limit | must be a number from 1 to 100", "limit=101": "limit | must be a number from 1 to 100", "limit=": "limit | must be a number from 1 to 100", "limit=x": "limit | must be a number from 1 to 100", "limit=-1": "limit | must be a number from 1 to 100",
		"page[size]=0": "page[size] | must be a number from 1 to 100", "page[size]=99999999999999999999": "page[size] | must be a number from 1 to 100", "page%5Bsize%5D=1.5": "page[size] | must be a number from 1 to 100",
		"page[cursor]=x": "page[cursor] | must be a UUID or empty", "page[number]=1": "page[number] | is not supported (use page[cursor])",
		"page=2": "page | type mismatch (received string expected object)", "order=asc": "order | is invalid (must be desc)", "limit=1&limit=2": "limit | is sent more than once",
		"email=": "email | cannot be blank", "email=%20": "email | cannot be blank", "email=a&email=b": "email | is sent more than once",
	} {
		answer := e.get("/v1/accounts/acme/password-requests?"+query, bearer(boss))
		if line := answer.line(t); line != "Bad Request | - | "+want {
			t.Errorf("%s: %s", query, line)
		}
		if found, _ := answer.oneError(t); found.Source["parameter"] == "" {
			t.Errorf("%s: source %v", query, found.Source)
		}
	}
	if line := e.get("/v1/accounts/acme/password-requests?email=a%01b", bearer(boss)).line(t); !strings.HasPrefix(line, "Bad Request | ENCODING_INVALID") {
		t.Error(line)
	}
}

// Who may look: every role of the account that reads it, and operators. What is
// another account's is as absent as what does not exist.
func TestWhoSeesRequests(t *testing.T) {
	t.Parallel()
	e := setup(t)
	own, foreign := e.requested(e.acme, "ada@example.com"), e.requested(e.other, "ada@example.com")
	stranger := e.user(e.other, "stranger@example.com", core.RoleAdmin)
	tokens := map[string]string{
		"user": e.token(e.ada), "admin": e.token(e.boss), "operator": e.operatorToken(), "stranger": e.token(stranger), "nobody": "user-x",
	}
	for _, role := range []core.Role{core.RoleReadOnly, core.RoleDeveloper, core.RoleSalesAgent, core.RoleSupportAgent} {
		tokens[string(role)] = e.token(e.user(e.acme, string(role)+"@example.com", role))
	}
	for who, want := range map[string]int{
		"user": 403, "admin": 200, "operator": 200, "stranger": 404, "nobody": 401, "read-only": 200, "developer": 200, "sales-agent": 200, "support-agent": 200,
	} {
		for _, path := range []string{"", "?email=ada@example.com", "/" + own} {
			if answer := e.get("/v1/accounts/acme/password-requests"+path, bearer(tokens[who])); answer.Status != want {
				t.Errorf("%s at %q: %d %s", who, path, answer.Status, answer.Body)
			}
		}
	}
	if answer := e.get("/v1/accounts/acme/password-requests/"+own, bearer(tokens["user"])); answer.line(t) != "Forbidden | - | - | You do not have permission to complete the request" {
		t.Error(answer.Body)
	}
	if answer := e.get("/v1/accounts/acme/password-requests", nil); answer.Status != 401 {
		t.Errorf("nobody: %d", answer.Status)
	}
	if answer := e.get("/v1/accounts/other/password-requests/"+foreign, bearer(tokens["operator"])); answer.Status != 200 {
		t.Errorf("positive control: an operator at the other account: %d", answer.Status)
	}
	absent := func(id string) string {
		answer := e.get("/v1/accounts/acme/password-requests/"+id, bearer(tokens["admin"]))
		return strings.ReplaceAll(answer.fingerprint(), "'"+id+"'", "ID")
	}
	unknown := absent(newID())
	if !strings.Contains(unknown, `The requested password-request ID was not found`) {
		t.Error(unknown)
	}
	if diff := cmp.Diff(unknown, absent(foreign)); diff != "" {
		t.Error(diff)
	}
	if line := e.get("/v1/accounts/acme/password-requests/x%2Fy", bearer(tokens["admin"])).line(t); line != "Not Found | NOT_FOUND | - | The requested password-request 'x/y' was not found" {
		t.Error(line)
	}
}
