package httpapi_test

import (
	"fmt"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/httpapi"
)

func TestDefaultLimits(t *testing.T) {
	t.Parallel()
	var l httpapi.Limits
	must(t, l.Validate())
	got := map[string]string{
		"RSTPWD": l.Rstpwd.String(), "MUTPWD": l.Mutpwd.String(), "AUTH": l.Auth.String(), "IP": l.IP.String(),
		"IP_DAY": l.IPDay.String(), "ACCOUNT": l.Account.String(), "BAD_TOKEN": l.BadToken.String(),
		"BAD_CALLBACK": l.BadCallback.String(), "PROBE": l.Probe.String(),
	}
	want := map[string]string{
		"RSTPWD": "5/h", "MUTPWD": "5/10m", "AUTH": "5/m", "IP": "20/m:10", "IP_DAY": "200/d", "ACCOUNT": "50/s:200", "BAD_TOKEN": "30/10m",
		"BAD_CALLBACK": "30/10m", "PROBE": "3/10m",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// throttle is what the headers of a 429 say, Reset aside.
type throttle struct {
	Status                              int
	Code, Window, Remaining, RetryAfter string
}

func throttleOf(t *testing.T, answer reply) throttle {
	t.Helper()
	found, _ := answer.oneError(t)
	return throttle{answer.Status, found.Code, answer.Header.Get("X-RateLimit-Window"), answer.Header.Get("X-RateLimit-Remaining"), answer.Header.Get("Retry-After")}
}

// form posts the hosted form of an account.
func (e *edge) form(slug, address string) reply {
	e.t.Helper()
	return e.do(ask{path: "/" + slug + "/forgot", body: url.Values{"email": {address}}.Encode(),
		header: map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Origin": e.url}})
}

// A day's share is one for the API and the form, and lasts beyond the minute's.
func TestLimitPerClientAndDay(t *testing.T) {
	t.Parallel()
	e, at := limited(t, func(l *httpapi.Limits) { l.IPDay = parsed(t, "3/d") })
	for i, status := range []int{e.passwords(good).Status, e.form("acme", "ada@example.com").Status, e.passwords(`rubbish`).Status} {
		if want := []int{202, 200, 400}[i]; status != want {
			t.Fatalf("%d: %d, want %d", i, status, want)
		}
	}
	e.observer.take()
	if diff := cmp.Diff(throttle{429, "TOO_MANY_REQUESTS", "ip_day", "0", "28800"}, throttleOf(t, e.passwords(good))); diff != "" {
		t.Error(diff)
	}
	if page := e.form("acme", "ada@example.com"); page.Status != 429 || !strings.Contains(page.Body, "from your network. Please try again in 8 hours") {
		t.Errorf("%d %s", page.Status, page.Body)
	}
	if diff := cmp.Diff([]string{"limited ip reject", "rejected rate_ip", "limited ip reject", "rejected rate_ip"}, e.observer.take()); diff != "" {
		t.Error(diff)
	}
	at.move(time.Hour)
	if status := e.passwords(good).Status; status != 429 {
		t.Errorf("an hour later: %d", status)
	}
	at.move(8 * time.Hour)
	if status := e.passwords(good).Status; status != 202 {
		t.Errorf("a third of a day later: %d", status)
	}
}

// An account's share is used up by all clients together, by API and form alike, by
// requests for somebody only; other accounts have their own.
func TestLimitPerAccount(t *testing.T) {
	t.Parallel()
	e, at := limited(t, func(l *httpapi.Limits) { l.Account = parsed(t, "2/m:4") })
	for range 10 {
		if status := e.passwords(`{"meta":{}}`).Status; status != 400 {
			t.Fatalf("a request for nobody: %d", status)
		}
		if status := e.form("acme", "no address").Status; status != 422 {
			t.Fatalf("a form for nobody: %d", status)
		}
	}
	id := "/v1/accounts/" + strings.ToUpper(string(e.acme.ID)) + "/passwords"
	for i, status := range []int{
		e.passwords(good).Status, e.do(ask{path: id, body: `{"meta":{"email":"b@example.com"}}`}).Status,
		e.form("acme", "ada@example.com").Status, e.form("acme", "nobody@example.com").Status,
	} {
		if want := []int{202, 202, 200, 200}[i]; status != want {
			t.Fatalf("%d: %d, want %d", i, status, want)
		}
	}
	accepted := len(e.asked.take())
	e.observer.take()
	refused := e.passwords(good)
	if diff := cmp.Diff(throttle{429, "TOO_MANY_REQUESTS", "account", "0", "30"}, throttleOf(t, refused)); diff != "" {
		t.Error(diff)
	}
	if unknown := e.passwords(`{"meta":{"email":"nobody@example.com"}}`); unknown.fingerprint() != refused.fingerprint() {
		t.Errorf("the refusal tells who exists:\n%s\n%s", refused.fingerprint(), unknown.fingerprint())
	}
	if page := e.form("acme", "ada@example.com"); page.Status != 429 || page.Header.Get("Retry-After") != "30" || !strings.Contains(page.Body, "Very many people") {
		t.Errorf("%d %v %s", page.Status, page.Header, page.Body)
	}
	if diff := cmp.Diff(strings.Split(strings.Repeat("limited tenant reject,rejected rate_tenant,", 3), ",")[:6], e.observer.take()); diff != "" {
		t.Error(diff)
	}
	if got := len(e.asked.take()); accepted != 4 || got != 0 {
		t.Errorf("%d reached the intake, and %d beyond the limit", accepted, got)
	}
	if status := e.do(ask{path: "/v1/accounts/other/passwords", body: good}).Status; status != 202 {
		t.Errorf("another account: %d", status)
	}
	at.move(30 * time.Second)
	for _, want := range []int{202, 429} {
		if status := e.passwords(good).Status; status != want {
			t.Errorf("half a minute later: %d, want %d", status, want)
		}
	}
}

// The window of G comes first: one client that is refused takes nothing from the
// account's other clients.
func TestARefusedClientLeavesTheAccountAlone(t *testing.T) {
	t.Parallel()
	e, _ := limited(t, func(l *httpapi.Limits) { l.Rstpwd, l.Account = parsed(t, "2/h"), parsed(t, "3/h") })
	for range 20 {
		e.passwords(good)
	}
	if status := e.passwords(`{"meta":{"email":"else@example.com"}}`).Status; status != 202 {
		t.Errorf("somebody else: %d", status)
	}
}

// wrongReset posts a reset with a link that nobody has.
func (e *edge) wrongReset(user string) reply {
	e.t.Helper()
	return e.do(ask{path: "/v1/accounts/acme/users/" + user + "/actions/reset-password", body: `{"meta":{"passwordResetToken":"x","newPassword":"a phrase of its own"}}`})
}

// T12 in short: the limit on guesses begins at try 31, over the API and the pages
// together, and is met before the link is looked up.
func TestT12GuessesAreLimited(t *testing.T) {
	t.Parallel()
	e, at := limited(t, func(l *httpapi.Limits) { l.BadToken = core.Limit{} }) // the default
	raw := e.link(e.acme, "ada@example.com")
	reset := "/v1/accounts/acme/users/" + string(e.ada.ID) + "/actions/reset-password"
	// What does not count: a good link, however often and by whatever is opened, with
	// a password that is refused, and a body that is none.
	for range 40 {
		for _, method := range []string{"HEAD", "GET"} {
			if status := e.do(ask{method: method, path: "/acme/r/" + raw}).Status; status != 303 {
				t.Fatalf("%s of a good link: %d", method, status)
			}
		}
		if status := e.do(ask{path: reset, body: fmt.Sprintf(`{"meta":{"passwordResetToken":%q,"newPassword":"x"}}`, raw)}).Status; status != 422 {
			t.Fatalf("a good link with a bad password: %d", status)
		}
		if status := e.do(ask{path: reset, body: `{}`}).Status; status != 400 {
			t.Fatalf("no link: %d", status)
		}
	}
	if words := e.observer.take(); words != nil {
		t.Errorf("%v", words)
	}
	for i := range 30 {
		status, want := 0, 404
		switch i % 3 {
		case 0:
			status = e.wrongReset([]string{"ada@example.com", "nobody@example.com"}[i%2]).Status
		case 1:
			status = e.get("/acme/r/"+strings.Repeat("A", 43), nil).Status
		case 2:
			status = e.do(ask{method: "HEAD", path: "/acme/r/rubbish"}).Status
		}
		if status != want {
			t.Fatalf("guess %d: %d", i+1, status)
		}
	}
	known, unknown := e.wrongReset("ada@example.com"), e.wrongReset("nobody@example.com")
	if diff := cmp.Diff(throttle{429, "TOO_MANY_REQUESTS", "bad_token", "0", "20"}, throttleOf(t, known)); diff != "" {
		t.Error(diff)
	}
	if known.fingerprint() != unknown.fingerprint() {
		t.Error("the refusal tells who exists")
	}
	page := e.get("/acme/r/"+strings.Repeat("A", 43), nil)
	if page.Status != 429 || page.Header.Get("Retry-After") != "20" || !strings.Contains(page.Body, "Many links that do not work") {
		t.Errorf("%d %v %s", page.Status, page.Header, page.Body)
	}
	// Before the look-up: a good link is told the same.
	if good := e.get("/acme/r/"+raw, nil); good.fingerprint() != page.fingerprint() {
		t.Errorf("a good link is told apart: %d", good.Status)
	}
	if status := e.get("/acme/r", nil).Status; status != 429 {
		t.Errorf("the form: %d", status)
	}
	if diff := cmp.Diff(strings.Split(strings.Repeat("limited token reject,", 5), ",")[:5], e.observer.take()); diff != "" {
		t.Error(diff)
	}
	if status := e.passwords(good).Status; status != 202 {
		t.Errorf("asking for a link is another matter: %d", status)
	}
	at.move(20 * time.Second)
	for _, want := range []int{404, 429} {
		if status := e.wrongReset("ada@example.com").Status; status != want {
			t.Errorf("after 20 s: %d, want %d", status, want)
		}
	}
}

// A link that was good when its form was opened, and is not when the form comes,
// is a wrong one.
func TestFormsOfSpentLinksCount(t *testing.T) {
	t.Parallel()
	e, _ := limited(t, func(l *httpapi.Limits) { l.BadToken = parsed(t, "2/h") })
	e.userWithPassword(e.acme, "grace@example.com", nil)
	p := e.person()
	form := p.open(e.link(e.acme, "grace@example.com"), "several words in a row")
	again := p.client.Jar.Cookies(got(url.Parse(e.url))(t))
	if status := p.post("/acme/r", form).Status; status != 303 {
		t.Fatalf("%d", status)
	}
	p.client.Jar.SetCookies(got(url.Parse(e.url))(t), again)
	for i, want := range []int{404, 404, 429} {
		if status := p.post("/acme/r", form).Status; status != want {
			t.Errorf("%d: %d, want %d", i, status, want)
		}
	}
}

// Guesses count per client: an IPv4 address, or an IPv6 /64 and the /48 round it.
func TestGuessesPerClient(t *testing.T) {
	t.Parallel()
	passed := func(client func(i int) string) (n int) {
		e := setup(t, func(c *httpapi.Config) {
			c.Limits.BadToken = parsed(t, "10/h")
			c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
			c.Now = func() time.Time { return time.Unix(1_800_000_000, 0) }
		})
		for i := range 100 {
			request := httptest.NewRequest("GET", e.url+"/acme/r/rubbish", nil)
			request.RemoteAddr = "198.51.100.7:4711"
			request.Header.Set("X-Forwarded-For", client(i))
			recorder := httptest.NewRecorder()
			e.handler.ServeHTTP(recorder, request)
			if recorder.Code == 404 {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		name   string
		client func(int) string
		want   int
	}{
		{"one address", func(int) string { return "192.0.2.1" }, 10},
		{"one IPv6 /64", func(i int) string { return fmt.Sprintf("2001:db8::%x", i) }, 10},
		{"one IPv6 /48", func(i int) string { return fmt.Sprintf("2001:db8:0:%x::1", i) }, 50},
		{"positive control: as many clients as guesses", func(i int) string { return fmt.Sprintf("192.0.2.%d", i) }, 100},
	} {
		if got := passed(c.client); got != c.want {
			t.Errorf("%s: %d passed, want %d", c.name, got, c.want)
		}
	}
}

// The service's own calls count for no client; what only says that it is the
// service's counts like everything else.
func TestProvenCallsCountForNoClient(t *testing.T) {
	t.Parallel()
	e := setup(t, func(c *httpapi.Config) {
		c.Limits.IP, c.Limits.IPDay = parsed(t, "60/m:3"), parsed(t, "3/d")
		c.Proven = func(path, proof string) bool { return path == "/v1/accounts/acme/passwords" && proof == "good" }
	})
	asks := func(proof string, n int) (refused int) {
		for i := range n {
			answer := e.do(ask{path: "/v1/accounts/acme/passwords", body: fmt.Sprintf(`{"meta":{"email":"a%d@example.com"}}`, i),
				header: map[string]string{"Content-Type": "application/vnd.api+json", httpapi.CanaryHeader: proof}})
			if answer.Status == 429 {
				refused++
			}
		}
		return refused
	}
	if n := asks("good", 20); n != 0 {
		t.Errorf("%d of the service's own calls are refused", n)
	}
	if n := asks("forged", 5); n != 2 {
		t.Errorf("%d of five calls are refused, want the last two: forged proofs count, proven calls did not", n)
	}
}
