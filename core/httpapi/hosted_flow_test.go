package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// titleOf names the page that was drawn, without the brand.
func titleOf(t *testing.T, got pageAnswer) string {
	t.Helper()
	title, _, _ := strings.Cut(markupText(firstElement(parseMarkup(t, got.Body), "title")), " – ")
	return title
}

func wantPage(t *testing.T, got pageAnswer, status int, title string) {
	t.Helper()
	if got.Status != status || titleOf(t, got) != title {
		t.Errorf("got %d %q, want %d %q", got.Status, titleOf(t, got), status, title)
	}
}

func wantRedirect(t *testing.T, got pageAnswer, path string) {
	t.Helper()
	if got.Status != http.StatusSeeOther || got.Header.Get("Location") != path {
		t.Errorf("got %d to %q, want 303 to %q", got.Status, got.Header.Get("Location"), path)
	}
}

func TestALinkBecomesANewPasswordOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.visitor()
	token := s.link(s.acme, "ada@example.com")
	view := v.open(s.acme, token)

	form := parseMarkup(t, v.get("/acme/r").Body)
	address := byID(form, "username")
	if attributeValue(address, "value") != "ada@example.com" {
		t.Error("the form does not say whose password it is")
	}
	wantRedirect(t, v.post("/acme/r", "view", view, "username", "mallory@example.com", "password", goodPassword, "repeat", goodPassword), "/acme/r/done")
	wantPage(t, v.get("/acme/r/done"), 200, "Your password was changed")
	if diff := cmp.Diff([]string{goodPassword}, s.links.passwords()); diff != "" {
		t.Errorf("passwords set (-want +got):\n%s", diff)
	}

	wantPage(t, v.get("/acme/r/"+token), 404, "This link does not work")
	wantPage(t, v.get("/acme/r"), 403, "This page has timed out")
}

func TestEverySpellingOfAnAccountLeadsToItsPages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, ref := range []string{"acme", string(s.acme.ID), strings.ToUpper(string(s.acme.ID)), strings.ReplaceAll(string(s.acme.ID), "-", "")} {
		v := s.visitor()
		wantPage(t, v.get("/"+ref+"/forgot"), 200, "Reset your password")
		wantRedirect(t, v.get("/"+ref+"/r/"+s.link(s.acme, "ada@example.com")), "/acme/r")
		wantPage(t, v.get("/acme/r"), 200, "Choose a new password")
	}
}

func TestRecoveryWorksInEveryStatusOfAnAccount(t *testing.T) {
	t.Parallel()
	for _, status := range []tenants.Status{tenants.StatusPaused, tenants.StatusCanceled} {
		s := newSite(t)
		s.acme.Status = status
		s.accounts.add(s.acme)
		v := s.visitor()
		wantPage(t, v.post("/acme/forgot", "email", "ada@example.com"), 200, "Check your inbox")
		view := v.open(s.acme, s.link(s.acme, "ada@example.com"))
		wantRedirect(t, v.post("/acme/r", "view", view, "password", goodPassword, "repeat", goodPassword), "/acme/r/done")
	}
}

func TestALinkSurvivesARefusedPassword(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 257)
	for _, test := range []struct{ name, password, repeat, field, words string }{
		{"blank", "", "", "password", "Enter a new password."},
		{"too short", "1234567", "1234567", "password", "at least 8 characters"},
		{"too long", long, long, "password", "at most 256 characters"},
		{"the product's name", "acmerockets", "acmerockets", "password", "easy to guess"},
		{"two that differ", goodPassword, goodPassword + " ", "password", "differ"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			v := s.visitor()
			view := v.open(s.acme, s.link(s.acme, "ada@example.com"))
			got := v.post("/acme/r", "view", view, "password", test.password, "repeat", test.repeat)
			wantPage(t, got, 422, "Error: Choose a new password")
			for _, secret := range []string{test.password, test.repeat} {
				if len(secret) > 7 && strings.Contains(strings.ToLower(got.Body), `"`+secret) {
					t.Error("the page holds a password")
				}
			}
			if said := markupText(byID(parseMarkup(t, got.Body), test.field+"-problem")); !strings.Contains(said, test.words) {
				t.Errorf("beside the field: %q, want %q in it", said, test.words)
			}
			wantRedirect(t, v.post("/acme/r", "view", hiddenField(t, got.Body, "view"), "password", goodPassword, "repeat", goodPassword), "/acme/r/done")
		})
	}
}

func TestTheMinimumIsTheAccountsOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.acme.Password.Minimum = 14
	s.accounts.add(s.acme)
	v := s.visitor()
	view := v.open(s.acme, s.link(s.acme, "ada@example.com"))
	got := v.post("/acme/r", "view", view, "password", "thirteen-char", "repeat", "thirteen-char")
	wantPage(t, got, 422, "Error: Choose a new password")
	field := byID(parseMarkup(t, got.Body), "password")
	if attributeValue(field, "minlength") != "14" || !strings.Contains(attributeValue(field, "passwordrules"), "minlength: 14;") {
		t.Error("the form names another minimum")
	}
}

func TestAnExpiredLinkOffersANewOneInOneClick(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.visitor()
	token := s.link(s.acme, "ada@example.com")
	s.expire(token)
	expired := v.get("/acme/r/" + token)
	wantPage(t, expired, 410, "This link has expired")
	if strings.Contains(expired.Body, "ada@") || strings.Contains(expired.Body, token) {
		t.Error("the page of an expired link holds the address or the token")
	}
	sealed := hiddenField(t, expired.Body, "again")
	sent := v.post("/acme/forgot/again", "again", sealed)
	if typed := v.post("/acme/forgot", "email", "ada@example.com"); typed.Body != sent.Body || sent.Status != 200 {
		t.Error("asking again answers differently from asking")
	}
	// A browser without Sec-Fetch-Site sends "Origin: null" from a no-referrer page.
	old := http.Header{"Sec-Fetch-Site": nil, "Origin": {"null"}}
	wantPage(t, v.do("POST", "/acme/forgot/again", formOf("again", sealed), old), 200, "Check your inbox")
	want := []string{"acme ada@example.com", "acme ada@example.com", "acme ada@example.com"}
	if diff := cmp.Diff(want, s.intake.all()); diff != "" {
		t.Errorf("accepted (-want +got):\n%s", diff)
	}
	wantRedirect(t, v.get("/acme/forgot/again"), "/acme/forgot")
}

func TestOnlyAFreshSealOfTheSameAccountAsksAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	other := tenants.New("0197c0de-0000-7000-8000-00000000beef", "globex", "Globex")
	s.accounts.add(other)
	v := s.visitor()
	token := s.link(s.acme, "ada@example.com")
	reset := cookieOf(t, v.get("/acme/r/"+token)).Value
	s.expire(token)
	sealed := hiddenField(t, v.get("/acme/r/"+token).Body, "again")

	for name, got := range map[string]pageAnswer{
		"another account":   v.post("/globex/forgot/again", "again", sealed),
		"made up":           v.post("/acme/forgot/again", "again", "AAAA"),
		"absent":            v.post("/acme/forgot/again"),
		"sent twice":        v.post("/acme/forgot/again", "again", sealed, "again", sealed),
		"another purpose's": v.post("/acme/forgot/again", "again", reset),
	} {
		if got.Status != 422 {
			t.Errorf("%s: %d, want 422", name, got.Status)
		}
	}
	s.clock.forward(pageLife + time.Second)
	wantPage(t, v.post("/acme/forgot/again", "again", sealed), 422, "Error: Reset your password")
	if accepted := s.intake.all(); len(accepted) != 0 {
		t.Errorf("accepted %d requests, want none", len(accepted))
	}
}

func TestAnOpenFormTimesOut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.visitor()
	token := s.link(s.acme, "ada@example.com")
	view := v.open(s.acme, token)
	good := formOf("view", view, "password", goodPassword, "repeat", goodPassword)

	// The cookie is carried by hand: the jar would drop it by the real clock.
	cookie := http.Header{"Cookie": {"passmend-reset=" + cookieOf(t, s.visitor().get("/acme/r/"+token)).Value}}
	s.clock.forward(pageLife)
	wantPage(t, s.visitor().do("GET", "/acme/r", nil, cookie), 200, "Choose a new password")
	s.clock.forward(time.Second)
	wantPage(t, s.visitor().do("GET", "/acme/r", nil, cookie), 403, "This page has timed out")
	wantPage(t, v.do("POST", "/acme/r", good, nil), 403, "This page has timed out")
	if set := s.links.passwords(); len(set) != 0 {
		t.Error("a form that timed out set a password")
	}
	// Opening the link again is all it takes (WCAG 2.2, 2.2.1).
	view = v.open(s.acme, token)
	wantRedirect(t, v.post("/acme/r", "view", view, "password", goodPassword, "repeat", goodPassword), "/acme/r/done")
}

func TestACookieOfAnotherAccountIsTheUnknownLinkPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	globex := tenants.New("0197c0de-0000-7000-8000-00000000beef", "globex", "Globex")
	s.accounts.add(globex)
	v := s.visitor()
	view := v.open(s.acme, s.link(s.acme, "ada@example.com"))

	unknown := s.visitor().get("/globex/r/nonsense")
	for name, got := range map[string]pageAnswer{
		"form":           v.get("/globex/r"),
		"post":           v.post("/globex/r", "view", view, "password", goodPassword, "repeat", goodPassword),
		"another's link": v.get("/globex/r/" + s.link(s.acme, "ada@example.com")),
	} {
		if got.Status != http.StatusNotFound || got.Body != unknown.Body {
			t.Errorf("%s: not the page of an unknown link (%d)", name, got.Status)
		}
	}
	// The control: in its own account the same cookie works.
	wantRedirect(t, v.post("/acme/r", "view", view, "password", goodPassword, "repeat", goodPassword), "/acme/r/done")
}

func TestUnknownLinksGetTheSameBytes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	spent := s.link(s.acme, "ada@example.com")
	v := s.visitor()
	view := v.open(s.acme, spent)
	v.post("/acme/r", "view", view, "password", goodPassword, "repeat", goodPassword)

	var bodies []string
	for _, token := range []string{"x", "done2", strings.Repeat("A", 43), strings.Repeat("A", 4000), "%00", "%2Fetc", spent, spent[:42], spent + "A"} {
		got := s.visitor().get("/acme/r/" + token)
		if got.Status != http.StatusNotFound {
			t.Errorf("%.10q: %d, want 404", token, got.Status)
		}
		bodies = append(bodies, got.Body)
	}
	for _, body := range bodies[1:] {
		if body != bodies[0] {
			t.Error("two unknown links got different pages")
		}
	}
}

func TestTwoTabsDoNotMixTheirLinks(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.visitor()
	first := v.open(s.acme, s.link(s.acme, "ada@example.com"))
	second := v.open(s.acme, s.link(s.acme, "grace@example.com"))
	wantPage(t, v.post("/acme/r", "view", first, "password", goodPassword, "repeat", goodPassword), 403, "This form could not be used")
	wantRedirect(t, v.post("/acme/r", "view", second, "password", goodPassword, "repeat", goodPassword), "/acme/r/done")
}

func TestTheForgotFormKeepsAndRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		form   url.Values
		status int
		kept   string
	}{
		{"blank", formOf("email", " \t "), 422, ""},
		{"absent", formOf("mail", "ada@example.com"), 422, ""},
		{"two addresses", formOf("email", "ada@example.com", "email", "eve@evil.example"), 422, ""},
		{"an array in PHP's way", formOf("email[]", "ada@example.com", "email[]", "eve@evil.example"), 422, ""},
		{"no @", formOf("email", " ada.example.com"), 422, "ada.example.com"},
		{"line feed", formOf("email", "ada@example.com\nBcc: eve@evil.example"), 422, ""},
		{"broken UTF-8", formOf("email", "ada\xff@example.com"), 422, ""},
		{"two addresses in one", formOf("email", "ada@example.com,eve@evil.example"), 200, ""},
		{"spaces round it", formOf("email", "  Ada@EXAMPLE.com "), 200, ""},
		{"longer than any", formOf("email", strings.Repeat("a", 400)+"@example.com"), 200, ""},
		{"larger than a form", formOf("email", strings.Repeat("a", maxForm)), 413, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			got := s.visitor().do("POST", "/acme/forgot?email=query%40example.com", test.form, nil)
			if got.Status != test.status {
				t.Errorf("status %d, want %d", got.Status, test.status)
			}
			if accepted := len(s.intake.all()); (accepted == 1) != (test.status == 200) {
				t.Errorf("%d accepted", accepted)
			}
			if field := byID(parseMarkup(t, got.Body), "email"); test.status == 422 && attributeValue(field, "value") != test.kept {
				t.Errorf("the form kept %q, want %q", attributeValue(field, "value"), test.kept)
			}
		})
	}
}

func TestTheLimitIsAskedBeforeAnythingIsAccepted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		wait           time.Duration
		seconds, words string
	}{
		{200 * time.Millisecond, "1", "in a minute"},
		{90500 * time.Millisecond, "91", "in 2 minutes"},
		{3 * time.Hour, "10800", "in 3 hours"},
	} {
		s := newSite(t)
		s.limit(func(l *Limits) { l.IP = every(test.wait) })
		s.hosted.gate.asking(&http.Request{RemoteAddr: "127.0.0.1:4711"})
		for _, path := range []string{"/acme/forgot", "/acme/forgot/again"} {
			got := s.visitor().post(path, "email", "ada@example.com")
			wantPage(t, got, 429, "Too many requests")
			if got.Header.Get("Retry-After") != test.seconds || !strings.Contains(got.Body, test.words) {
				t.Errorf("Retry-After %q, want %q and %q", got.Header.Get("Retry-After"), test.seconds, test.words)
			}
		}
		if len(s.intake.all()) != 0 {
			t.Error("accepted beyond the limit")
		}
		s.limit(func(*Limits) {})
		wantPage(t, s.visitor().post("/acme/forgot", "email", "ada@example.com"), 200, "Check your inbox")
	}
}

func TestFaultsAreOursAndSaidSo(t *testing.T) {
	t.Parallel()
	fault := errors.New("disk of ada@example.com on fire")
	s := newSite(t)
	v := s.visitor()
	view := v.open(s.acme, s.link(s.acme, "ada@example.com"))

	s.intake.fault = core.ErrBusy
	wantPage(t, v.post("/acme/forgot", "email", "ada@example.com"), 503, "Not available just now")
	s.links.fault = core.ErrBusy
	for _, got := range []pageAnswer{v.get("/acme/r"), v.get("/acme/r/x"), v.post("/acme/r", "view", view, "password", goodPassword, "repeat", goodPassword)} {
		wantPage(t, got, 503, "Not available just now")
	}
	s.links.fault = nil
	wantRedirect(t, v.post("/acme/r", "view", view, "password", goodPassword, "repeat", goodPassword), "/acme/r/done")

	s.accounts.fault = fault
	got := v.get("/acme/forgot")
	wantPage(t, got, 503, "Not available just now")
	if strings.Contains(got.Body, "fire") {
		t.Error("the page shows an error's own text")
	}
}

func TestRefusedRequestsAreCounted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.visitor()
	v.post("/acme/forgot", "email", "ada@example.com")
	v.post("/acme/forgot", "email", "")
	v.post("/acme/forgot", "email", strings.Repeat("a", maxForm))
	v.post("/acme/forgot/again", "again", "made up")
	s.intake.fault = core.ErrBusy
	v.post("/acme/forgot", "email", "ada@example.com")
	s.intake.fault = core.ErrNotAccepted
	v.post("/acme/forgot", "email", "ada@example.com")
	want := []string{"malformed", "too_large", "malformed", "backlog", "db_unavailable"}
	if diff := cmp.Diff(want, s.refusals.reasons); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

func TestOpenedLinksAreCounted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.visitor()
	token := s.link(s.acme, "ada@example.com")
	v.open(s.acme, token)
	v.get("/acme/r/nonsense")
	s.expire(token)
	v.get("/acme/r/" + token)
	if diff := cmp.Diff([]string{"ok", "unknown", "expired"}, s.refusals.opened); diff != "" {
		t.Errorf("opened (-want +got):\n%s", diff)
	}
}

func TestLogsNameNobody(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.visitor()
	token := s.link(s.acme, "ada@example.com")
	view := v.open(s.acme, token)
	v.post("/acme/forgot", "email", "ada@example.com")
	v.get("/acme/forgot?email=ada%40example.com")
	v.post("/acme/r", "view", view, "password", "short77", "repeat", "short77")
	s.intake.fault = core.ErrNotAccepted
	v.post("/acme/forgot", "email", "ada@example.com")
	s.links.fault = errors.New("disk on fire")
	v.get("/acme/r/" + token)
	v.post("/acme/r", "view", view, "password", goodPassword, "repeat", goodPassword)

	logs := s.logs.String()
	if lines := strings.Count(logs, "hosted page unavailable"); lines != 3 {
		t.Fatalf("%d lines logged, want 3:\n%s", lines, logs)
	}
	for _, secret := range []string{"ada@example.com", "ada%40example.com", token, view, goodPassword, "short77"} {
		if strings.Contains(logs, secret) {
			t.Errorf("the log holds %.4q…", secret)
		}
	}
}

func TestRobotsAndUnknownPaths(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if got := s.visitor().get("/robots.txt"); got.Status != 200 || got.Body != "User-agent: *\nDisallow: /\n" {
		t.Errorf("robots.txt: %d %q", got.Status, got.Body)
	}
	for _, path := range []string{"/.well-known/resource-that-should-not-exist-whose-status-code-should-not-be-200", "/acme/r/a/b", "/acme"} {
		if got := s.visitor().get(path); got.Status != 404 {
			t.Errorf("%s: %d, want 404", path, got.Status)
		}
	}
}
