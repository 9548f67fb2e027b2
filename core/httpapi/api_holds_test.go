package httpapi_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
)

type heldShown struct {
	ID         string
	Attributes struct {
		State    string
		Rate     *int
		Operator bool
	}
}

func (e *edge) holds(path, token string) (lines []string) {
	e.t.Helper()
	answer := e.get(path, bearer(token))
	var document struct{ Data []heldShown }
	if answer.Status != 200 || json.Unmarshal([]byte(answer.Body), &document) != nil || document.Data == nil {
		e.t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	for _, hold := range document.Data {
		line := hold.ID + " " + hold.Attributes.State
		if hold.Attributes.Operator {
			line += " by an operator"
		}
		lines = append(lines, line)
	}
	return lines
}

func TestHoldsBeginAndEnd(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.provider("", "relay", "up", "")
	e.provider(e.acme.ID, "own", "up", "")
	const account = "/v1/accounts/acme/holds"
	boss, operator, ada := e.token(e.boss), e.operatorToken(), e.token(e.ada)
	stranger := e.token(e.user(e.other, "boss@example.com", core.RoleAdmin))
	for _, c := range []struct {
		method, path, token string
		want                int
	}{
		{"PUT", "/v1/holds", boss, 403}, {"PUT", "/v1/holds", operator, 200}, {"PUT", "/v1/holds/relay", operator, 200}, {"PUT", "/v1/holds/own", operator, 404},
		{"PUT", account, ada, 403}, {"PUT", account, stranger, 404}, {"PUT", account, boss, 200}, {"PUT", account, boss, 200},
		{"PUT", account + "/own", operator, 200}, {"PUT", account + "/relay", boss, 404},
		{"GET", account, ada, 403}, {"GET", "/v1/holds", boss, 403},
	} {
		if answer := e.do(ask{method: c.method, path: c.path, header: bearer(c.token)}); answer.Status != c.want {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, answer.Status, answer.Body, c.want)
		}
	}
	if diff := cmp.Diff([]string{"* held by an operator", "relay held by an operator"}, e.holds("/v1/holds", operator)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"* held", "own held by an operator"}, e.holds(account, boss)); diff != "" {
		t.Error(diff)
	}
	if len(e.claim()) != 0 {
		t.Error("something went out while everything is held")
	}
	for _, c := range []struct {
		path, token string
		want        int
	}{
		{"/v1/holds", boss, 403}, {account + "/own", boss, 403}, {account + "?rate=0", boss, 400}, {account + "?rate=10001", boss, 400}, {account + "?rate=x", boss, 400},
		{account, boss, 204}, {account, boss, 404}, {account + "/own?rate=5", operator, 204}, {"/v1/holds/relay?rate=1", operator, 204}, {"/v1/holds", operator, 204}, {"/v1/holds/none", operator, 404},
	} {
		if answer := e.do(ask{method: "DELETE", path: c.path, header: bearer(c.token)}); answer.Status != c.want {
			t.Errorf("DELETE %s: %d %s, want %d", c.path, answer.Status, answer.Body, c.want)
		}
	}
	if diff := cmp.Diff([]string{"relay draining by an operator"}, e.holds("/v1/holds", operator)); diff != "" {
		t.Error(diff)
	}
}

// claim takes what may go out.
func (e *edge) claim() []core.Delivery {
	e.t.Helper()
	e.requested(e.acme, "ada@example.com")
	return got(e.store.Claim(e.t.Context(), core.ClaimAsk{Free: 8}))(e.t).Deliveries
}
