package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/google/go-cmp/cmp"
)

var algorithms = []string{"ed25519", "rsa-pss-sha256", "rsa-sha256", "ecdsa-p256"}

// A request that no mail goes out for reaches every endpoint, signed in every way
// there is, with a token that redeems; nothing at rest holds it.
func TestWebhookBringsATokenThatRedeems(t *testing.T) {
	t.Parallel()
	h := newHooks(t)
	endpoints := make(map[string]endpoint)
	for _, algorithm := range algorithms {
		endpoints[algorithm] = h.endpoint("/"+algorithm+"?a=1&b=%2F", fmt.Sprintf(`"signatureAlgorithm":%q,"subscriptions":["user.password-reset"]`, algorithm))
	}
	h.forgetQuietly("ada@example.com")
	keys := h.keys()
	var last told
	for _, algorithm := range algorithms {
		last = h.await("/"+algorithm, "user.password-reset", 1)[0]
		if err := verifyKeygen(keys, last, algorithm); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
		if err := verifyStandard(endpoints[algorithm].secret, last); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
	h.isThePasswordReset(last)

	token := last.resetToken(t)
	id := last.header.Get("Webhook-Id")
	h.eventually("the event is delivered", func() bool { return h.attributes("/webhook-events/" + id)["status"] == "DELIVERED" })
	shown := h.attributes("/webhook-events/" + id)
	if payload, _ := shown["payload"].(string); !strings.Contains(payload, `"passwordResetToken":"[redacted]"`) || !strings.Contains(payload, "ada@example.com") {
		t.Errorf("the event reads back as %v", shown)
	}
	if shown["lastResponseCode"] != 200.0 || shown["lastResponseBody"] != "as you like, 200" || len(shown["attempts"].([]any)) != 1 {
		t.Errorf("%v", shown)
	}
	stored := h.databaseBytes()
	for name, secret := range map[string]string{"the token": token, "a secret": endpoints["ed25519"].secret} {
		if strings.Contains(stored, secret) || strings.Contains(h.server.out.String(), secret) {
			t.Errorf("%s is at rest or in the log", name)
		}
	}
	if !strings.Contains(stored, id) {
		t.Error("the control: the event is not found where the token was looked for")
	}
	h.redeems(token)
	metrics := h.metrics()
	for _, want := range []string{
		`passmend_webhook_attempts_total{result="accepted"} 4`, `passmend_webhook_duration_seconds_count{result="accepted"} 4`,
		`passmend_webhook_endpoints{state="enabled"} 4`, `passmend_jobs_total{lane="webhook",outcome="ok"} 4`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s:\n%s", want, grep(metrics, "webhook"))
		}
	}
	// A link that is spent is told to nobody.
	if got := h.api("POST", "/webhook-events/"+id+"/actions/retry", ""); got.status != http.StatusCreated || got.header.Get("Location") == "" {
		t.Errorf("%d %s", got.status, got.body)
	} else {
		again := got.header.Get("Location")[len(got.header.Get("Location"))-36:]
		h.eventually("the second is given up", func() bool { return h.attributes("/webhook-events/" + again)["status"] == "FAILED" })
	}
}

// isThePasswordReset holds a call to contract.md, D.
func (h *hooks) isThePasswordReset(w told) {
	h.t.Helper()
	event, payload := w.event(h.t)
	account := strings.TrimPrefix(event.Data.Relationships["account"].(map[string]any)["links"].(map[string]any)["related"].(string), "/v1/accounts/")
	if a := event.Data.Attributes; event.Data.Type != "webhook-events" || a.Endpoint != h.receiver.URL+w.target || a.Event != "user.password-reset" || a.Status != "DELIVERING" ||
		a.APIVersion != "1.8" || a.LastResponseCode != nil || a.LastResponseBody != nil || !uuidForm.MatchString(account) {
		h.t.Errorf("the event is %s", w.body)
	}
	if event.Data.Links["self"] != "/v1/accounts/"+account+"/webhook-events/"+event.Data.ID || event.Data.ID != w.header.Get("Webhook-Id") || !retryForm.MatchString(event.Data.Meta.IdempotencyToken) {
		h.t.Errorf("the event is %s", w.body)
	}
	if payload.Data.Type != "users" || payload.Data.Attributes["email"] != "ada@example.com" || len(payload.Meta) != 1 {
		h.t.Errorf("the payload is %+v", payload)
	}
	want := map[string]string{"User-Agent": "Passmend/" + version, "Content-Type": "application/json", "Keygen-Version": "1.8"}
	got := map[string]string{}
	for name := range want {
		got[name] = w.header.Get(name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		h.t.Error(diff)
	}
	names := slices.Sorted(maps.Keys(w.header))
	if diff := cmp.Diff([]string{"Content-Length", "Content-Type", "Date", "Digest", "Keygen-Date", "Keygen-Digest", "Keygen-Signature", "Keygen-Version",
		"User-Agent", "Webhook-Id", "Webhook-Signature", "Webhook-Timestamp"}, slices.DeleteFunc(names, func(n string) bool { return n == "Connection" || n == "Accept-Encoding" })); diff != "" {
		h.t.Error(diff)
	}
}

// T29: what was changed on its way is refused by each verifier.
func TestWebhookThatWasTamperedWithIsRefused(t *testing.T) {
	t.Parallel()
	h := newHooks(t)
	one := h.endpoint("/hook", `"subscriptions":["user.password-reset"]`)
	other := h.endpoint("/other", `"subscriptions":["user.password-reset"]`)
	h.forgetQuietly("ada@example.com")
	genuine, foreign := h.await("/hook", "user.password-reset", 1)[0], h.await("/other", "user.password-reset", 1)[0]
	keys := h.keys()
	replace := func(name, value string) func(*told) { return func(w *told) { w.header.Set(name, value) } }
	edit := func(name string, change func(string) string) func(*told) {
		return func(w *told) { w.header.Set(name, change(w.header.Get(name))) }
	}
	at := func(shift time.Duration) string {
		seconds, err := strconv.ParseInt(genuine.header.Get("Webhook-Timestamp"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return strconv.FormatInt(seconds+int64(shift.Seconds()), 10)
	}
	flip := func(s string) string { return s[:10] + map[bool]string{true: "A", false: "B"}[s[10] != 'A'] + s[11:] }
	body := func(change func(string) string) func(*told) { return func(w *told) { w.body = change(w.body) } }
	// Each is tampering for the schemes that it names: Keygen's does not cover the
	// headers of Standard Webhooks, nor the other way round.
	const both, keygen, standard = "both", "keygen", "standard"
	tampered := []struct {
		name, scheme string
		change       func(*told)
	}{
		{"another user", both, body(func(s string) string { return strings.Replace(s, "ada@", "eve@", 1) })},
		{"a space more", both, body(func(s string) string { return s + " " })},
		{"a line feed more", both, body(func(s string) string { return s + "\n" })},
		{"a byte less", both, body(func(s string) string { return s[:len(s)-1] })},
		{"no body", both, body(func(string) string { return "" })},
		{"white space between", both, body(func(s string) string { return strings.Replace(s, `":`, `": `, 1) })},
		{"letter case", both, body(strings.ToUpper)},
		{"members in another order", both, body(func(s string) string { return strings.Replace(s, `"data":{`, `"data":{"x":1,`, 1) })},
		{"another endpoint's body", both, func(w *told) { w.body = foreign.body }},
		{"another id", standard, replace("Webhook-Id", foreign.header.Get("Webhook-Id"))},
		{"no id", standard, replace("Webhook-Id", "")},
		{"a later time", standard, replace("Webhook-Timestamp", at(time.Minute))},
		{"replayed ten minutes later", standard, replace("Webhook-Timestamp", at(-10*time.Minute))},
		{"from ten minutes ahead", standard, replace("Webhook-Timestamp", at(10*time.Minute))},
		{"no time", standard, replace("Webhook-Timestamp", "")},
		{"a time that is none", standard, replace("Webhook-Timestamp", "now")},
		{"a flipped signature", standard, edit("Webhook-Signature", flip)},
		{"another version", standard, edit("Webhook-Signature", func(s string) string { return strings.Replace(s, "v1,", "v2,", 1) })},
		{"another endpoint's signature", standard, replace("Webhook-Signature", foreign.header.Get("Webhook-Signature"))},
		{"no signature", standard, replace("Webhook-Signature", "")},
		{"a digest that fits another body", keygen, func(w *told) { w.body, w.header = foreign.body, withDigestOf(w.header, foreign.header) }},
		{"another host", keygen, func(w *told) { w.host = "127.0.0.1" }},
		{"another path", keygen, func(w *told) { w.target = "/other" }},
		{"another query", keygen, func(w *told) { w.target += "?x=1" }},
		{"another date", keygen, func(w *told) {
			for _, name := range []string{"Date", "Keygen-Date"} {
				w.header.Set(name, "Mon, 01 Jan 2024 00:00:00 GMT")
			}
		}},
		{"no Keygen signature", keygen, replace("Keygen-Signature", "")},
		{"another algorithm", keygen, edit("Keygen-Signature", func(s string) string { return strings.Replace(s, "ed25519", "rsa-sha256", 1) })},
		{"another endpoint's Keygen signature", keygen, replace("Keygen-Signature", foreign.header.Get("Keygen-Signature"))},
	}
	if err := verifyKeygen(keys, genuine, "ed25519"); err != nil {
		t.Fatalf("the control: %v", err)
	}
	if err := verifyStandard(one.secret, genuine); err != nil {
		t.Fatalf("the control: %v", err)
	}
	if verifyStandard(other.secret, genuine) == nil {
		t.Error("another endpoint's secret verifies")
	}
	var changed []told
	refused := map[string]int{}
	for _, c := range tampered {
		w := genuine
		w.header = genuine.header.Clone()
		c.change(&w)
		if c.scheme != keygen {
			changed = append(changed, w)
			if verifyStandard(one.secret, w) == nil {
				t.Errorf("Standard Webhooks takes %s", c.name)
			}
			refused[standard]++
		}
		if c.scheme != standard {
			if verifyKeygen(keys, w, "ed25519") == nil {
				t.Errorf("Keygen's scheme takes %s", c.name)
			}
			refused[keygen]++
		}
	}
	if refused[standard] < 20 || refused[keygen] < 16 {
		t.Errorf("tampered with in %v ways", refused)
	}
	if node() == "" {
		t.Log("node is not there: the verifier of docs/tenants.md is not run")
		return
	}
	verdicts := verifyInNode(t, one.secret, append(changed, genuine))
	for i, taken := range verdicts {
		if last := i == len(changed); taken != last {
			t.Errorf("node, call %d: taken is %v", i, taken)
		}
	}
	if verifyInNode(t, other.secret, []told{genuine})[0] {
		t.Error("node takes another endpoint's secret")
	}
}

func withDigestOf(header, from http.Header) http.Header {
	for _, name := range []string{"Digest", "Keygen-Digest"} {
		header.Set(name, from.Get(name))
	}
	return header
}

// After a rotation both secrets verify, for a day; the new one is shown once.
func TestWebhookSecretsOverlap(t *testing.T) {
	t.Parallel()
	h := newHooks(t)
	one := h.endpoint("/hook", `"subscriptions":["user.created"]`)
	rotated := h.must("webhook", "rotate", one.id, "--account", "demo")
	secret := rotated[strings.Index(rotated, "whsec_"):]
	if secret == one.secret || len(secret) != len(one.secret) {
		t.Fatalf("rotated to %q", rotated)
	}
	if got := h.api("GET", "/webhook-endpoints/"+one.id, ""); strings.Contains(got.body, "whsec_") || !strings.Contains(got.body, `"formerSecretUntil":"2`) {
		t.Errorf("%d %s", got.status, got.body)
	}
	h.create("eve@example.com")
	w := h.await("/hook", "user.created", 1)[0]
	if n := len(strings.Fields(w.header.Get("Webhook-Signature"))); n != 2 {
		t.Errorf("%d signatures", n)
	}
	for name, secret := range map[string]string{"former": one.secret, "new": secret} {
		if err := verifyStandard(secret, w); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if node() != "" && !verifyInNode(t, secret, []told{w})[0] {
			t.Errorf("node refuses the %s secret", name)
		}
	}
	h.configuresByCommand()
}

// The operator's twins of what the API does for admins.
func (h *hooks) configuresByCommand() {
	h.t.Helper()
	h.env = append(h.env, "PASSMEND_PLUGIN_PORTS=webhook:8443")
	added := h.must("webhook", "add", "https://Hook.Example:8443/x", "--account", "demo", "--events", "user.created,user.banned", "--algorithm", "rsa-sha256")
	id := regexp.MustCompile(`endpoint +([0-9a-f-]{36})\nsecret +whsec_\S{40,}$`).FindStringSubmatch(added)
	if id == nil {
		h.t.Fatalf("added: %q", added)
	}
	list := h.must("webhook", "list", "--account", "demo")
	if !regexp.MustCompile(`(?m)^`+id[1]+` +enabled +rsa-sha256 +user\.created,user\.banned +https://hook\.example:8443/x$`).MatchString(list) || strings.Contains(list, "whsec_") {
		h.t.Errorf("the list is\n%s", list)
	}
	for _, c := range []struct {
		code int
		word string
		args []string
	}{
		{2, "URL: url must begin with https://", []string{"add", "http://hook.example"}}, {2, "URL: url must name a public host", []string{"add", "https://127.0.0.1/"}},
		{2, "--events: ", []string{"add", "https://hook.example", "--events", "user.eaten"}}, {2, "--algorithm: ", []string{"add", "https://hook.example", "--algorithm", "md5"}},
		{2, "--api-version: ", []string{"add", "https://hook.example", "--api-version", "9"}}, {2, "--encryption-key: ", []string{"add", "https://hook.example", "--encryption-key", "x"}},
		{2, "ID: ", []string{"remove", "x"}}, {1, "has no webhook endpoint", []string{"remove", newID()}}, {1, "has no webhook endpoint", []string{"rotate", newID()}}, {1, "has no webhook endpoint", []string{"enable", newID()}},
	} {
		args := append(append([]string{"webhook"}, c.args...), "--account", "demo")
		if code, _, stderr := h.try(nil, args...); code != c.code || !strings.Contains(stderr, c.word) {
			h.t.Errorf("%v: exit %d, %q", args, code, stderr)
		}
	}
	h.must("webhook", "remove", id[1], "--account", "demo")
	if list := h.must("webhook", "list", "--account", "demo"); strings.Contains(list, id[1]) {
		h.t.Errorf("the list is\n%s", list)
	}
}

// A token that is encrypted for its receiver opens with the receiver's identity and
// with nothing else; it is nowhere in clear.
func TestWebhookSealsTokensForItsReceiver(t *testing.T) {
	t.Parallel()
	h := newHooks(t)
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	h.endpoint("/sealed", fmt.Sprintf(`"encryptionKey":%q`, identity.Recipient()))
	h.forgetQuietly("ada@example.com")
	w := h.await("/sealed", "user.password-reset", 1)[0]
	_, payload := w.event(t)
	sealed, _ := payload.Meta["sealedPasswordResetToken"].(string)
	if len(payload.Meta) != 1 || sealed == "" {
		t.Fatalf("meta is %v", payload.Meta)
	}
	open := func(identity age.Identity) (string, error) {
		reader, err := age.Decrypt(armor.NewReader(strings.NewReader(sealed)), identity)
		if err != nil {
			return "", err
		}
		plain, err := io.ReadAll(reader)
		return string(plain), err
	}
	token, err := open(identity)
	if err != nil || !tokenForm.MatchString(token) {
		t.Fatalf("it holds %q, %v", token, err)
	}
	if strings.Contains(w.body, token) {
		t.Error("the token is in clear too")
	}
	if _, err := open(other); err == nil {
		t.Error("another identity opens it")
	}
	h.redeems(token)
}

// An endpoint that is busy is asked again, the same event under the same id; one that
// says that it is gone is asked nothing more, and the others hear of it.
func TestWebhookIsToldAgainUntilItIsTakenOrGone(t *testing.T) {
	t.Parallel()
	h := newHooks(t)
	h.receiver.answer = func(path string, n int) int {
		switch {
		case path == "/busy" && n <= 2:
			return http.StatusServiceUnavailable
		case path == "/gone" && n == 1:
			return http.StatusGone
		}
		return http.StatusNoContent
	}
	h.endpoint("/busy", `"subscriptions":["user.password-reset"]`)
	h.endpoint("/watch", `"subscriptions":["webhook-endpoint.disabled"]`)
	h.forgetQuietly("ada@example.com")
	calls := h.await("/busy", "user.password-reset", 3) // after 1 s and 5 s
	if calls[0].resetToken(t) != calls[2].resetToken(t) || calls[0].header.Get("Webhook-Id") != calls[2].header.Get("Webhook-Id") {
		t.Error("it is told again as something else")
	}
	if calls[0].header.Get("Webhook-Timestamp") == calls[2].header.Get("Webhook-Timestamp") {
		t.Error("it is told again with the first time")
	}
	id := calls[0].header.Get("Webhook-Id")
	h.eventually("it is delivered", func() bool { return h.attributes("/webhook-events/" + id)["status"] == "DELIVERED" })
	attempts := h.attributes("/webhook-events/" + id)["attempts"].([]any)
	if len(attempts) != 3 || attempts[0].(map[string]any)["responseCode"] != 503.0 || attempts[0].(map[string]any)["detail"] != "the endpoint answered 503" {
		t.Errorf("attempts are %v", attempts)
	}

	gone := h.endpoint("/gone", `"subscriptions":["user.created"]`)
	h.create("eve@example.com")
	first := h.await("/gone", "user.created", 1)[0]
	_, told := h.await("/watch", "webhook-endpoint.disabled", 1)[0].event(t)
	if told.Data.ID != gone.id || told.Data.Attributes["status"] != "DISABLED" || told.Meta["reason"] != "gone" {
		t.Errorf("the others are told %+v", told)
	}
	shown := h.attributes("/webhook-endpoints/" + gone.id)
	if shown["status"] != "DISABLED" || shown["disabledReason"] != "gone" {
		t.Errorf("%v", shown)
	}
	retry := "/webhook-events/" + first.header.Get("Webhook-Id") + "/actions/retry"
	if got := h.api("POST", retry, ""); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.body, "WEBHOOK_ENDPOINT_GONE") {
		t.Errorf("%d %s", got.status, got.body)
	}
	h.create("bob@example.com") // nobody is told
	h.must("webhook", "enable", gone.id, "--account", "demo")
	if got := h.api("POST", retry, ""); got.status != http.StatusCreated {
		t.Fatalf("%d %s", got.status, got.body)
	}
	again := h.await("/gone", "user.created", 2)[1]
	event, about := again.event(t)
	was, _ := first.event(t)
	if event.Data.Meta != was.Data.Meta || event.Data.ID == was.Data.ID || about.Data.Attributes["email"] != "eve@example.com" {
		t.Errorf("told again: %s", again.body)
	}
	if got := h.api("DELETE", "/webhook-endpoints/"+gone.id, ""); got.status != http.StatusNoContent {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := h.api("POST", retry, ""); got.status != http.StatusUnprocessableEntity {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// What happens to users and their API tokens is told, once each, in the words of the
// API; no value of a token is.
func TestWebhookTellsOfUsersAndTokens(t *testing.T) {
	t.Parallel()
	h := newHooks(t)
	h.endpoint("/all", "")
	create := h.api("POST", "/users", `{"data":{"type":"users","attributes":{"email":"eve@example.com","password":"a first phrase"}}}`)
	if create.status != http.StatusCreated {
		t.Fatalf("%d %s", create.status, create.body)
	}
	const eve = "/users/eve@example.com"
	signedIn := h.send("POST", "/v1/accounts/demo/tokens", "", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("eve@example.com:a first phrase")))
	token := tokenOfBody(signedIn.body, `"token":"`)
	id := tokenOfBody(signedIn.body, `"id":"`)
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"PATCH", eve, `{"data":{"type":"users","attributes":{"firstName":"Eve"}}}`, 200},
		{"PUT", "/tokens/" + id, "", 200}, {"DELETE", "/tokens/" + id, "", 204},
		{"POST", eve + "/actions/ban", "", 200}, {"POST", eve + "/actions/unban", "", 200},
		{"PATCH", eve, `{"data":{"type":"users","attributes":{"password":"a second phrase"}}}`, 200},
		{"DELETE", eve, "", 204},
	} {
		if got := h.api(c.method, c.path, c.body); got.status != c.want {
			t.Fatalf("%s %s: %d %s", c.method, c.path, got.status, got.body)
		}
	}
	for event, kind := range map[string]string{
		"user.created": "users", "user.updated": "users", "user.banned": "users", "user.unbanned": "users", "user.deleted": "users", "user.password-changed": "users",
		"token.generated": "tokens", "token.regenerated": "tokens", "token.revoked": "tokens",
	} {
		calls := h.await("/all", event, 1)
		_, payload := calls[0].event(t)
		// A user who was deleted before is told of without its resource, but for the deletion.
		if payload.Data.Type != kind && (kind != "users" || event == "user.deleted" || payload.Data.Type != "") {
			t.Errorf("%s: %s", event, calls[0].body)
		}
		if strings.Contains(calls[0].body, token) || strings.Contains(calls[0].body, `\"token\":`) {
			t.Errorf("%s tells a token's value", event)
		}
	}
	if _, deleted := h.await("/all", "user.deleted", 1)[0].event(t); deleted.Data.Attributes["email"] != "eve@example.com" {
		t.Errorf("the deleted user is %+v", deleted)
	}
	h.must("token", "create", "--account", "demo", "--user", "ada@example.com")
	if _, generated := h.await("/all", "token.generated", 2)[1].event(t); generated.Data.Type != "tokens" {
		t.Errorf("by the command: %+v", generated)
	}
}

// tokenOfBody gives what follows a mark up to the next quotation mark.
func tokenOfBody(body, mark string) string {
	_, rest, _ := strings.Cut(body, mark)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// Outside development nothing of this machine can be told, whatever was stored before
// and whatever is allowed; in development the same endpoint is.
func TestWebhookStaysAwayFromThisMachine(t *testing.T) {
	t.Parallel()
	h := newHooks(t, "PASSMEND_WEBHOOK_ALLOW=10.0.0.0/8")
	hook := newTLSReceiver(t)
	got := h.api("POST", "/webhook-endpoints", fmt.Sprintf(`{"data":{"type":"webhook-endpoints","attributes":{"url":%q}}}`, hook.URL))
	if got.status != http.StatusCreated {
		t.Fatalf("%d %s", got.status, got.body)
	}
	h.create("eve@example.com")
	h.eventually("the control: it is called in development", func() bool { return hook.connections.Load() > 0 })
	h.server.stop()
	before := hook.connections.Load()

	_, port, _ := strings.Cut(strings.TrimPrefix(hook.URL, "https://"), ":")
	h.openPort("webhook", port)
	h.server = h.site.serve()
	h.create("bob@example.com")
	blocked := func() bool {
		return strings.Contains(h.metrics(), `passmend_webhook_blocked_total{reason="destination"}`) && strings.Contains(h.metrics(), `passmend_webhook_attempts_total{result="misconfigured"}`)
	}
	h.eventually("it is blocked", blocked)
	if n := hook.connections.Load(); n != before {
		t.Errorf("%d connections", n-before)
	}
	list := h.api("GET", "/webhook-events?limit=1", "")
	id := tokenOfBody(list.body, `"id":"`)
	h.eventually("the owner is told why", func() bool {
		return strings.Contains(h.api("GET", "/webhook-events/"+id, "").body, `"detail":"url must name a host, not an address"`)
	})
	for _, url := range []string{hook.URL, "http://hook.example/x", "https://10.1.2.3:25/", "https://localhost/", "https://192.168.1.1/"} {
		if got := h.api("POST", "/webhook-endpoints", fmt.Sprintf(`{"data":{"type":"webhook-endpoints","attributes":{"url":%q}}}`, url)); got.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", url, got.status, got.body)
		}
	}
	if got := h.api("POST", "/webhook-endpoints", `{"data":{"type":"webhook-endpoints","attributes":{"url":"https://10.1.2.3/hook"}}}`); got.status != http.StatusCreated {
		t.Errorf("what is allowed: %d %s", got.status, got.body)
	}
}
