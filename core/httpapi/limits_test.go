package httpapi_test

import (
	"fmt"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/httpapi"
)

// clock is a hand-moved clock.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// limited starts an edge with one limit as a user writes it and a stopped clock.
func limited(t *testing.T, set func(*httpapi.Limits)) (*edge, *clock) {
	t.Helper()
	at := &clock{now: time.Unix(1_800_000_000-3600, 0).Add(10 * time.Minute)} // ten minutes into a full hour
	e := setup(t, func(c *httpapi.Config) {
		set(&c.Limits)
		c.Now = at.Now
	})
	return e, at
}

func parsed(t *testing.T, text string) core.Limit {
	t.Helper()
	return got(core.ParseLimit(text))(t)
}

// G: five an hour per account, client and address; the sixth is refused, with
// headers; the next hour begins anew. Every spelling of account and address counts.
func TestWindowOfPasswords(t *testing.T) {
	t.Parallel()
	e, at := limited(t, func(l *httpapi.Limits) { l.Rstpwd = core.Limit{} }) // the default
	spellings := []ask{
		{path: "/v1/accounts/acme/passwords", body: good},
		{path: "/v1/accounts/" + string(e.acme.ID) + "/passwords", body: `{"meta":{"email":"ADA@example.com"}}`},
		{path: "/v1/accounts/" + strings.ToUpper(string(e.acme.ID)) + "/passwords", body: `{"META":{"EMAIL":" ada@Example.com "}}`},
		{path: "/v1/accounts/" + strings.ReplaceAll(string(e.acme.ID), "-", "") + "/passwords.json", body: good},
		{path: "/v1/accounts/acme/passwords", body: `{"meta":{"email":"ada@example.com","deliver":0}}`}, // counted before it is judged
	}
	for i, a := range spellings {
		want := 202
		if i == 4 {
			want = 400
		}
		if answer := e.do(a); answer.Status != want || answer.Header.Get("X-RateLimit-Window") != "" {
			t.Fatalf("%d: %d %v", i, answer.Status, answer.Header)
		}
	}
	e.observer.take()
	refused := e.do(spellings[0])
	found, hasMeta := refused.oneError(t)
	if refused.Status != 429 || found.Code != "TOO_MANY_REQUESTS" || found.Title != "Too many requests" || hasMeta || found.Source != nil {
		t.Fatalf("%d %s", refused.Status, refused.Body)
	}
	got := map[string]string{}
	for _, name := range []string{"Window", "Count", "Limit", "Remaining", "Reset"} {
		got[name] = refused.Header.Get("X-RateLimit-" + name)
	}
	got["Retry-After"] = refused.Header.Get("Retry-After")
	want := map[string]string{"Window": "rstpwd", "Count": "6", "Limit": "5", "Remaining": "0", "Reset": "1800000000", "Retry-After": "3000"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"limited email reject", "rejected rate_ip"}, e.observer.take()); diff != "" {
		t.Error(diff)
	}
	for name, a := range map[string]ask{
		"another address":         {path: "/v1/accounts/acme/passwords", body: `{"meta":{"email":"ada@example.org"}}`},
		"another account":         {path: "/v1/accounts/other/passwords", body: good},
		"no address, not counted": {path: "/v1/accounts/acme/passwords", body: `{"meta":{}}`},
	} {
		if answer := e.do(a); answer.Status == 429 {
			t.Errorf("%s is refused", name)
		}
	}
	at.move(50*time.Minute - time.Second)
	if answer := e.do(spellings[0]); answer.Status != 429 {
		t.Errorf("a second before the hour: %d", answer.Status)
	}
	at.move(time.Second)
	if answer := e.do(spellings[0]); answer.Status != 202 {
		t.Errorf("the next hour: %d", answer.Status)
	}
}

// T03: a limit speaks the same of known and unknown users.
func TestT03LimitsDoNotTellWhoExists(t *testing.T) {
	t.Parallel()
	e, _ := limited(t, func(l *httpapi.Limits) {
		l.Rstpwd, l.Mutpwd, l.Auth = core.Limit{}, core.Limit{}, core.Limit{}
	})
	for name, post := range map[string]func(address string) reply{
		"passwords": func(address string) reply { return e.passwords(`{"meta":{"email":"` + address + `"}}`) },
		"reset-password": func(address string) reply {
			return e.do(ask{path: "/v1/accounts/acme/users/" + address + "/actions/reset-password", body: `{"meta":{"passwordResetToken":"x","newPassword":"y"}}`})
		},
		"tokens, version 1.7": func(address string) reply {
			return e.do(ask{path: "/v1/accounts/acme/tokens", header: map[string]string{"Authorization": basic(address, "x"), "Keygen-Version": "1.7"}})
		},
	} {
		statuses := func(address string) (all []int) {
			for range 20 {
				all = append(all, post(address).Status)
			}
			return all
		}
		known, unknown := statuses("ada@example.com"), statuses("nobody@example.com")
		if diff := cmp.Diff(known, unknown); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if known[4] == 429 || known[5] != 429 || known[19] != 429 {
			t.Errorf("%s: no limit was met: %v", name, known)
		}
	}
}

func TestWindowsOfResetAndSignIn(t *testing.T) {
	t.Parallel()
	e, at := limited(t, func(l *httpapi.Limits) { l.Mutpwd, l.Auth = core.Limit{}, core.Limit{} })
	reset := func(user string) reply {
		return e.do(ask{path: "/v1/accounts/acme/users/" + user + "/actions/reset-password", body: `{}`})
	}
	id := string(e.ada.ID)
	for _, user := range []string{id, strings.ToUpper(id), strings.ReplaceAll(id, "-", ""), id, id} {
		if answer := reset(user); answer.Status != 400 {
			t.Fatalf("%d", answer.Status)
		}
	}
	answer := reset(id)
	if answer.Status != 429 || answer.Header.Get("X-RateLimit-Window") != "mutpwd" || answer.Header.Get("Retry-After") != "600" {
		t.Errorf("%d %v", answer.Status, answer.Header)
	}
	if answer := reset("ada@example.com"); answer.Status != 400 {
		t.Errorf("another spelling of {USER} is another key: %d", answer.Status)
	}
	signIn := func(name string) reply {
		return e.do(ask{path: "/v1/accounts/acme/tokens", header: map[string]string{"Authorization": basic(name, "")}})
	}
	for range 5 {
		if answer := signIn("Nobody@example.com"); answer.Status != 401 {
			t.Fatalf("%d", answer.Status)
		}
	}
	answer = signIn("nobody@EXAMPLE.com")
	if answer.Status != 429 || answer.Header.Get("X-RateLimit-Window") != "auth" || answer.Header.Get("Retry-After") != "60" {
		t.Errorf("%d %v", answer.Status, answer.Header)
	}
	for range 10 {
		if answer := e.do(ask{path: "/v1/accounts/acme/tokens", header: bearer("user-x")}); answer.Status != 401 {
			t.Errorf("a bearer is no sign-in: %d", answer.Status)
		}
	}
	at.move(time.Minute)
	if answer := signIn("nobody@example.com"); answer.Status != 401 {
		t.Errorf("the next minute: %d", answer.Status)
	}
}

// The limit per client comes before the body is looked at, and is the hosted form's too.
func TestLimitPerClient(t *testing.T) {
	t.Parallel()
	e, at := limited(t, func(l *httpapi.Limits) { l.IP, l.IPDay = parsed(t, "60/m:3"), parsed(t, "5/d") })
	for range 3 {
		if answer := e.passwords(`not json`); answer.Status != 400 {
			t.Fatalf("%d", answer.Status)
		}
	}
	e.observer.take()
	answer := e.passwords(good)
	found, hasMeta := answer.oneError(t)
	if answer.Status != 429 || found.Code != "TOO_MANY_REQUESTS" || hasMeta || answer.Header.Get("X-RateLimit-Window") != "ip" || answer.Header.Get("Retry-After") != "1" {
		t.Errorf("%d %v %s", answer.Status, answer.Header, answer.Body)
	}
	if diff := cmp.Diff([]string{"limited ip reject", "rejected rate_ip"}, e.observer.take()); diff != "" {
		t.Error(diff)
	}
	form := e.do(ask{path: "/acme/forgot", body: "email=ada%40example.com", header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}})
	if form.Status != 429 || form.Header.Get("Retry-After") == "" {
		t.Errorf("hosted form: %d", form.Status)
	}
	if answer := e.get("/v1/ping", nil); answer.Status != 200 {
		t.Errorf("other routes: %d", answer.Status)
	}
	at.move(2 * time.Second)
	for i, want := range []int{202, 202, 429} {
		if answer := e.passwords(good); answer.Status != want {
			t.Errorf("after two seconds, %d: %d, want %d", i, answer.Status, want)
		}
	}
	at.move(time.Minute)
	if answer := e.passwords(good); answer.Status != 429 || answer.Header.Get("X-RateLimit-Window") != "ip_day" || len(answer.Header.Get("Retry-After")) < 4 {
		t.Errorf("the day's share is used up: %d after %s s", answer.Status, answer.Header.Get("Retry-After"))
	}
}

// T13: who may name the client. 500 posts with forged headers meet the limit at
// the same count as 500 without.
func TestT13ForgedForwardedFor(t *testing.T) {
	t.Parallel()
	passed := func(proxies []netip.Prefix, header func(i int) string) (n int) {
		e := setup(t, func(c *httpapi.Config) {
			c.Limits.IP = parsed(t, "20/m:10")
			c.TrustedProxies = proxies
			c.Now = func() time.Time { return time.Unix(1_800_000_000, 0) }
		})
		for i := range 500 {
			request := httptest.NewRequest("POST", e.url+"/v1/accounts/acme/passwords", strings.NewReader(`{}`))
			request.RemoteAddr = "198.51.100.7:4711"
			for _, line := range strings.Split(header(i), "\n") {
				if line != "" {
					request.Header.Add("X-Forwarded-For", line)
				}
			}
			request.Header.Set("X-Real-Ip", fmt.Sprintf("203.0.113.%d", i%250))
			request.Header.Set("Forwarded", fmt.Sprintf("for=203.0.113.%d", i%250))
			recorder := httptest.NewRecorder()
			e.handler.ServeHTTP(recorder, request)
			if recorder.Code != 429 {
				n++
			}
		}
		return n
	}
	forged := func(i int) string { return fmt.Sprintf("203.0.%d.%d", i/250, i%250) }
	trusted := []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	for _, c := range []struct {
		name    string
		proxies []netip.Prefix
		header  func(int) string
		want    int
	}{
		{"no header", nil, func(int) string { return "" }, 10},
		{"forged, no proxy trusted", nil, forged, 10},
		{"forged left of what the proxy wrote", trusted, func(i int) string { return forged(i) + ", 192.0.2.1" }, 10},
		{"forged in a line of its own", trusted, func(i int) string { return forged(i) + "\n192.0.2.1" }, 10},
		{"forged behind rubbish", trusted, func(i int) string { return forged(i) + ", rubbish" }, 10},
		{"one IPv6 /64", trusted, func(i int) string { return fmt.Sprintf("2001:db8::%x:%x", i, i) }, 10},
		{"a whole IPv6 /48", trusted, func(i int) string { return fmt.Sprintf("2001:db8:0:%x::1", i) }, 50},
		{"positive control: honest clients behind a proxy are told apart", trusted, forged, 500},
	} {
		if got := passed(c.proxies, c.header); got != c.want {
			t.Errorf("%s: %d passed, want %d", c.name, got, c.want)
		}
	}
}
