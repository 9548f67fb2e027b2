package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// shown is a resource, or a list of them, as a client reads it.
type shown struct {
	ID         string
	Type       string
	Attributes map[string]any
	Links      map[string]string
}

func (r reply) one(t testing.TB) shown {
	t.Helper()
	var document struct{ Data shown }
	must(t, json.Unmarshal([]byte(r.Body), &document))
	return document.Data
}

func (r reply) many(t testing.TB) (list []shown, links map[string]any) {
	t.Helper()
	var document struct {
		Data  []shown
		Links map[string]any
	}
	must(t, json.Unmarshal([]byte(r.Body), &document))
	return document.Data, document.Links
}

const users = "/v1/accounts/acme/users"

func newUser(attributes string) string {
	return `{"data":{"type":"users","attributes":` + attributes + `}}`
}

// set changes an account in the store, and lets the edge forget it.
func (e *edge) set(account tenants.Account, change func(*tenants.Account)) {
	e.t.Helper()
	account.Updated = account.Updated.Truncate(0)
	now := got(e.store.AccountByID(context.Background(), account.ID))(e.t)
	change(&now)
	got(e.store.UpdateAccount(context.Background(), account.ID, now))(e.t)
	e.resolver.Clear()
}

func TestAnybodyMakesAUserUnlessTheAccountIsProtected(t *testing.T) {
	t.Parallel()
	e := setup(t)
	made := e.do(ask{path: users, body: newUser(`{"email":" New@Example.com ","firstName":"Neu","password":"a phrase to sign in","metadata":{"plan":"gold","n":1.50}}`)})
	if made.Status != 201 {
		t.Fatalf("%d %s", made.Status, made.Body)
	}
	user := made.one(t)
	if made.Header.Get("Location") != user.Links["self"] || user.Links["self"] != "/v1/accounts/"+string(e.acme.ID)+"/users/"+user.ID {
		t.Errorf("Location %q, self %q", made.Header.Get("Location"), user.Links["self"])
	}
	if a := user.Attributes; a["email"] != "new@example.com" || a["role"] != "user" || a["status"] != "ACTIVE" || a["firstName"] != "Neu" {
		t.Errorf("attributes %v", a)
	}
	if !strings.Contains(made.Body, `"metadata":{"plan":"gold","n":1.50}`) {
		t.Errorf("numbers stay as they were written: %s", made.Body)
	}
	if in := e.do(ask{path: "/v1/accounts/acme/tokens", header: map[string]string{"Authorization": basic("new@example.com", "a phrase to sign in")}}); in.Status != 201 {
		t.Errorf("sign-in: %d %s", in.Status, in.Body)
	}
	e.set(e.acme, func(a *tenants.Account) { a.Protected = true })
	if refused := e.do(ask{path: users, body: newUser(`{"email":"x@example.com"}`)}); refused.Status != 403 {
		t.Errorf("protected: %d", refused.Status)
	}
	if admin := e.do(ask{path: users, body: newUser(`{"email":"x@example.com","role":"read-only"}`), header: bearer(e.token(e.boss))}); admin.Status != 201 || admin.one(t).Attributes["role"] != "read-only" {
		t.Errorf("protected, an admin: %d %s", admin.Status, admin.Body)
	}
}

// One case for each line that contract.md, A4 and C6, has for a body. Nothing is
// stored of what is refused.
func TestWhatIsWrongWithAUserIsToldByName(t *testing.T) {
	t.Parallel()
	e := setup(t)
	admin := bearer(e.token(e.boss))
	deep := `{"a":{"b":{"c":{"d":1}}}}`
	var keys []string
	for i := range core.MaxMetadataKeys + 1 {
		keys = append(keys, fmt.Sprintf(`"k%d":1`, i))
	}
	before := got(e.store.CountUsers(context.Background(), e.acme.ID, core.UserQuery{}))(t)
	for _, c := range []struct {
		body   string
		header map[string]string
		want   string
	}{
		{``, nil, "Bad Request | - | /data | is missing"},
		{`[]`, nil, "Bad Request | - | /data | unpermitted parameter"},
		{`{"data":"x"}`, nil, "Bad Request | - | /data | type mismatch (received string expected object)"},
		{`{"data":{"type":"users"}}`, nil, "Bad Request | - | /data/attributes | is missing"},
		{`{"data":{"type":"accounts","attributes":{"email":"x@example.com"}}}`, nil, "Bad Request | - | /data/type | is invalid"},
		{newUser(`{}`), nil, "Bad Request | - | /data/attributes/email | is missing"},
		{newUser(`{"email":null}`), nil, "Bad Request | - | /data/attributes/email | cannot be null"},
		{newUser(`{"email":["x@example.com"]}`), nil, "Bad Request | - | /data/attributes/email | type mismatch (received array expected string)"},
		{newUser(`{"email":"x@example.com","role":"admin"}`), nil, "Bad Request | - | /data/attributes/role | unpermitted parameter"},
		{newUser(`{"email":"x@example.com","role":"king"}`), admin, "Bad Request | - | /data/attributes/role | is invalid"},
		{newUser(`{"email":"x@example.com","status":"BANNED"}`), admin, "Bad Request | - | /data/attributes/status | unpermitted parameter"},
		{newUser(`{"email":"x@example.com","metadata":[]}`), nil, "Bad Request | - | /data/attributes/metadata | type mismatch (received array expected object)"},
		{newUser(`{"email":"foo"}`), nil, "Unprocessable Entity | EMAIL_INVALID | /data/attributes/email | is invalid"},
		{newUser(`{"email":"a@b@example.com"}`), nil, "Unprocessable Entity | EMAIL_INVALID | /data/attributes/email | is invalid"},
		{newUser(`{"email":"ADA@example.com"}`), nil, "Unprocessable Entity | EMAIL_TAKEN | /data/attributes/email | has already been taken"},
		{newUser(`{"email":"` + strings.Repeat("x", 250) + `@example.com"}`), nil, "Unprocessable Entity | EMAIL_TOO_LONG | /data/attributes/email | is too long (maximum is 255 characters)"},
		{newUser(`{"email":"x@example.com","firstName":"` + strings.Repeat("é", 256) + `"}`), nil, "Unprocessable Entity | FIRST_NAME_TOO_LONG | /data/attributes/firstName | is too long (maximum is 255 characters)"},
		{newUser(`{"email":"x@example.com","lastName":"a\r\nBcc: b"}`), nil, "Unprocessable Entity | LAST_NAME_INVALID | /data/attributes/lastName | is invalid"},
		{newUser(`{"email":"x@example.com","password":"short"}`), nil, "Unprocessable Entity | PASSWORD_TOO_SHORT | /data/attributes/password | is too short (minimum is 8 characters)"},
		{newUser(`{"email":"x@example.com","password":"password1"}`), nil, "Unprocessable Entity | PASSWORD_COMMON | /data/attributes/password | is too common"},
		{newUser(`{"email":"x@example.com","metadata":` + deep + `}`), nil, ""},
		{newUser(`{"email":"y@example.com","metadata":{"z":` + deep + `}}`), nil, "Unprocessable Entity | METADATA_TOO_DEEP | /data/attributes/metadata | is nested too deep (maximum is 4 levels)"},
		{newUser(`{"email":"y@example.com","metadata":{` + strings.Join(keys, ",") + `}}`), nil, "Unprocessable Entity | METADATA_TOO_LONG | /data/attributes/metadata | has too many keys (maximum is 64)"},
		{newUser(`{"email":"y@example.com","metadata":{"a":"` + strings.Repeat("x", core.MaxMetadataBytes) + `"}}`), nil, "Unprocessable Entity | METADATA_TOO_LONG | /data/attributes/metadata | is too long (maximum is 16384 bytes)"},
		{newUser(`{"email":"x@example.com"}`), bearer(e.token(e.ada)), "Forbidden | - | - | You do not have permission to complete the request"},
		{newUser(`{"email":"x@example.com"}`), bearer("garbage"), "Unauthorized | TOKEN_INVALID | - | The API token is not valid"},
		{strings.Repeat(" ", 64<<10+1), nil, "Request Entity Too Large | - | - | The request body is larger than 65536 bytes"},
	} {
		answer := e.do(ask{path: users, body: c.body, header: c.header})
		if c.want == "" {
			if answer.Status != 201 {
				t.Errorf("the control: %d %s", answer.Status, answer.Body)
			}
			continue
		}
		if line := answer.line(t); line != c.want {
			t.Errorf("%.80s\n got %s\nwant %s", c.body, line, c.want)
		}
	}
	if after := got(e.store.CountUsers(context.Background(), e.acme.ID, core.UserQuery{}))(t); after != before+1 {
		t.Errorf("%d users before, %d after: one was good", before, after)
	}
}

func TestWhoMayDoWhatToAUser(t *testing.T) {
	t.Parallel()
	e := setup(t)
	reader := e.user(e.acme, "reader@example.com", core.RoleReadOnly)
	e.user(e.acme, "eve@example.com", core.RoleUser)
	stranger := e.user(e.other, "boss@example.com", core.RoleAdmin)
	bearers := []map[string]string{bearer(e.operatorToken()), bearer(e.token(e.boss)), bearer(e.token(reader)), bearer(e.token(e.ada)), bearer(e.token(stranger)), nil}
	name := `{"data":{"type":"users","attributes":{"firstName":"Other"}}}`
	for _, c := range []struct {
		method, path, body string
		want               []int // operator, admin, read-only, user, another account's admin, nobody
	}{
		{"GET", users, "", []int{200, 200, 200, 403, 404, 401}},
		{"GET", users + "/eve@example.com", "", []int{200, 200, 200, 404, 404, 401}},
		{"GET", users + "/ada@example.com", "", []int{200, 200, 200, 200, 404, 401}},
		{"PATCH", users + "/eve@example.com", name, []int{200, 200, 403, 404, 404, 401}},
		{"PATCH", users + "/ada@example.com", name, []int{200, 200, 403, 200, 404, 401}},
		{"PATCH", users + "/reader@example.com", name, []int{200, 200, 200, 404, 404, 401}},
		{"POST", users + "/eve@example.com/actions/ban", "", []int{200, 200, 403, 404, 404, 401}},
		{"POST", users + "/eve@example.com/actions/unban", "", []int{200, 200, 403, 404, 404, 401}},
		{"POST", users + "/boss@example.com/actions/ban", "", []int{403, 403, 403, 404, 404, 401}},
		{"POST", users + "/ada@example.com/actions/update-password", `{"meta":{"oldPassword":"x","newPassword":"y"}}`, []int{403, 403, 403, 401, 404, 401}},
		{"DELETE", users + "/none", "", []int{404, 404, 404, 404, 404, 401}},
		{"DELETE", users + "/ada@example.com", "", []int{0, 0, 403, 403, 404, 401}},
	} {
		for i, header := range bearers {
			if c.want[i] == 0 {
				continue
			}
			if answer := e.do(ask{method: c.method, path: c.path, body: c.body, header: header}); answer.Status != c.want[i] {
				t.Errorf("%s %s, bearer %d: %d %s, want %d", c.method, c.path, i, answer.Status, answer.Body, c.want[i])
			}
		}
	}
}

func TestAUserIsChangedBannedAndDeleted(t *testing.T) {
	t.Parallel()
	e := setup(t)
	pat := e.userWithPassword(e.acme, "pat@example.com", func(u *core.User) { u.LastName = "Before" })
	admin, own := bearer(e.token(e.boss)), bearer(e.token(pat))
	path := users + "/" + string(pat.ID)
	patch := func(header map[string]string, attributes string) reply {
		return e.do(ask{method: "PATCH", path: path, body: newUser(attributes), header: header})
	}
	for _, forbidden := range []string{`{"password":"a new phrase"}`, `{"metadata":{}}`, `{"role":"admin"}`} {
		if line := patch(own, forbidden).line(t); !strings.HasSuffix(line, "unpermitted parameter") {
			t.Errorf("%s: %s", forbidden, line)
		}
	}
	changed := patch(own, `{"email":"Pat.New@example.com","lastName":null}`)
	if a := changed.one(t).Attributes; changed.Status != 200 || a["email"] != "pat.new@example.com" || a["lastName"] != nil {
		t.Errorf("%d %s", changed.Status, changed.Body)
	}
	raw := e.link(e.acme, "pat.new@example.com")
	if kept := patch(admin, `{"password":"set by an admin","metadata":{"a":1}}`); kept.Status != 200 {
		t.Errorf("%d %s", kept.Status, kept.Body)
	}
	if me := e.get("/v1/accounts/acme/me", own); me.Status != 200 {
		t.Errorf("PATCH revokes no tokens: %d", me.Status)
	}
	signIn := func(password string) int {
		return e.do(ask{path: "/v1/accounts/acme/tokens", header: map[string]string{"Authorization": basic("pat.new@example.com", password)}}).Status
	}
	if signIn("set by an admin") != 201 || signIn(adaPassword) != 401 {
		t.Error("the password is not the admin's")
	}
	reset := e.do(ask{path: path + "/actions/reset-password", body: fmt.Sprintf(`{"meta":{"passwordResetToken":%q,"newPassword":"a new phrase for pat"}}`, raw)})
	if reset.Status != 404 {
		t.Errorf("a link from before the new password: %d", reset.Status)
	}
	if banned := e.do(ask{path: path + "/actions/ban", header: admin}); banned.one(t).Attributes["status"] != "BANNED" {
		t.Errorf("%s", banned.Body)
	}
	if line := e.get("/v1/accounts/acme/me", own).line(t); line != "Forbidden | USER_BANNED | - | The user is banned" {
		t.Error(line)
	}
	if signIn("set by an admin") != 403 || signIn("wrong") != 401 {
		t.Error("a banned user is told so with the right password only")
	}
	if again := e.do(ask{path: path + "/actions/unban", header: admin}); again.one(t).Attributes["status"] != "ACTIVE" || e.get("/v1/accounts/acme/me", own).Status != 200 {
		t.Errorf("%s", again.Body)
	}
	if gone := patch(admin, `{"password":null}`); gone.Status != 200 || signIn("set by an admin") != 401 {
		t.Errorf("a password of null takes it away: %s", gone.Body)
	}
	if gone := e.do(ask{method: "DELETE", path: path, header: admin}); gone.Status != 204 || gone.Body != "" {
		t.Errorf("%d %s", gone.Status, gone.Body)
	}
	if e.get(path, admin).Status != 404 || e.get("/v1/accounts/acme/me", own).Status != 401 {
		t.Error("deleted and there")
	}
}

// contract.md, A3: every other token of the user is dead afterwards, and every link.
func TestUpdatePassword(t *testing.T) {
	t.Parallel()
	e := setup(t)
	pat := e.userWithPassword(e.acme, "pat@example.com", nil)
	own, other, admin := bearer(e.token(pat)), bearer(e.token(pat)), bearer(e.token(e.boss))
	path := users + "/PAT@example.com/actions/update-password"
	body := func(old, chosen string) string {
		return fmt.Sprintf(`{"meta":{"oldPassword":%q,"newPassword":%q}}`, old, chosen)
	}
	for _, c := range []struct {
		body   string
		header map[string]string
		want   string
	}{
		{body("x", "y"), nil, "Unauthorized | TOKEN_MISSING | - | An API token is needed"},
		{body(adaPassword, "a new phrase for pat"), admin, "Forbidden | - | - | You do not have permission to complete the request"},
		{body(adaPassword, "a new phrase for pat"), bearer(e.token(e.ada)), "Not Found | NOT_FOUND | - | The requested user 'PAT@example.com' was not found"},
		{`{}`, own, "Bad Request | - | /meta | is missing"},
		{`{"meta":{"oldPassword":"x"}}`, own, "Bad Request | - | /meta/newPassword | is missing"},
		{body("wrong", "a new phrase for pat"), own, "Unauthorized | - | /meta/oldPassword | is not valid"},
		{body(adaPassword, "short"), own, "Unprocessable Entity | PASSWORD_TOO_SHORT | /data/attributes/password | is too short (minimum is 8 characters)"},
	} {
		if line := e.do(ask{path: path, body: c.body, header: c.header}).line(t); line != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.body, line, c.want)
		}
	}
	raw := e.link(e.acme, "pat@example.com")
	if done := e.do(ask{path: path, body: body(adaPassword, "a new phrase for pat"), header: own}); done.Status != 200 || done.one(t).ID != string(pat.ID) {
		t.Fatalf("%d %s", done.Status, done.Body)
	}
	if e.get("/v1/me", own).Status != 200 || e.get("/v1/me", other).Status != 401 {
		t.Error("all tokens die but the one in use")
	}
	if reset := e.do(ask{path: users + "/" + string(pat.ID) + "/actions/reset-password", body: fmt.Sprintf(`{"meta":{"passwordResetToken":%q,"newPassword":"another phrase"}}`, raw)}); reset.Status != 404 {
		t.Errorf("a link outlives it: %d", reset.Status)
	}
	// A user without a password has no old one.
	if line := e.do(ask{path: users + "/ada@example.com/actions/update-password", body: body("x", "a new phrase for ada"), header: bearer(e.token(e.ada))}).line(t); line != "Unauthorized | - | /meta/oldPassword | is not valid" {
		t.Error(line)
	}
}

func TestListsOfUsers(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.userWith(core.User{Account: e.acme.ID, Address: got(core.ParseAddress("gold@example.com"))(t), Role: core.RoleUser, Metadata: json.RawMessage(`{"plan":"gold","level":3}`)})
	e.userWith(core.User{Account: e.acme.ID, Address: got(core.ParseAddress("bad@example.com"))(t), Role: core.RoleUser, Banned: true})
	e.user(e.other, "elsewhere@example.com", core.RoleUser)
	admin := bearer(e.token(e.boss))
	emails := func(query string) (list []string, links map[string]any) {
		t.Helper()
		answer := e.get(users+query, admin)
		if answer.Status != 200 {
			t.Fatalf("%s: %d %s", query, answer.Status, answer.Body)
		}
		found, links := answer.many(t)
		for _, user := range found {
			list = append(list, strings.TrimSuffix(user.Attributes["email"].(string), "@example.com"))
		}
		return list, links
	}
	for query, want := range map[string][]string{
		"":                                       {"bad", "gold", "ada"},
		"?order=asc":                             {"ada", "gold", "bad"},
		"?limit=2":                               {"bad", "gold"},
		"?roles[]=admin":                         {"boss"},
		"?roles[]=admin&roles[]=user":            {"bad", "gold", "boss", "ada"},
		"?status=BANNED":                         {"bad"},
		"?status=ACTIVE":                         {"gold", "ada"},
		"?status=INACTIVE":                       nil,
		"?metadata[plan]=gold":                   {"gold"},
		"?metadata[level]=3":                     {"gold"},
		"?metadata[level]=4":                     nil,
		"?page[number]=2&page[size]=2":           {"ada"},
		"?page[number]=3&page[size]=2":           nil,
		"?page[number]=1&page[size]=2&order=asc": {"ada", "gold"},
	} {
		if list, _ := emails(query); !slices.Equal(list, want) {
			t.Errorf("%s: %v, want %v", query, list, want)
		}
	}
	// By cursor and by number one comes to everybody once, with the filter kept.
	for start, path := range map[string][]string{
		"?page[size]=1&status=ACTIVE":               {"gold", "ada"},
		"?page[size]=1&order=asc":                   {"ada", "gold", "bad"},
		"?page[number]=1&page[size]=2&roles[]=user": {"bad", "gold", "ada"},
	} {
		var all []string
		for query := start; query != ""; {
			list, links := emails(query)
			all = append(all, list...)
			next, _ := links["next"].(string)
			if query = strings.TrimPrefix(next, users); len(all) > 10 {
				t.Fatalf("%s does not end", start)
			}
		}
		if !slices.Equal(all, path) {
			t.Errorf("%s: %v, want %v", start, all, path)
		}
	}
	_, links := emails("?page[number]=2&page[size]=1")
	at := func(n string) string {
		return users + "?" + url.Values{"page[number]": {n}, "page[size]": {"1"}}.Encode()
	}
	want := map[string]any{
		"self": at("2"), "prev": at("1"), "next": at("3"), "first": at("1"), "last": at("3"),
		"meta": map[string]any{"pages": 3.0, "count": 3.0},
	}
	if diff := cmp.Diff(want, links); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	for query, parameter := range map[string]string{
		"?limit=0": "limit", "?limit=101": "limit", "?limit=x": "limit", "?page[number]=0": "page[number]", "?page[number]=101": "page[number]",
		"?page[size]=0": "page[size]", "?page[cursor]=x": "page[cursor]", "?order=up": "order", "?page=2": "page", "?status=active": "status",
		"?roles[]=king": "roles[]", "?metadata[]=x": "metadata[]", "?limit=1&limit=2": "limit",
		"?page[number]=1&page[cursor]=": "page[cursor]",
	} {
		if found, _ := e.get(users+query, admin).oneError(t); found.Source["parameter"] != parameter {
			t.Errorf("%s: %v, want %s", query, found, parameter)
		}
	}
	if unknown := e.get(users+"?colour=red", admin); unknown.Status != 200 {
		t.Errorf("an unknown parameter: %d", unknown.Status)
	}
}

// contract.md, B: what an account that is paused or canceled still does.
func TestAnInactiveAccountStillRecovers(t *testing.T) {
	t.Parallel()
	for _, status := range []tenants.Status{tenants.StatusPaused, tenants.StatusCanceled} {
		e := setup(t)
		e.set(e.acme, func(a *tenants.Account) { a.Status = status })
		e.userWithPassword(e.acme, "pat@example.com", nil)
		admin := bearer(e.token(e.boss))
		for _, c := range []struct {
			method, path, body string
			want               int
		}{
			{"POST", "/v1/accounts/acme/passwords", good, 202},
			{"GET", users + "/ada@example.com", "", 200},
			{"PATCH", users + "/ada@example.com", newUser(`{"firstName":"A"}`), 200},
			{"POST", users + "/ada@example.com/actions/ban", "", 200},
			{"GET", "/v1/accounts/acme/me", "", 200},
			{"GET", "/v1/accounts/acme/profile", "", 200},
			{"GET", users, "", 403},
			{"POST", users, newUser(`{"email":"x@example.com"}`), 403},
			{"DELETE", users + "/ada@example.com", "", 403},
			{"GET", "/v1/accounts/acme/tokens", "", 403},
			{"PUT", "/v1/accounts/acme/tokens", "", 403},
		} {
			answer := e.do(ask{method: c.method, path: c.path, body: c.body, header: admin})
			if answer.Status != c.want {
				t.Errorf("%s: %s %s: %d %s, want %d", status, c.method, c.path, answer.Status, answer.Body, c.want)
			}
			if c.want == 403 {
				if found, _ := answer.oneError(t); found.Title != "Account does not have an active subscription" || found.Code != "" {
					t.Errorf("%s %s: %+v", c.method, c.path, found)
				}
			}
		}
		if in := e.do(ask{path: "/v1/accounts/acme/tokens", header: map[string]string{"Authorization": basic("pat@example.com", adaPassword)}}); in.Status != 201 {
			t.Errorf("%s: sign-in %d", status, in.Status)
		}
	}
}
