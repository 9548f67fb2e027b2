package tenants

import (
	"errors"
	"strings"
	"testing"
)

func TestParseHost(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"login.acme.example": "login.acme.example", "Login.ACME.example.": "login.acme.example", "xn--bcher-kva.example": "xn--bcher-kva.example",
		"1and1.example": "1and1.example", strings.Repeat("a", 63) + ".example": strings.Repeat("a", 63) + ".example",
		"": "", "acme": "", "localhost": "", "a.localhost": "", "127.0.0.1": "", "10.0.0.1.": "", "::1": "", "login.acme.example:443": "",
		"b\u00fccher.example": "", "-a.example": "", "a-.example": "", "a..example": "", ".example": "", "a_b.example": "", "a b.example": "",
		"a.example/": "", "a.example\n": "", "*.example.com": "", strings.Repeat("a", 64) + ".example": "", strings.Repeat("a.", 127) + "example": "",
	} {
		if got, ok := ParseHost(typed); got != want || ok != (want != "") {
			t.Errorf("%q: %q %v, want %q", typed, got, ok, want)
		}
	}
}

// FuzzParseHost: what is taken stays as it is when it is parsed again, and is never
// taken for a slug or an id.
func FuzzParseHost(f *testing.F) {
	f.Add("login.acme.example")
	f.Add("127.0.0.1")
	f.Add("A.b.")
	f.Fuzz(func(t *testing.T, typed string) {
		host, ok := ParseHost(typed)
		if !ok {
			return
		}
		if again, ok := ParseHost(host); !ok || again != host {
			t.Errorf("%q: %q, and again %q", typed, host, again)
		}
		if _, isID := ParseUUID(host); isID || ValidSlug(host) {
			t.Errorf("%q may be something else", host)
		}
	})
}

func TestResolverFindsHosts(t *testing.T) {
	t.Parallel()
	r, d := setup(t)
	d.account.Host = "login.acme.example"
	for range 3 {
		if account, err := r.ResolveHost(t.Context(), "Login.acme.example"); err != nil || account.ID != anID {
			t.Fatalf("%v, %v", account.ID, err)
		}
	}
	if n := d.asked.Load(); n != 1 {
		t.Errorf("asked %d times, want 1", n)
	}
	d.account.Host = ""
	r.Clear()
	for _, name := range []string{"login.acme.example", "localhost", "127.0.0.1", ""} {
		if _, err := r.ResolveHost(t.Context(), name); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v, want ErrUnknown", name, err)
		}
	}
}
