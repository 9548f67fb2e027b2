package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/httpapi"
	"github.com/passmend/passmend/tenants"
)

// belongings makes one of everything in an account and gives their ids by the names
// that paths have for them; and address, session and reset: whose user it is, a token
// of it, and a live link of it.
func (e *edge) belongings(account tenants.Account, admin map[string]string) map[string]string {
	e.t.Helper()
	root := "/v1/accounts/" + string(account.ID)
	address := "user@" + account.Slug + ".example"
	made := func(path, body string) string {
		e.t.Helper()
		answer := e.do(ask{path: root + path, body: body, header: admin})
		var document struct{ Data struct{ ID string } }
		if err := json.Unmarshal([]byte(answer.Body), &document); err != nil || answer.Status != http.StatusCreated {
			e.t.Fatalf("%s: %d %s", path, answer.Status, answer.Body)
		}
		return document.Data.ID
	}
	values := map[string]string{"account": string(account.ID), "address": address, "provider": "none"}
	values["endpoint"] = made("/webhook-endpoints", `{"data":{"type":"webhook-endpoints","attributes":{"url":"https://hooks.example.com/x","subscriptions":["user.created"]}}}`)
	values["user"] = made("/users", newUser(fmt.Sprintf(`{"email":%q,"password":%q}`, address, adaPassword)))
	user := got(e.store.User(context.Background(), account.ID, core.UserID(values["user"])))(e.t)
	values["token"], values["session"] = e.tokenID(user)
	values["suppression"] = e.suppressed(account, "gone@"+account.Slug+".example")
	values["reset"] = e.link(account, address)
	values["request"] = e.firstOf(root+"/password-requests", admin)
	values["event"] = e.firstOf(root+"/webhook-events", admin)
	return values
}

func (e *edge) firstOf(path string, header map[string]string) string {
	e.t.Helper()
	answer := e.get(path, header)
	var document struct{ Data []struct{ ID string } }
	if err := json.Unmarshal([]byte(answer.Body), &document); err != nil || len(document.Data) == 0 {
		e.t.Fatalf("%s: %d %s", path, answer.Status, answer.Body)
	}
	return document.Data[0].ID
}

// resident is an account, what it has, and its admin's credentials.
type resident struct {
	values map[string]string
	admin  map[string]string
}

func (e *edge) residents() (all []resident) {
	e.t.Helper()
	for i := range 5 {
		account := got(e.store.CreateAccount(context.Background(), tenants.New(tenants.AccountID(newID()), fmt.Sprintf("tenant%d", i), "Tenant")))(e.t)
		admin := bearer(e.token(e.user(account, "boss@"+account.Slug+".example", core.RoleAdmin)))
		all = append(all, resident{e.belongings(account, admin), admin})
	}
	return all
}

// nothingThere are ids that nothing has.
var nothingThere = map[string]string{
	"account": "0197c0de-0000-7000-8000-0000000000aa", "user": "0197c0de-0000-7000-8000-0000000000ab", "token": "0197c0de-0000-7000-8000-0000000000ac",
	"endpoint": "0197c0de-0000-7000-8000-0000000000ad", "event": "0197c0de-0000-7000-8000-0000000000ae", "request": "0197c0de-0000-7000-8000-0000000000af",
	"suppression": "0197c0de-0000-7000-8000-0000000000b0", "provider": "none",
}

// T21: 20 ordered pairs of accounts, every route, with the other's ids, credentials
// and links: nothing succeeds, and every answer is the one about ids that there are not.
func TestT21NothingReachesAcrossAccounts(t *testing.T) {
	t.Parallel()
	for engine, database := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			separates(t, setupOn(t, database(t)))
		})
	}
}

func separates(t *testing.T, e *edge) {
	t.Helper()
	all := e.residents()
	before := e.contents()
	tried := 0
	for _, leak := range e.cross(all, &tried) {
		t.Error(leak)
	}
	if tried < 20*40 {
		t.Errorf("%d calls were tried", tried)
	}
	t.Logf("%d calls", tried)
	if tables := changes(before, e.contents()); len(tables) != 0 {
		t.Errorf("rows have changed in %v", tables)
	}

	// Positive control: with one's own ids every one of the calls works.
	own := all[0]
	ordered := operations(t)
	order := func(o operation) int {
		// A reset ends tokens, a ban links, and a deletion everything.
		last := []string{"revokeToken", "resetPassword", "banUser", "unbanUser"}
		switch at := slices.Index(last, o.id); {
		case at >= 0:
			return 1 + at
		case o.method == "DELETE":
			return 1 + len(last)
		}
		return 0
	}
	slices.SortStableFunc(ordered, func(a, b operation) int { return order(a) - order(b) })
	for _, o := range ordered {
		if !o.namesSomething() || o.id == "updatePassword" {
			continue
		}
		if answer := e.do(ask{method: o.method, path: o.at(own.values), body: own.body(t, o), header: own.admin}); answer.Status >= 300 {
			t.Errorf("%s %s with one's own: %d %s", o.method, o.path, answer.Status, answer.Body)
		}
	}
}

// Positive control: where one look-up forgets the account, T21 sees it.
func TestT21SeesALookUpThatForgetsTheAccount(t *testing.T) {
	t.Parallel()
	for engine, database := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			seesForgetting(t, database(t))
		})
	}
}

func seesForgetting(t *testing.T, database string) {
	t.Helper()
	blind := &forgetful{}
	e := setupOn(t, database, func(c *httpapi.Config) { blind.rightful, c.Users = c.Users, blind })
	all := e.residents()
	for _, r := range all {
		blind.accounts = append(blind.accounts, tenants.AccountID(r.values["account"]))
	}
	var tried int
	if leaks := e.cross(all, &tried); len(leaks) < 20 {
		t.Errorf("%d leaks are seen, want one for every pair at least", len(leaks))
	}
}

type rightful interface{ core.Users }

// forgetful finds a user by id in whatever account it is.
type forgetful struct {
	rightful
	accounts []tenants.AccountID
}

func (f *forgetful) User(ctx context.Context, account tenants.AccountID, id core.UserID) (core.User, error) {
	for _, other := range f.accounts {
		if user, err := f.rightful.User(ctx, other, id); err == nil {
			return user, nil
		}
	}
	return f.rightful.User(ctx, account, id)
}

// body is one that the route would take.
func (r resident) body(t testing.TB, o operation) string {
	t.Helper()
	switch {
	case o.id == "resetPassword":
		return fmt.Sprintf(`{"meta":{"passwordResetToken":%q,"newPassword":"correct horse battery staple 2"}}`, r.values["reset"])
	case o.id == "updatePassword":
		return fmt.Sprintf(`{"meta":{"oldPassword":%q,"newPassword":"correct horse battery staple 2"}}`, adaPassword)
	case o.body == nil:
		return ""
	}
	return encoded(t, example(o.body, ""))
}

// cross tries everything with what is another's and tells what it got.
func (e *edge) cross(all []resident, tried *int) (leaks []string) {
	e.t.Helper()
	routes := operations(e.t)
	for i, mine := range all {
		for j, other := range all {
			if i == j {
				continue
			}
			for _, o := range routes {
				if !strings.Contains(o.path, "{account}") || o.plain() {
					continue
				}
				for name, c := range mine.strays(o, other) {
					*tried++
					if leak := e.differ(o, mine, other, c); leak != "" {
						leaks = append(leaks, fmt.Sprintf("%d at %d: %s %s %s: %s", i, j, o.method, o.path, name, leak))
					}
				}
			}
		}
	}
	return leaks
}

// stray is a call with what is another's, and the same about what there is not.
type stray struct {
	values, control map[string]string
	header          map[string]string
}

// strays are the ways to go astray on a route.
func (r resident) strays(o operation, other resident) map[string]stray {
	found := map[string]stray{}
	if o.namesSomething() {
		values, control := maps.Clone(other.values), maps.Clone(nothingThere)
		values["account"], control["account"] = r.values["account"], r.values["account"]
		found["with the other's ids"] = stray{values, control, r.admin}
	}
	// Without a token the account of the path is what it is, for everybody.
	if !slices.Contains([]string{"requestPassword", "resetPassword", "createUser", "createToken"}, o.id) {
		found["at the other's account"] = stray{other.values, nothingThere, r.admin}
	}
	if o.id == "createToken" {
		own := map[string]string{"account": r.values["account"]}
		found["with the other's password"] = stray{own, own, map[string]string{"Authorization": basic(other.values["address"], adaPassword)}}
	}
	return found
}

// differ says what is wrong with an answer: it must be a refusal, and the same as to
// what there is not.
func (e *edge) differ(o operation, mine, other resident, s stray) string {
	send := func(values, header map[string]string) (int, string) {
		body := other.body(e.t, o)
		answer := e.do(ask{method: o.method, path: o.at(values), body: body, header: header})
		print := answer.fingerprint()
		for name, value := range values {
			if value != mine.values["account"] && name != "provider" {
				print = strings.ReplaceAll(print, value, name)
			}
		}
		return answer.Status, print
	}
	status, found := send(s.values, s.header)
	want := http.StatusNotFound
	header := s.header
	if o.id == "createToken" {
		want, header = http.StatusUnauthorized, map[string]string{"Authorization": basic("nobody@nowhere.example", adaPassword)}
	}
	if status != want {
		return fmt.Sprintf("%d, want %d: %s", status, want, found)
	}
	if _, unknown := send(s.control, header); found != unknown {
		return fmt.Sprintf("it differs from what is unknown:\n%s\n--- unknown:\n%s", found, unknown)
	}
	return ""
}
