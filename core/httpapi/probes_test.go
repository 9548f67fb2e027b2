package httpapi_test

import (
	"encoding/json"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core/httpapi"
	"github.com/passmend/passmend/tenants"
)

// from asks for a path from an address.
func (e *edge) from(address, path string) *httptest.ResponseRecorder {
	e.t.Helper()
	request := httptest.NewRequest("GET", e.url+path, nil)
	request.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(address), 4711).String()
	recorder := httptest.NewRecorder()
	e.handler.ServeHTTP(recorder, request)
	return recorder
}

func (e *edge) statuses(address string, paths ...string) (all []int) {
	e.t.Helper()
	for _, path := range paths {
		all = append(all, e.from(address, path).Code)
	}
	return all
}

const scanner = "203.0.113.7"

// The third probe in ten minutes blocks its client for thirty, and nobody else.
func TestProbesBlockTheirClient(t *testing.T) {
	t.Parallel()
	e, at := limited(t, func(l *httpapi.Limits) { l.Probe = parsed(t, "3/10m") })
	is := func(want, got []int) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	is([]int{404, 200, 404, 401}, e.statuses(scanner, "/wp-login.php", "/acme/forgot", "/WP-Admin/", "/v1/me"))
	e.observer.take()
	answer := e.from(scanner, "/v1/accounts/..%2f..%2fetc/passwd")
	var document struct {
		Meta   *struct{}
		Errors []map[string]any
	}
	must(t, json.Unmarshal(answer.Body.Bytes(), &document))
	if answer.Code != 403 || answer.Header().Get("X-RateLimit-Window") != "blacklist" || document.Meta != nil || len(document.Errors) != 1 ||
		document.Errors[0]["title"] != "Forbidden" || document.Errors[0]["code"] != nil {
		t.Errorf("%d %v %s", answer.Code, answer.Header(), answer.Body)
	}
	if diff := cmp.Diff([]string{"limited probe reject"}, e.observer.take()); diff != "" {
		t.Error(diff)
	}
	is([]int{403, 403, 403, 403}, e.statuses(scanner, "/v1/me", "/acme/forgot", "/docs", "/nothing"))
	is([]int{200, 200, 204}, e.statuses(scanner, "/v1/ping", "/v1/accounts/acme/ping", "/v1/health"))
	is([]int{401, 404}, e.statuses("203.0.113.8", "/v1/me", "/index.php"))
	at.move(30*time.Minute - time.Second)
	is([]int{403}, e.statuses(scanner, "/v1/me"))
	at.move(time.Second)
	is([]int{401, 404, 404, 403}, e.statuses(scanner, "/v1/me", "/a.php", "/a.php", "/a.php"))
}

// What blocks and what does not.
func TestWhatIsAProbe(t *testing.T) {
	t.Parallel()
	php := []string{"/a.php", "/a.php", "/a.php"}
	for name, c := range map[string]struct {
		address string
		paths   []string
		wait    time.Duration // after each
		limit   string
		last    int
	}{
		"positive control":                 {scanner, []string{"/a.php", "/b.PHP/x", "/x?file=../../etc/passwd"}, 0, "3/10m", 403},
		"positive control, IPv6":           {"2001:db8::1", php, 0, "3/10m", 403},
		"positive control, IPv4 over IPv6": {"::ffff:203.0.113.7", php, 0, "3/10m", 403},
		"another number":                   {scanner, php, 0, "4/10m", 401},
		"two in ten minutes":               {scanner, append(php, php...), 6 * time.Minute, "3/10m", 401},
		"unknown paths":                    {scanner, []string{"/a", "/v1/none", "/php", "/v1/accounts/acme/none/a.phpx"}, 0, "3/10m", 401},
		"routes":                           {scanner, []string{"/wp-admin/forgot", "/wp-admin/forgot", "/v1/accounts/acme/users/me.php", "/v1/accounts/wp-admin/ping"}, 0, "3/10m", 401},
		"switched off":                     {scanner, php, 0, "off", 401},
		"loopback":                         {"127.0.0.1", php, 0, "3/10m", 401},
		"a private network":                {"10.1.2.3", php, 0, "3/10m", 401},
		"a shared network":                 {"100.64.1.2", php, 0, "3/10m", 401},
		"a private network, IPv6":          {"fd00::1", php, 0, "3/10m", 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, at := limited(t, func(l *httpapi.Limits) { l.Probe = parsed(t, c.limit) })
			got(e.store.CreateAccount(t.Context(), tenants.New(tenants.AccountID(newID()), "wp-admin", "WP Admin")))(t)
			for _, path := range c.paths {
				e.from(c.address, path)
				at.move(c.wait)
			}
			if status := e.from(c.address, "/v1/me").Code; status != c.last {
				t.Errorf("%d, want %d", status, c.last)
			}
		})
	}
}

// A whole /64 is one client; a proxy that is trusted is nobody.
func TestProbesAreTheirClients(t *testing.T) {
	t.Parallel()
	e := setup(t, func(c *httpapi.Config) {
		c.Limits.Probe, c.TrustedProxies = parsed(t, "3/10m"), []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	})
	for _, address := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::3"} {
		e.from(address, "/a.php")
	}
	if diff := cmp.Diff([]int{403, 401}, append(e.statuses("2001:db8::4", "/v1/me"), e.statuses("2001:db8:0:1::4", "/v1/me")...)); diff != "" {
		t.Error(diff)
	}
	forwarded := func(client, path string) int {
		request := httptest.NewRequest("GET", e.url+path, nil)
		request.RemoteAddr = "198.51.100.1:1"
		request.Header.Set("X-Forwarded-For", client)
		recorder := httptest.NewRecorder()
		e.handler.ServeHTTP(recorder, request)
		return recorder.Code
	}
	for range 3 {
		forwarded(scanner, "/a.php")
	}
	if diff := cmp.Diff([]int{403, 401}, []int{forwarded(scanner, "/v1/me"), forwarded("203.0.113.9", "/v1/me")}); diff != "" {
		t.Error(diff)
	}
}

func TestProbeLimitIsOneWindow(t *testing.T) {
	t.Parallel()
	for text, fine := range map[string]bool{"3/10m": true, "off": true, "3/10m:5": false, "3/10m,9/h": false} {
		if err := (&httpapi.Limits{Probe: parsed(t, text)}).Validate(); (err == nil) != fine {
			t.Errorf("%s: %v", text, err)
		}
	}
}
