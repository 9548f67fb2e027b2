package httpapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/passmend/passmend/core"
)

const tokens = "/v1/accounts/acme/tokens"

// tokenID makes an API token and gives its id and its value.
func (e *edge) tokenID(user core.User) (id, value string) {
	e.t.Helper()
	token, secret, err := e.signIn.Issue(e.t.Context(), user, core.NewToken{})
	must(e.t, err)
	return string(token.ID), secret.Reveal()
}

func TestTokensAreListedShownRegeneratedAndRevoked(t *testing.T) {
	t.Parallel()
	e := setup(t)
	id, value := e.tokenID(e.ada)
	bossID, bossValue := e.tokenID(e.boss)
	own, admin := bearer(value), bearer(bossValue)
	list, _ := e.get(tokens, own).many(t)
	if len(list) != 1 || list[0].ID != id || list[0].Attributes["kind"] != "user-token" || list[0].Attributes["token"] != nil {
		t.Errorf("own: %v", list)
	}
	if list, _ = e.get(tokens+"?page[number]=1", admin).many(t); len(list) != 2 {
		t.Errorf("an admin sees %d", len(list))
	}
	if one := e.get(tokens+"/"+id, own); one.Status != 200 || strings.Contains(one.Body, value) {
		t.Errorf("%d %s", one.Status, one.Body)
	}
	again := e.do(ask{method: "PUT", path: tokens + "/" + strings.ReplaceAll(id, "-", ""), header: own})
	fresh, _ := again.one(t).Attributes["token"].(string)
	if again.Status != 200 || again.one(t).ID != id || !strings.HasPrefix(fresh, "user-") || fresh == value || again.one(t).Attributes["expiry"] == nil {
		t.Fatalf("%d %s", again.Status, again.Body)
	}
	if line := e.get("/v1/me", own).line(t); !strings.Contains(line, "TOKEN_INVALID") {
		t.Errorf("the old value: %s", line)
	}
	current := e.do(ask{method: "PUT", path: tokens, header: admin})
	if newer, _ := current.one(t).Attributes["token"].(string); current.one(t).ID != bossID || current.one(t).Attributes["expiry"] != nil {
		t.Errorf("%s", current.Body)
	} else {
		admin = bearer(newer)
	}
	if gone := e.do(ask{method: "DELETE", path: tokens + "/" + id, header: admin}); gone.Status != 204 {
		t.Errorf("%d %s", gone.Status, gone.Body)
	}
	if e.get("/v1/me", bearer(fresh)).Status != 401 || e.get(tokens+"/"+id, admin).Status != 404 {
		t.Error("revoked and good")
	}
}

// A token that the bearer has no right to see answers as one that is nowhere.
func TestForeignTokensAreNotThere(t *testing.T) {
	t.Parallel()
	e := setup(t)
	reader := e.user(e.acme, "reader@example.com", core.RoleReadOnly)
	adas, adasValue := e.tokenID(e.ada)
	bosss, _ := e.tokenID(e.boss)
	others, othersValue := e.tokenID(e.user(e.other, "boss@example.com", core.RoleAdmin))
	const nowhere = "0197c0de-0000-7000-8000-00000000abcd"
	for _, c := range []struct {
		method, id string
		header     map[string]string
	}{
		{"GET", bosss, bearer(adasValue)}, {"PUT", bosss, bearer(adasValue)}, {"DELETE", bosss, bearer(adasValue)},
		{"GET", others, bearer(e.token(e.boss))}, {"PUT", others, bearer(e.token(e.boss))}, {"DELETE", others, bearer(e.token(e.boss))},
		{"PUT", adas, bearer(e.token(reader))}, {"DELETE", adas, bearer(e.token(reader))},
	} {
		foreign := e.do(ask{method: c.method, path: tokens + "/" + c.id, header: c.header})
		absent := e.do(ask{method: c.method, path: tokens + "/" + nowhere, header: c.header})
		// The bearer is named in the answer, and what was asked for.
		if got, want := strings.ReplaceAll(foreign.fingerprint(), c.id, "X"), strings.ReplaceAll(absent.fingerprint(), nowhere, "X"); foreign.Status != 404 || got != want {
			t.Errorf("%s %s: %s\nunlike\n%s", c.method, c.id, got, want)
		}
	}
	for id, header := range map[string]map[string]string{adas: bearer(e.token(reader)), others: bearer(othersValue)} {
		path := tokens
		if id == others {
			path = "/v1/accounts/other/tokens"
		}
		if one := e.get(path+"/"+id, header); one.Status != 200 {
			t.Errorf("the control: %d %s", one.Status, one.Body)
		}
	}
	if put := e.do(ask{method: "PUT", path: tokens, header: bearer(e.operatorToken())}); put.Status != 403 {
		t.Errorf("an operator's: %d", put.Status)
	}
}

func TestProfileNamesTheToken(t *testing.T) {
	t.Parallel()
	e := setup(t)
	id, value := e.tokenID(e.ada)
	for _, path := range []string{"/v1/profile", "/v1/accounts/acme/profile"} {
		answer := e.get(path, bearer(value))
		var document struct {
			Data shown
			Meta struct{ TokenID string }
		}
		must(t, json.Unmarshal([]byte(answer.Body), &document))
		if answer.Status != 200 || document.Data.ID != string(e.ada.ID) || document.Meta.TokenID != id {
			t.Errorf("%s: %d %s", path, answer.Status, answer.Body)
		}
	}
	if answer := e.get("/v1/profile", nil); answer.Status != 401 {
		t.Errorf("nobody: %d", answer.Status)
	}
}
