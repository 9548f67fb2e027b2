package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestForgottenPasswordComesBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	srv := s.serve()

	s.forget("Ada@Example.com ")
	mail := s.resetMail(1)
	if mail.From != `"Acme Support" <no-reply@acme.example>` && mail.From != "Acme Support <no-reply@acme.example>" {
		t.Errorf("From is %q", mail.From)
	}
	if !slices.Equal(mail.To, []string{"ada@example.com"}) || !strings.Contains(mail.Subject, "Acme") {
		t.Errorf("To %q, Subject %q", mail.To, mail.Subject)
	}
	token := tokenOf(t, mail)
	session := s.signIn("ada@example.com", "an old one, forgotten")
	if session.status != http.StatusCreated {
		t.Fatalf("sign-in before: %d %s", session.status, session.body)
	}
	bearer := bearerOf(t, session)

	got := s.redeem("ada@example.com", token, "a new one, remembered")
	if got.status != http.StatusOK || !strings.Contains(got.body, `"ada@example.com"`) {
		t.Fatalf("redeem: %d %s", got.status, got.body)
	}
	if got := s.signIn("ada@example.com", "a new one, remembered"); got.status != http.StatusCreated {
		t.Errorf("sign-in with the new password: %d %s", got.status, got.body)
	}
	if got := s.signIn("ada@example.com", "an old one, forgotten"); got.status != http.StatusUnauthorized {
		t.Errorf("sign-in with the old password: %d", got.status)
	}
	if got := s.send("GET", "/v1/accounts/acme/me", "", "Authorization", bearer); got.status != http.StatusUnauthorized {
		t.Errorf("a token from before the reset answers %d", got.status)
	}
	if got := s.redeem("ada@example.com", token, "and yet another one"); got.status != http.StatusNotFound {
		t.Errorf("the link a second time: %d", got.status)
	}
	s.eventually("a notice of the change arrives", func() bool {
		return slices.ContainsFunc(s.mailbox.Messages(), mailContains("changed"))
	})
	if code := srv.stop(); code != 0 {
		t.Errorf("exit status %d after SIGTERM", code)
	}
}

// The whole way on a host of the account's own, to which the mail leads.
func TestAHostOfItsOwnServesTheWholeWay(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.must("account", "host", "add", "acme", "login.acme.example")
	s.serve()
	base, err := url.Parse(s.base)
	if err != nil {
		t.Fatal(err)
	}
	own := "http://login.acme.example:" + base.Port()
	browser, visit := browserAt(t, s.base), visiting(t)

	asked := strings.NewReader(`{"meta":{"email":"ada@example.com"}}`)
	if status, body := visit(browser.Post(own+"/v1/passwords", "application/vnd.api+json", asked)); status != http.StatusAccepted {
		t.Fatalf("POST passwords: %d %s", status, body)
	}
	link := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(own) + `/r/\S+$`).FindString(s.resetMail(1).Text)
	if link == "" {
		t.Fatal("the mail leads elsewhere")
	}
	status, page := visit(browser.Get(link))
	view := viewForm.FindStringSubmatch(page)
	if view == nil {
		t.Fatalf("no form: %d %s", status, page)
	}
	const chosen = "a new one, remembered"
	status, page = visit(browser.PostForm(own+"/r", url.Values{"view": {view[1]}, "password": {chosen}, "repeat": {chosen}}))
	if status != http.StatusOK || !strings.Contains(page, "Your password was changed") {
		t.Errorf("%d %s", status, page)
	}
	if got := s.signIn("ada@example.com", chosen); got.status != http.StatusCreated {
		t.Errorf("sign-in with the new password: %d %s", got.status, got.body)
	}
}

func bearerOf(t *testing.T, a answer) string {
	t.Helper()
	var document struct {
		Data struct{ Attributes struct{ Token string } }
	}
	if err := json.Unmarshal([]byte(a.body), &document); err != nil || document.Data.Attributes.Token == "" {
		t.Fatalf("no token in %s", a.body)
	}
	return "Bearer " + document.Data.Attributes.Token
}

func TestDeliverFalseRecordsAndSendsNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.serve()
	got := s.send("POST", "/v1/accounts/acme/passwords", `{"meta":{"email":"ada@example.com","deliver":false}}`)
	if got.status != http.StatusAccepted {
		t.Fatalf("%d %s", got.status, got.body)
	}
	s.forget("ada@example.com")
	s.resetMail(1) // the second request's, so the first is settled
	if n := len(s.mailbox.Messages()); n != 1 {
		t.Errorf("%d mails, want 1", n)
	}
	metrics := s.metrics()
	if !regexp.MustCompile(`passmend_ledger_imbalance 0\b`).MatchString(metrics) {
		t.Errorf("the ledger does not balance:\n%s", grep(metrics, "ledger"))
	}
}

// Exactly one of many fulfilments at once may win, whichever way the token came.
func TestLinkIsRedeemedOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, limitsOff...)
	s.serve()
	s.forget("ada@example.com")
	token := tokenOf(t, s.resetMail(1))
	var mu sync.Mutex
	statuses := map[int]int{}
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			got := s.redeem("ada@example.com", token, "a new one, remembered")
			mu.Lock()
			defer mu.Unlock()
			statuses[got.status]++
		})
	}
	wait.Wait()
	if statuses[http.StatusOK] != 1 {
		t.Errorf("answers by status: %v, want exactly one 200", statuses)
	}
	for status := range statuses {
		if status != http.StatusOK && status != http.StatusNotFound && status != http.StatusServiceUnavailable {
			t.Errorf("answers by status: %v", statuses)
		}
	}
}

// T02: known and unknown addresses get the same bytes.
func TestKnownAndUnknownGetEqualBytes(t *testing.T) {
	t.Parallel()
	s := newSite(t, limitsOff...)
	s.serve()
	distinct := map[string]bool{}
	for _, address := range []string{"ada@example.com", "eve@example.com", "foo", strings.Repeat("a", 400) + "@example.com"} {
		got := s.send("POST", "/v1/accounts/acme/passwords", `{"meta":{"email":"`+address+`"}}`)
		for _, own := range []string{"Date", "Keygen-Date", "X-Request-Id"} { // the clock's, and each request's
			got.header.Del(own)
		}
		raw, err := json.Marshal(got.header)
		if err != nil {
			t.Fatal(err)
		}
		distinct[string(raw)+got.body] = true
	}
	if len(distinct) != 1 {
		t.Errorf("%d distinct answers: %v", len(distinct), distinct)
	}
}

// What was accepted outlives the process that accepted it.
func TestAcceptedSurvivesKill(t *testing.T) {
	t.Parallel()
	s := newSite(t, limitsOff...)
	// The provider leads nowhere, so that nothing is sent before the kill.
	nowhere := freePort(t)[len("127.0.0.1:"):]
	nowhereIs := []string{"provider", "add", "nowhere", "--plugin", "smtp", "--set", "host=127.0.0.1", "--set", "port=" + nowhere, "--set", "tls=none"}
	s.refuses(1, "port "+nowhere+" is not allowed for this provider", nowhereIs...)
	s.openPort("smtp", nowhere)
	// Nobody listens there now: that is a warning, and no fault of the settings.
	if code, _, stderr := s.try(nil, nowhereIs...); code != 0 || !strings.Contains(stderr, "warning: added, but provider nowhere") {
		t.Errorf("exit %d, %q", code, stderr)
	}
	s.refuses(1, "already", nowhereIs...)
	s.must(append(nowhereIs, "--if-absent")...)
	s.must("account", "update", "acme", "--providers", "nowhere")
	srv := s.serve()
	for range 3 {
		s.forget("ada@example.com")
	}
	srv.kill()
	s.must("account", "update", "acme", "--providers", "relay")
	s.serve()
	s.resetMail(1)
}

// A plugin that is killed comes back, and the request waits for it.
func TestPluginKilledComesBack(t *testing.T) {
	t.Parallel()
	s := newSite(t, limitsOff...)
	srv := s.serve()
	s.forget("ada@example.com")
	s.resetMail(1)
	for _, pid := range children(t, srv.cmd.Process.Pid) {
		process, err := os.FindProcess(pid)
		if err != nil {
			t.Fatal(err)
		}
		if err := process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	s.createUser("acme", "bea@example.com", "another old one here")
	s.forget("bea@example.com")
	s.eventually("mail goes out again", func() bool {
		return slices.ContainsFunc(s.mailbox.Messages(), mailTo("bea@example.com"))
	})
}

// T19, the small form: what must not be known is nowhere to be found.
func TestNothingSecretIsLeftBehind(t *testing.T) {
	t.Parallel()
	s := newSite(t, append(limitsOff, "PASSMEND_LOG_LEVEL=debug")...)
	srv := s.serve()
	s.forget("ada@example.com")
	s.forget("canary.unknown@example.net")
	token := tokenOf(t, s.resetMail(1))
	wrong := token[:10] + strings.Map(func(r rune) rune { return r ^ 1 }, token[10:11]) + token[11:]
	s.redeem("ada@example.com", wrong, "canary password one")
	s.send("GET", "/acme/r/"+token, "")
	if got := s.redeem("ada@example.com", token, "canary password one"); got.status != http.StatusOK {
		t.Fatalf("redeem: %d %s", got.status, got.body)
	}
	bearer := strings.TrimPrefix(bearerOf(t, s.signIn("ada@example.com", "canary password one")), "Bearer ")
	s.eventually("the notice is out", func() bool { return len(s.mailbox.Messages()) >= 2 })
	metrics := s.metrics()
	if code := srv.stop(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	logs := srv.out.String()
	if !strings.Contains(logs, "/v1/accounts/") {
		t.Error("the log holds no request: it proves nothing")
	}
	database := s.databaseBytes()
	if !strings.Contains(database, "ada@example.com") {
		t.Error("the control is missing: a user's own address is in the database")
	}
	for _, canary := range []string{token, "canary password one", "an old one, forgotten", bearer, "canary.unknown@example.net", "/r/A"} {
		for place, text := range map[string]string{"log": logs, "metrics": metrics, "database": database} {
			if strings.Contains(text, canary) {
				t.Errorf("%q is in the %s", canary, place)
			}
		}
	}
	for place, text := range map[string]string{"log": logs, "metrics": metrics} {
		if strings.Contains(text, "ada@example.com") {
			t.Errorf("an address is in the %s: %s", place, grep(text, "ada@example.com"))
		}
	}
}

func (s *site) metrics() string {
	s.t.Helper()
	for _, setting := range s.env {
		if addr, ok := strings.CutPrefix(setting, "PASSMEND_ADMIN_ADDR="); ok {
			metrics := (&site{t: s.t, base: "http://" + addr}).send("GET", "/metrics", "").body
			if hits := grep(metrics, `passmend_redactions_total{sink="log"}`); hits != "" && !strings.HasSuffix(hits, " 0") {
				s.t.Errorf("the last filter of the log had to redact: %s", hits)
			}
			return metrics
		}
	}
	s.t.Fatal("no operations port")
	return ""
}

func (s *site) databaseBytes() string {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "data", "passmend.db*"))
	if err != nil || len(files) == 0 {
		s.t.Fatalf("no database files: %v", err)
	}
	var all strings.Builder
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			s.t.Fatal(err)
		}
		all.Write(content)
	}
	return all.String()
}

func TestStopsInTimeWithWorkWaiting(t *testing.T) {
	t.Parallel()
	s := newSite(t, limitsOff...)
	srv := s.serve()
	for range 20 {
		s.forget("ada@example.com")
	}
	begun := time.Now()
	if code := srv.stop(); code != 0 || time.Since(begun) > 30*time.Second {
		t.Errorf("exit status %d after %s", code, time.Since(begun))
	}
	if pids := children(t, srv.cmd.Process.Pid); len(pids) != 0 {
		t.Errorf("plugin processes are left: %v", pids)
	}
}

// T12, the small form: an address gets three mails an hour, all with one link, and
// nobody outside can tell.
func TestRecipientLimitIsSilent(t *testing.T) {
	t.Parallel()
	s := newSite(t, "PASSMEND_LIMIT_RSTPWD=off", "PASSMEND_LIMIT_IP=off")
	s.serve()
	for range 6 {
		s.forget("ada@example.com")
	}
	find := func() string { return s.must("request", "find", "ada@example.com", "--account", "acme") }
	s.eventually("every request is settled", func() bool { return !strings.Contains(find(), "pending") })
	found := find()
	if sent, suppressed := strings.Count(found, " sent"), strings.Count(found, "suppressed (recipient limit)"); sent != 3 || suppressed != 3 {
		t.Errorf("%d sent, %d suppressed, want 3 of each:\n%s", sent, suppressed, found)
	}
	links := map[string]bool{}
	for _, m := range s.mailbox.Messages() {
		links[tokenOf(t, m)] = true
	}
	if n := len(s.mailbox.Messages()); n != 3 || len(links) != 1 {
		t.Errorf("%d mails with %d links, want 3 with one", n, len(links))
	}
}

func TestTimelineTellsWhatHappened(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.serve()
	s.forget("ada@example.com")
	token := tokenOf(t, s.resetMail(1))
	if got := s.redeem("ada@example.com", token, "a new one, remembered"); got.status != http.StatusOK {
		t.Fatalf("redeem: %d %s", got.status, got.body)
	}
	s.eventually("the notice is out", func() bool { return len(s.mailbox.Messages()) == 2 })
	found := s.must("request", "find", "Ada@example.com", "--account", "acme")
	id := idForm.FindString(found)
	var shown string
	s.eventually("the notice is settled", func() bool {
		shown = s.must("request", "show", id, "--account", "acme")
		return !strings.Contains(shown, "due")
	})
	for _, want := range []string{"redeemed", "accepted", "resolved", "mail, attempt 1", "accepted by relay", "notice, attempt 1"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the timeline lacks %q:\n%s", want, shown)
		}
	}
	if strings.Contains(shown, token) || strings.Contains(shown, "ada@") {
		t.Errorf("the timeline holds a link or an address:\n%s", shown)
	}
	operator := s.must("token", "create", "--operator")
	got := s.send("GET", "/v1/accounts/acme/password-requests/"+id, "", "Authorization", "Bearer "+operator)
	if got.status != http.StatusOK || !strings.Contains(got.body, `"redeemed"`) {
		t.Errorf("over the API: %d %s", got.status, got.body)
	}
	if got := s.must("request", "find", "eve@example.com", "--account", "acme"); idForm.MatchString(got) {
		t.Errorf("another address finds %s", got)
	}
}
