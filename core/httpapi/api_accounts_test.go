package httpapi_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/httpapi"
	"github.com/passmend/passmend/tenants"
)

const accounts = "/v1/accounts"

func newAccount(attributes string) string {
	return `{"data":{"type":"accounts","attributes":` + attributes + `}}`
}

func TestOperatorsMakeChangeListAndDeleteAccounts(t *testing.T) {
	t.Parallel()
	e := setup(t)
	operator := bearer(e.operatorToken())
	made := e.do(ask{path: accounts, header: operator, body: newAccount(`{"slug":"shop","protected":true,"linkLife":1800,"passwordMinimum":12,
		"providers":["relay"],"metadata":{"tier":2},"branding":{"accent":"#7A1FA2","fromAddress":"no-reply@shop.example"}}`)})
	if made.Status != 201 {
		t.Fatalf("%d %s", made.Status, made.Body)
	}
	shop := made.one(t)
	if a := shop.Attributes; a["name"] != "shop" || a["status"] != "active" || a["linkLife"] != 1800.0 || a["deliverPolicy"] != "caller" ||
		a["branding"].(map[string]any)["accent"] != "#7a1fa2" || made.Header.Get("Location") != shop.Links["self"] {
		t.Errorf("%s", made.Body)
	}
	changed := e.do(ask{method: "PATCH", path: accounts + "/shop", header: operator, body: newAccount(`{"slug":"store","status":"paused","branding":{"productName":"Store","fromAddress":null}}`)})
	if a := changed.one(t).Attributes; changed.Status != 200 || a["slug"] != "store" || a["branding"].(map[string]any)["fromAddress"] != nil || a["passwordMinimum"] != 12.0 {
		t.Errorf("%d %s", changed.Status, changed.Body)
	}
	if old := e.get(accounts+"/shop", operator); old.Status != 404 {
		t.Errorf("the old slug: %d", old.Status)
	}
	var all []string
	for path := accounts + "?limit=1"; path != ""; {
		list, links := e.get(path, operator).many(t)
		for _, one := range list {
			all = append(all, one.Attributes["slug"].(string))
		}
		path, _ = links["next"].(string)
	}
	if got := strings.Join(all, " "); got != "acme other store" {
		t.Errorf("listed: %s", got)
	}
	if gone := e.do(ask{method: "DELETE", path: accounts + "/" + strings.ToUpper(shop.ID), header: operator}); gone.Status != 204 {
		t.Errorf("%d %s", gone.Status, gone.Body)
	}
	for _, ref := range []string{"store", shop.ID} {
		if answer := e.do(ask{path: accounts + "/" + ref + "/passwords", body: good}); answer.Status != 404 {
			t.Errorf("deleted, %s: %d", ref, answer.Status)
		}
	}
	if again := e.do(ask{path: accounts, header: operator, body: newAccount(`{"slug":"store"}`)}); again.Status != 201 {
		t.Errorf("its slug is free: %d %s", again.Status, again.Body)
	}
}

func TestAnAdminChangesItsOwnAccountWithinBounds(t *testing.T) {
	t.Parallel()
	e := setup(t)
	admin := bearer(e.token(e.boss))
	patch := func(attributes string) reply {
		return e.do(ask{method: "PATCH", path: accounts + "/acme", header: admin, body: newAccount(attributes)})
	}
	changed := patch(`{"name":"Acme GmbH","protected":true,"apiVersion":"1.4","deliverDefault":false,"deliverPolicy":"always","linkLife":600,
		"linkTemplate":"https://app.example/reset?token={token}","passwordMinimum":10,"branding":{"productName":"A","accent":"#112233","supportAddress":"help@acme.example","fromName":"A"}}`)
	if changed.Status != 200 || changed.one(t).Attributes["name"] != "Acme GmbH" {
		t.Fatalf("%d %s", changed.Status, changed.Body)
	}
	if read := e.get(accounts+"/acme", admin); read.one(t).Attributes["deliverPolicy"] != "always" || read.Header.Get("Keygen-Version") != "1.4" {
		t.Errorf("read back at once: %s", read.Body)
	}
	for _, c := range []struct{ attributes, want string }{
		{`{"slug":"mine"}`, "Bad Request | - | /data/attributes/slug | unpermitted parameter"},
		{`{"status":"active"}`, "Bad Request | - | /data/attributes/status | unpermitted parameter"},
		{`{"providers":[]}`, "Bad Request | - | /data/attributes/providers | unpermitted parameter"},
		{`{"branding":{"fromAddress":"ceo@bank.example"}}`, "Bad Request | - | /data/attributes/branding/fromAddress | unpermitted parameter"},
		{`{"linkLife":"1h"}`, "Bad Request | - | /data/attributes/linkLife | type mismatch (received string expected integer)"},
		{`{"linkLife":60}`, "Unprocessable Entity | LINK_LIFE_INVALID | /data/attributes/linkLife | must be 600 to 86400 seconds"},
		{`{"linkLife":99999999999999999999}`, "Unprocessable Entity | LINK_LIFE_INVALID | /data/attributes/linkLife | must be 600 to 86400 seconds"},
		{`{"deliverPolicy":"maybe"}`, "Unprocessable Entity | DELIVER_POLICY_INVALID | /data/attributes/deliverPolicy | must be caller, always or never"},
		{`{"apiVersion":"2.0"}`, "Unprocessable Entity | API_VERSION_INVALID | /data/attributes/apiVersion | must be one of 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8"},
		{`{"branding":{"accent":"red"}}`, "Unprocessable Entity | ACCENT_INVALID | /data/attributes/branding/accent | must be a colour as #rrggbb in lower-case hexadecimal"},
	} {
		if line := patch(c.attributes).line(t); line != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.attributes, line, c.want)
		}
	}
	now := e.get(accounts+"/acme", admin).one(t)
	if now.Attributes["updated"] != changed.one(t).Attributes["updated"] {
		t.Error("what was refused changed something")
	}
}

func TestWhoMayDoWhatToAnAccount(t *testing.T) {
	t.Parallel()
	e := setup(t)
	reader := e.user(e.acme, "reader@example.com", core.RoleReadOnly)
	stranger := e.user(e.other, "boss@example.com", core.RoleAdmin)
	bearers := []map[string]string{bearer(e.operatorToken()), bearer(e.token(e.boss)), bearer(e.token(reader)), bearer(e.token(e.ada)), bearer(e.token(stranger)), nil}
	for _, c := range []struct {
		method, path, body string
		want               []int // operator, admin, read-only, user, another account's admin, nobody
	}{
		{"GET", accounts, "", []int{200, 403, 403, 403, 403, 401}},
		{"POST", accounts, newAccount(`{"slug":"acme"}`), []int{422, 403, 403, 403, 403, 401}},
		{"GET", accounts + "/acme", "", []int{200, 200, 200, 403, 404, 401}},
		{"PATCH", accounts + "/acme", newAccount(`{"name":"A"}`), []int{200, 200, 403, 403, 404, 401}},
		{"DELETE", accounts + "/none", "", []int{404, 404, 404, 404, 404, 404}},
		{"DELETE", accounts + "/acme", "", []int{0, 403, 403, 403, 404, 401}},
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
	if taken := e.do(ask{path: accounts, body: newAccount(`{"slug":"acme"}`), header: bearers[0]}).line(t); taken != "Unprocessable Entity | SLUG_TAKEN | /data/attributes/slug | has already been taken" {
		t.Error(taken)
	}
}

// contract.md, A8: each key in the form that clients expect.
func TestAnAccountShowsTheKeysOfItsSignatures(t *testing.T) {
	t.Parallel()
	e := setup(t)
	answer := e.get(accounts+"/acme", bearer(e.token(e.boss)))
	var document struct {
		Meta struct {
			PublicKey string
			Keys      struct{ Ed25519, RSA2048, ECDSA string }
		}
	}
	must(t, json.Unmarshal([]byte(answer.Body), &document))
	text := func(encoded string) []byte { return got(base64.StdEncoding.DecodeString(encoded))(t) }
	if key := got(hex.DecodeString(string(text(document.Meta.Keys.Ed25519))))(t); len(key) != ed25519.PublicKeySize {
		t.Errorf("ed25519: %d bytes", len(key))
	}
	public := func(raw []byte) any {
		block, _ := pem.Decode(raw)
		if block == nil {
			t.Fatalf("no PEM: %q", raw)
		}
		return got(x509.ParsePKIXPublicKey(block.Bytes))(t)
	}
	if key, ok := public(text(document.Meta.Keys.RSA2048)).(*rsa.PublicKey); !ok || key.N.BitLen() != 2048 || string(text(document.Meta.Keys.RSA2048)) != document.Meta.PublicKey {
		t.Error("rsa2048")
	}
	if _, ok := public(text(document.Meta.Keys.ECDSA)).(*ecdsa.PublicKey); !ok {
		t.Error("ecdsa")
	}
}

// A change that somebody else was quicker than is made anew on what is there now.
func TestChangesAtOnceAreAllThere(t *testing.T) {
	t.Parallel()
	e := setup(t)
	admin := core.AccountAdmin{System: e.store, Accounts: e.store, Changed: e.resolver.Clear, NewID: newID}
	done := make(chan error)
	for i := range 4 {
		go func() {
			_, err := admin.Change(context.Background(), e.acme.ID, func(a *tenants.Account) error {
				a.Providers = append(a.Providers, "p"+string(rune('a'+i)))
				return nil
			})
			done <- err
		}()
	}
	changed := 0
	for range 4 {
		switch err := <-done; {
		case err == nil:
			changed++
		case !errors.Is(err, core.ErrOutdated):
			t.Error(err)
		}
	}
	if now := got(e.store.AccountByID(context.Background(), e.acme.ID))(t); len(now.Providers) != changed || changed < 2 {
		t.Errorf("%d changes, %v", changed, now.Providers)
	}
}

// On the host of an account there is nothing of the platform's.
func TestAccountsAreNotOnAnAccountsHost(t *testing.T) {
	t.Parallel()
	e := setup(t, func(c *httpapi.Config) { c.Account = "" })
	must(t, e.store.SetDomain(context.Background(), e.acme.ID, tenants.Domain{Host: "login.acme.example", Verified: true}))
	e.resolver.Clear()
	header := bearer(e.operatorToken())
	header["Host"] = "login.acme.example"
	for _, path := range []string{accounts, accounts + "/acme"} {
		if answer := e.get(path, header); answer.Status != 404 {
			t.Errorf("%s: %d", path, answer.Status)
		}
	}
	if answer := e.get("/v1/users", header); answer.Status != 200 {
		t.Errorf("the control: %d %s", answer.Status, answer.Body)
	}
}
