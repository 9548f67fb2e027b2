package canary

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/passmend/passmend/cmd/passmend/mailbox"
	"github.com/passmend/passmend/tenants"
)

const (
	testPrefix = "https://reset.example.com/canary-1/r/"
	testLink   = testPrefix + "AQ0123456789012345678901234567890123456789-"
)

func TestFindLink(t *testing.T) {
	t.Parallel()
	html := func(href string) string { return `<p><a href="` + href + `">` + testLink + `</a></p>` }
	for name, c := range map[string]struct {
		text, html string
		link       string
		intact     bool
	}{
		"both parts hold it":          {"Open\n" + testLink + "\n", html(testLink), testLink, true},
		"there is no page":            {testLink, "", testLink, true},
		"the page leads elsewhere":    {testLink, html("https://click.example/x"), testLink, false},
		"the text leads elsewhere":    {"https://click.example/x", html(testLink), testLink, false},
		"both lead elsewhere":         {"https://click.example/x", html("https://click.example/x"), "", false},
		"the token is cut":            {testLink[:len(testLink)-1], html(testLink[:len(testLink)-1]), "", false},
		"something was put behind it": {testLink + "?utm_source=mail", html(testLink), testLink, false},
		"it is another account's":     {strings.Replace(testLink, "canary-1", "acme", 1), "", "", false},
		"there is none":               {"Hello", "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			link, intact := findLink(mailbox.Message{Text: c.text, HTML: c.html}, testPrefix)
			if link != c.link || intact != c.intact {
				t.Errorf("got %q, %t; want %q, %t", link, intact, c.link, c.intact)
			}
		})
	}
}

func TestAProofIsForAPathAndAMinute(t *testing.T) {
	t.Parallel()
	sign := func(key string) func(string) []byte { return func(text string) []byte { return []byte(key + text) } }
	now := time.Unix(1_800_000_000, 0)
	proof := Proof(sign("k"), "/a", now)
	for name, c := range map[string]struct {
		key, path string
		at        time.Duration
		want      bool
	}{
		"now": {"k", "/a", 0, true}, "a minute later": {"k", "/a", time.Minute, true}, "a clock that is behind": {"k", "/a", -time.Minute, true},
		"three minutes later": {"k", "/a", 3 * time.Minute, false}, "another path": {"k", "/b", 0, false}, "another key": {"l", "/a", 0, false},
	} {
		if got := Proven(sign(c.key), c.path, proof, now.Add(c.at)); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func startInbox(t *testing.T) *Inbox {
	t.Helper()
	inbox, err := NewInbox("127.0.0.1:0", "Canary@Probe.example.com")
	if err != nil {
		t.Fatal(err)
	}
	if err := inbox.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := inbox.stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return inbox
}

func TestInboxTakesItsOwnMailOnly(t *testing.T) {
	t.Parallel()
	inbox := startInbox(t)
	address := inbox.address("tag")
	mails, forget := inbox.await(address)
	send := func(to string, body string) error {
		return smtp.SendMail(inbox.Addr(), nil, "a@relay.example", []string{to}, []byte("Subject: x\r\n\r\n"+body+"\r\n"))
	}
	for _, to := range []string{"ada@example.com", "canary@probe.example.com", "canary+tag@example.com", "canary2+tag@probe.example.com"} {
		if err := send(to, "x"); err == nil || !strings.Contains(err.Error(), "no such mailbox") {
			t.Errorf("mail to %s is taken: %v", to, err)
		}
	}
	if err := send(address, strings.Repeat(strings.Repeat("x", 70)+"\r\n", maxMailBytes/70)); err == nil {
		t.Error("a mail that is too large is taken")
	}
	for _, to := range []string{"canary+late@probe.example.com", strings.ToUpper(address), address} {
		if err := send(to, "for "+to); err != nil {
			t.Errorf("mail to %s is refused: %v", to, err)
		}
	}
	if got := <-mails; !strings.Contains(got.Text, "CANARY+TAG@") {
		t.Errorf("got %q, want the first mail to the address", got.Text)
	}
	forget()
	if err := send(address, "late"); err != nil {
		t.Error(err)
	}
	if len(mails) > 0 {
		t.Error("a mail came in after forgetting")
	}
}

// More connections than there is room for are closed, and later ones are served.
func TestInboxBoundsConnections(t *testing.T) {
	t.Parallel()
	inbox := startInbox(t)
	var open []*smtp.Client
	refused := 0
	for range maxConnections + 5 {
		client, err := smtp.Dial(inbox.Addr())
		if err != nil {
			refused++
			continue
		}
		open = append(open, client)
	}
	if len(open) != maxConnections || refused != 5 {
		t.Errorf("%d connections are open and %d refused, want %d and 5", len(open), refused, maxConnections)
	}
	for _, client := range open {
		_ = client.Close()
	}
	for range 100 {
		client, err := smtp.Dial(inbox.Addr())
		if err == nil {
			_ = client.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("no connection is served after others ended")
}

// fakeDesk has one account.
type fakeDesk struct{}

func (fakeDesk) Account(context.Context, string) (tenants.Account, error) {
	return tenants.New(tenants.OwnID("x"), "canary-1", "Canary"), nil
}
func (fakeDesk) Person(context.Context, tenants.Account, string) error { return nil }

type seen struct {
	mu   sync.Mutex
	list []string
}

func (s *seen) CanaryBegan(provider string) { s.add("began " + provider) }
func (s *seen) Canary(provider, stage string, _ time.Duration) {
	s.add(provider + " " + stage)
}
func (s *seen) CanaryLink(provider string, intact bool) {
	s.add(map[bool]string{true: "intact", false: "changed"}[intact] + " " + provider)
}
func (s *seen) add(what string) { s.mu.Lock(); defer s.mu.Unlock(); s.list = append(s.list, what) }

// walk does one reset against a service that answers as handle says, and gives what
// was observed and logged. A mail is brought when the service was asked.
func walk(t *testing.T, mail func(base string) string, handle http.HandlerFunc) ([]string, string) {
	t.Helper()
	inbox := startInbox(t)
	var base string
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/accounts/canary-1/passwords", func(w http.ResponseWriter, r *http.Request) {
		var asked bytes.Buffer
		_, _ = asked.ReadFrom(r.Body)
		address, _, _ := strings.Cut(strings.TrimPrefix(asked.String(), `{"meta":{"email":"`), `"`)
		if text := mail(base); text != "" {
			raw := "Content-Type: text/plain\r\n\r\n" + text + "\r\n"
			if err := smtp.SendMail(inbox.Addr(), nil, "a@relay.example", []string{address}, []byte(raw)); err != nil {
				t.Error(err)
			}
		}
		handle(w, r)
	})
	mux.HandleFunc("/", handle)
	server := httptest.NewServer(mux)
	defer server.Close()
	base = server.URL
	parsed, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	observed := &seen{}
	bird, err := New(Config{
		Providers: []string{"relay"}, Desk: fakeDesk{}, Observer: observed, Logger: slog.New(slog.NewTextHandler(&logged, nil)),
		Inbox: inbox, Base: parsed, Prove: func(string) string { return "proof" }, Patience: 2 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	bird.once(t.Context(), "relay")
	return observed.list, logged.String()
}

// Whatever stops a reset, the log says at which stage and why, and the stages after it
// are not counted.
func TestEachStageThatIsNotReachedIsNamed(t *testing.T) {
	t.Parallel()
	token := testLink[len(testPrefix):]
	good := func(base string) string { return base + "/canary-1/r/" + token }
	none := func(string) string { return "" }
	accept := func(then http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/passwords") {
				w.WriteHeader(http.StatusAccepted)
				return
			}
			then(w, r)
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	page := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			_, _ = w.Write([]byte(text))
		}
	}
	for name, c := range map[string]struct {
		mail   func(base string) string
		handle http.HandlerFunc
		seen   []string
		log    string
	}{
		"the service refuses": {none, status(503), nil, `stage=accepted reason="the request was answered with 503`},
		"no mail arrives":     {none, accept(status(404)), []string{"relay accepted"}, `stage=delivered reason="no mail arrived within 2s"`},
		"the link is rewritten": {
			func(string) string { return "https://click.example/track/" + token }, accept(status(404)),
			[]string{"relay accepted", "changed relay", "relay delivered"}, `stage=opened reason="the mail arrived without the link`,
		},
		"the page is not there": {good, accept(status(404)), []string{"relay accepted", "intact relay", "relay delivered"}, `stage=opened reason="the link was answered with 404"`},
		"the link leads away": {
			good, accept(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://elsewhere.example/", http.StatusSeeOther)
			}),
			[]string{"relay accepted", "intact relay", "relay delivered"}, "it leads to another site",
		},
		"the page has no password": {
			good, accept(page(`<form action="/x"><input name="a"></form>`)),
			[]string{"relay accepted", "intact relay", "relay delivered", "relay opened"}, `stage=redeemed reason="the page asks for no password"`,
		},
		"the password is not taken": {
			good, accept(page(`<form action="/x"><input name="a" type="password"></form>`)),
			[]string{"relay accepted", "intact relay", "relay delivered", "relay opened"}, `stage=redeemed reason="the new password was answered with 503"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			observed, logged := walk(t, c.mail, c.handle)
			if !slices.Equal(observed, c.seen) {
				t.Errorf("observed %q, want %q", observed, c.seen)
			}
			if !strings.Contains(logged, c.log) || strings.Contains(logged, token) || strings.Contains(logged, "canary+") {
				t.Errorf("the log is %s, want %s and neither token nor address", logged, c.log)
			}
		})
	}
}
