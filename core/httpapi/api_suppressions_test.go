package httpapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// suppressed puts an address on an account's list and gives the id.
func (e *edge) suppressed(account tenants.Account, address string) string {
	e.t.Helper()
	list := core.SuppressionList{Suppressions: e.store, Users: e.store, Digester: e.keys, NewID: newID}
	found, _, err := list.Add(e.t.Context(), account.ID, got(core.ParseAddress(address))(e.t))
	must(e.t, err)
	return string(found.ID)
}

type suppressionShown struct{ Reason, Provider, Email string }

type shownSuppression struct {
	ID         string
	Attributes suppressionShown
}

func (e *edge) suppressions(path, token string) (list []shownSuppression) {
	e.t.Helper()
	answer := e.get(path, bearer(token))
	var document struct{ Data []shownSuppression }
	if answer.Status != 200 || json.Unmarshal([]byte(answer.Body), &document) != nil || document.Data == nil {
		e.t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	return document.Data
}

func TestSuppressionOnAndOffTheList(t *testing.T) {
	t.Parallel()
	e := setup(t)
	const path = "/v1/accounts/acme/suppressions"
	boss := bearer(e.token(e.boss))
	post := func(email string) reply {
		t.Helper()
		return e.do(ask{path: path, body: fmt.Sprintf(`{"meta":{"email":%q}}`, email), header: boss})
	}
	created := post(" Ada@Example.com")
	var document struct{ Data struct{ ID string } }
	must(t, json.Unmarshal([]byte(created.Body), &document))
	id, account := document.Data.ID, string(e.acme.ID)
	self := "/v1/accounts/" + account + "/suppressions/" + id
	row := got(e.store.Suppression(t.Context(), e.acme.ID, core.SuppressionID(id)))(t)
	want := `{"data":{"id":"` + id + `","type":"suppressions","attributes":{"reason":"manual","provider":null,"email":"ada@example.com",` +
		`"created":"` + row.Created.UTC().Format("2006-01-02T15:04:05.000Z") + `"},` +
		`"relationships":{"account":{"links":{"related":"/v1/accounts/` + account + `"},"data":{"type":"accounts","id":"` + account + `"}},` +
		`"user":{"links":{"related":"/v1/accounts/` + account + `/users/` + string(e.ada.ID) + `"},"data":{"type":"users","id":"` + string(e.ada.ID) + `"}}},` +
		`"links":{"self":"` + self + `"}}}`
	if diff := cmp.Diff(want, created.Body); diff != "" || created.Status != 201 || created.Header.Get("Location") != self {
		t.Error(created.Status, created.Header.Get("Location"), diff)
	}
	if again := post("ada@example.com"); again.Status != 200 || again.Body != created.Body || again.Header.Get("Location") != "" {
		t.Errorf("again: %d %s", again.Status, again.Body)
	}
	if one := e.get(self, boss); one.Status != 200 || one.Body != created.Body {
		t.Errorf("%d %s", one.Status, one.Body)
	}
	if stranger := post("nobody@example.com"); stranger.Status != 201 || !strings.Contains(stranger.Body, `"email":null`) || strings.Contains(stranger.Body, "nobody@") {
		t.Errorf("%d %s", stranger.Status, stranger.Body)
	}
	if list := e.suppressions(path+"?email=ADA%40example.com", e.token(e.boss)); len(list) != 1 || list[0].ID != id {
		t.Errorf("%+v", list)
	}
	for _, want := range []int{204, 404} {
		if answer := e.do(ask{method: "DELETE", path: self, header: boss}); answer.Status != want {
			t.Errorf("%d %s", answer.Status, answer.Body)
		}
	}
	if list := e.suppressions(path+"?email=ada@example.com", e.token(e.boss)); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

// The address of a user who has another one by now is not the suppressed one.
func TestSuppressionForgetsAnAddressThatItsUserLeft(t *testing.T) {
	t.Parallel()
	e := setup(t)
	s := core.Suppression{
		ID: core.SuppressionID(newID()), AddressDigest: e.keys.Digest("address", e.acme.ID, []byte("old@example.com")),
		Reason: core.SuppressionBounced, Provider: "post", User: e.ada.ID,
	}
	_, _, err := e.store.Suppress(t.Context(), e.acme.ID, s)
	must(t, err)
	list := e.suppressions("/v1/accounts/acme/suppressions", e.token(e.boss))
	if diff := cmp.Diff([]shownSuppression{{string(s.ID), suppressionShown{"bounced", "post", ""}}}, list); diff != "" {
		t.Error(diff)
	}
	if found := e.suppressions("/v1/accounts/acme/suppressions?email=old@example.com", e.token(e.boss)); len(found) != 1 {
		t.Errorf("%+v", found)
	}
}

func TestListOfSuppressions(t *testing.T) {
	t.Parallel()
	e := setup(t)
	const path = "/v1/accounts/acme/suppressions"
	boss := e.token(e.boss)
	if empty := e.requests(path, boss); len(empty.IDs) != 0 || empty.Next != "" {
		t.Errorf("%s", empty.Whole)
	}
	var all []string
	for i := range 7 {
		all = append([]string{e.suppressed(e.acme, fmt.Sprintf("u%d@example.com", i))}, all...)
	}
	e.suppressed(e.other, "u0@example.com")
	for _, size := range []int{1, 3, 7, 10} {
		var seen []string
		for next := fmt.Sprintf("%s?page[size]=%d", path, size); next != "" && len(seen) < 10; {
			found := e.requests(next, boss)
			seen, next = append(seen, found.IDs...), found.Next
		}
		if diff := cmp.Diff(all, seen); diff != "" {
			t.Errorf("size %d: %s", size, diff)
		}
	}
	for query, want := range map[string]string{
		"limit=0": "limit | must be a number from 1 to 100", "email=": "email | cannot be blank", "page[cursor]=x": "page[cursor] | must be a UUID or empty",
	} {
		if line := e.get(path+"?"+query, bearer(boss)).line(t); line != "Bad Request | - | "+want {
			t.Errorf("%s: %s", query, line)
		}
	}
}

func TestSuppressionRefusals(t *testing.T) {
	t.Parallel()
	e := setup(t)
	for body, want := range map[string]string{
		``: "/meta | is missing", `{"meta":{}}`: "/meta/email | is missing", `{"meta":{"email":null}}`: "/meta/email | cannot be null",
		`{"meta":{"email":" "}}`: "/meta/email | cannot be blank", `{"meta":{"email":"foo"}}`: "/meta/email | is invalid",
		`{"meta":{"email":"a\u0001@example.com"}}`: "/meta/email | is invalid", `{"meta":{"email":"a@b.example","reason":"x"}}`: "/meta/reason | unpermitted parameter",
	} {
		answer := e.do(ask{path: "/v1/accounts/acme/suppressions", body: body, header: bearer(e.token(e.boss))})
		if line := answer.line(t); line != "Bad Request | - | "+want {
			t.Errorf("%s: %s", body, line)
		}
	}
	if n := len(got(e.store.Suppressions(t.Context(), e.acme.ID, core.SuppressionQuery{Limit: 10}))(t)); n != 0 {
		t.Errorf("%d suppressions", n)
	}
}

// Who reads the account reads the list; who governs it changes it. Another account's
// suppression is as absent as one that does not exist.
func TestWhoSeesSuppressions(t *testing.T) {
	t.Parallel()
	e := setup(t)
	own, foreign := e.suppressed(e.acme, "a@example.com"), e.suppressed(e.other, "a@example.com")
	const path = "/v1/accounts/acme/suppressions"
	tokens := map[string]string{
		"user": e.token(e.ada), "admin": e.token(e.boss), "operator": e.operatorToken(), "nobody": "user-x",
		"stranger":  e.token(e.user(e.other, "stranger@example.com", core.RoleAdmin)),
		"read-only": e.token(e.user(e.acme, "reader@example.com", core.RoleReadOnly)),
		"developer": e.token(e.user(e.acme, "developer@example.com", core.RoleDeveloper)),
	}
	for who, want := range map[string][2]int{
		"user": {403, 403}, "admin": {200, 201}, "operator": {200, 201}, "nobody": {401, 401}, "stranger": {404, 404}, "read-only": {200, 403}, "developer": {200, 403},
	} {
		header := bearer(tokens[who])
		reads := []int{e.get(path, header).Status, e.get(path+"/"+own, header).Status}
		post := e.do(ask{path: path, body: `{"meta":{"email":"` + who + `-made@example.com"}}`, header: header}).Status
		if diff := cmp.Diff([]int{want[0], want[0], want[1]}, append(reads, post)); diff != "" {
			t.Errorf("%s: %s", who, diff)
		}
		if want[1] == 201 {
			continue
		}
		if answer := e.do(ask{method: "DELETE", path: path + "/" + own, header: header}); answer.Status != want[1] {
			t.Errorf("%s deletes: %d", who, answer.Status)
		}
	}
	for _, method := range []string{"GET", "DELETE"} {
		absent := func(id string) string {
			answer := e.do(ask{method: method, path: path + "/" + id, header: bearer(tokens["admin"])})
			return strings.ReplaceAll(answer.fingerprint(), "'"+id+"'", "ID")
		}
		unknown := absent(newID())
		if !strings.Contains(unknown, "The requested suppression ID was not found") {
			t.Error(unknown)
		}
		if diff := cmp.Diff(unknown, absent(foreign)); diff != "" {
			t.Error(diff)
		}
	}
	if n := len(got(e.store.Suppressions(t.Context(), e.other.ID, core.SuppressionQuery{Limit: 10}))(t)); n != 1 {
		t.Errorf("%d suppressions of the other account are left", n)
	}
	if answer := e.do(ask{method: "DELETE", path: path + "/" + own, header: bearer(tokens["admin"])}); answer.Status != 204 {
		t.Errorf("positive control: %d", answer.Status)
	}
}
