package httpapi

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pageHeaders is threats.md, "Routes and exact headers", written out a second time.
func pageHeaders() http.Header {
	return http.Header{
		"Content-Security-Policy":      {"default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; script-src 'self'; connect-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"},
		"Referrer-Policy":              {"same-origin"},
		"Cache-Control":                {"no-store"},
		"X-Content-Type-Options":       {"nosniff"},
		"X-Frame-Options":              {"DENY"},
		"Cross-Origin-Opener-Policy":   {"same-origin"},
		"Cross-Origin-Resource-Policy": {"same-origin"},
		"Permissions-Policy":           {"accelerometer=(), camera=(), geolocation=(), microphone=(), payment=(), usb=(), interest-cohort=()"},
		"X-Robots-Tag":                 {"noindex, nofollow, noarchive"},
		"Vary":                         {"Accept-Language, Sec-Fetch-Site"},
		"Content-Type":                 {"text/html; charset=utf-8"},
	}
}

// headersOf leaves out what is net/http's own.
func headersOf(got pageAnswer) http.Header {
	header := maps.Clone(got.Header)
	header.Del("Date")
	header.Del("Content-Length")
	return header
}

func TestEveryPageCarriesTheExactHeaders(t *testing.T) {
	t.Parallel()
	for _, state := range drawnStates() {
		t.Run(state.name, func(t *testing.T) {
			t.Parallel()
			want := pageHeaders()
			switch state.name {
			case "expired", "unknown":
				want.Set("Referrer-Policy", "no-referrer")
			case "too many unknown links":
				want.Set("Referrer-Policy", "no-referrer")
				want.Set("Retry-After", "89")
			case "rate-limited", "account's share used up":
				want.Set("Retry-After", "89")
			case "unavailable":
				want.Set("Retry-After", "2")
			}
			for _, over := range []struct {
				name    string
				options []siteOption
			}{{"http", nil}, {"https", []siteOption{overHTTPS}}} {
				s := newSite(t, over.options...)
				if over.name == "https" {
					want.Set("Strict-Transport-Security", "max-age=63072000")
				}
				if diff := cmp.Diff(want, headersOf(state.show(s))); diff != "" {
					t.Errorf("%s (-want +got):\n%s", over.name, diff)
				}
			}
		})
	}
}

func TestHeaderTestSeesAMissingHeader(t *testing.T) {
	t.Parallel()
	s := newSite(t, wrapped(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(without{w, "X-Frame-Options"}, r)
		})
	}))
	got := s.visitor().get("/acme/forgot")
	if cmp.Diff(pageHeaders(), headersOf(got)) == "" {
		t.Error("a page without X-Frame-Options passed")
	}
}

// without is a response that loses some headers on the way.
type without struct {
	http.ResponseWriter
	names string
}

func (w without) WriteHeader(status int) {
	for name := range strings.SplitSeq(w.names, ",") {
		w.Header().Del(name)
	}
	w.ResponseWriter.WriteHeader(status)
}

func TestOpeningALinkSendsNothingButTheRedirect(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		got := s.visitor().do(method, "/acme/r/"+s.link(s.acme, "ada@example.com"), nil, nil)
		header := headersOf(got)
		header.Del("Set-Cookie")
		want := pageHeaders()
		want.Set("Referrer-Policy", "no-referrer")
		want.Set("Location", "/acme/r")
		want.Del("Content-Type")
		if diff := cmp.Diff(want, header); diff != "" {
			t.Errorf("%s (-want +got):\n%s", method, diff)
		}
		if got.Status != http.StatusSeeOther || got.Body != "" {
			t.Errorf("%s: status %d, body %q", method, got.Status, got.Body)
		}
	}
}

func TestAssetsAreImmutableUnderTheirHash(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.acme = s.withLogo(s.acme)
	document := parseMarkup(t, s.visitor().get("/acme/forgot").Body)
	sheet := attributeValue(firstElement(document, "link"), "href")
	logo := attributeValue(firstElement(document, "img"), "src")
	for _, asset := range []struct{ path, mime string }{
		{sheet, "text/css; charset=utf-8"}, {logo, "image/png"},
	} {
		got := s.visitor().get(asset.path)
		want := pageHeaders()
		want.Set("Content-Type", asset.mime)
		want.Set("Cache-Control", "public, max-age=31536000, immutable")
		if diff := cmp.Diff(want, headersOf(got)); diff != "" || got.Status != http.StatusOK {
			t.Errorf("%s: status %d (-want +got):\n%s", asset.path, got.Status, diff)
		}
	}
}

func TestAssetsThatAreNotThere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.acme = s.withLogo(s.acme)
	logo := s.acme.Branding.LogoHash
	for _, test := range []struct {
		name, path string
		status     int
		cache      string
	}{
		{"sheet of an older build", "/theme/1f4fd8-0123456789abcdef.css", 200, "no-store"},
		{"accent too pale for white text", "/theme/ffff00-0123456789abcdef.css", 404, "no-store"},
		{"no accent", "/theme/style.css", 404, "no-store"},
		{"accent with more in it", "/theme/1f4fd8;}body{-0123456789abcdef.css", 404, "no-store"},
		{"another logo's hash", "/acme/logo/" + strings.Repeat("0", 64) + ".png", 404, "no-store"},
		{"logo without a hash", "/acme/logo/.png", 404, "no-store"},
		{"logo of nobody", "/nobody/logo/" + logo + ".png", 404, "no-store"},
	} {
		got := s.visitor().get(test.path)
		if got.Status != test.status || got.Header.Get("Cache-Control") != test.cache {
			t.Errorf("%s: %d %q, want %d %q", test.name, got.Status, got.Header.Get("Cache-Control"), test.status, test.cache)
		}
	}
}

func TestCookieAttributes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		options []siteOption
		want    http.Cookie
	}{
		{"https", []siteOption{overHTTPS}, http.Cookie{Name: "__Host-passmend-reset", Secure: true}},
		{"http on loopback", nil, http.Cookie{Name: "passmend-reset"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, test.options...)
			v := s.visitor()
			test.want.Path, test.want.HttpOnly, test.want.SameSite, test.want.MaxAge = "/", true, http.SameSiteLaxMode, 900
			token := s.link(s.acme, "ada@example.com")
			opened := v.get("/acme/r/" + token)
			set := cookieOf(t, opened)
			if strings.Contains(set.Value, token) || len(set.Raw) > 1024 {
				t.Errorf("cookie shows the token or is too long: %d bytes", len(set.Raw))
			}
			set.Value, set.Raw = "", ""
			if diff := cmp.Diff(test.want, set); diff != "" {
				t.Errorf("cookie (-want +got):\n%s", diff)
			}

			view := hiddenField(t, v.get("/acme/r").Body, "view")
			done := v.post("/acme/r", "view", view, "password", goodPassword, "repeat", goodPassword)
			cleared := cookieOf(t, done)
			cleared.Raw = ""
			test.want.MaxAge = -1
			if diff := cmp.Diff(test.want, cleared); diff != "" {
				t.Errorf("cleared cookie (-want +got):\n%s", diff)
			}
		})
	}
}

func cookieOf(t *testing.T, got pageAnswer) http.Cookie {
	t.Helper()
	lines := got.Header.Values("Set-Cookie")
	if len(lines) != 1 {
		t.Fatalf("%d cookies set, want 1", len(lines))
	}
	cookie, err := http.ParseSetCookie(lines[0])
	if err != nil {
		t.Fatal(err)
	}
	return *cookie
}
