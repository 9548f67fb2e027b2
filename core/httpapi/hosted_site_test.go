package httpapi

import (
	"crypto/rand"
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// site is a running set of hosted pages over parts that live in memory.
type site struct {
	t        *testing.T
	url      string
	hosted   *hosted
	config   Config
	accounts *memoryAccounts
	intake   *memoryIntake
	links    *memoryLinks
	clock    *stoppedClock
	logs     *lockedBuffer
	refusals *countedRefusals
	acme     tenants.Account
	tls      *http.Client // trusts the server's certificate; nil over http
}

type siteOption func(*siteSetup)

type siteSetup struct {
	https bool
	wrap  func(http.Handler) http.Handler
}

func overHTTPS(s *siteSetup) { s.https = true }

// wrapped puts a handler in front: to watch, or to bring a fault back in.
func wrapped(wrap func(http.Handler) http.Handler) siteOption {
	return func(s *siteSetup) { s.wrap = wrap }
}

func newSite(t *testing.T, options ...siteOption) *site {
	t.Helper()
	setup := siteSetup{wrap: func(h http.Handler) http.Handler { return h }}
	for _, option := range options {
		option(&setup)
	}
	server := httptest.NewUnstartedServer(nil)
	scheme := "http"
	if setup.https {
		scheme = "https"
	}
	base := &url.URL{Scheme: scheme, Host: server.Listener.Addr().String()}

	s := &site{t: t, url: base.String(), clock: &stoppedClock{now: time.Now()}, logs: &lockedBuffer{}, refusals: &countedRefusals{}}
	s.acme = tenants.New("0197c0de-0000-7000-8000-00000000acae", "acme", "Acme Inc")
	s.acme.Branding.ProductName = "Acme Rockets"
	s.acme.Branding.SupportAddress = "help@acme.example"
	s.accounts = &memoryAccounts{logos: map[tenants.AccountID][]byte{}}
	s.accounts.add(s.acme)
	s.intake = &memoryIntake{}
	s.links = &memoryLinks{links: map[string]*memoryLink{}}
	s.config = Config{
		Resolver: s.accounts, Accounts: s.accounts, Intake: s.intake, Redeemer: s.links,
		Cookies: newMemorySeals(t), BaseURL: base, Observer: s.refusals,
		Logger: slog.New(slog.NewJSONHandler(s.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:    s.clock.Now,
	}
	pages, err := newHosted(s.config, newGate(s.config))
	if err != nil {
		t.Fatal(err)
	}
	s.hosted = pages
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New() // routing as in New
	engine.UseEscapedPath, engine.UnescapePathValues = true, false
	engine.RedirectTrailingSlash = false
	pages.register(engine)
	server.Config.Handler = setup.wrap(engine)
	if setup.https {
		server.StartTLS()
		s.tls = server.Client()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return s
}

// limit puts limits in force, in the place of those before.
func (s *site) limit(set func(*Limits)) {
	c := s.config
	set(&c.Limits)
	s.hosted.gate = newGate(c)
}

// every is a limit of one in a time.
func every(d time.Duration) core.Limit { return limit(core.Rate{Count: 1, Per: d}) }

// link issues a link of an account that nobody has used yet, and gives its token.
func (s *site) link(account tenants.Account, address string) string {
	s.t.Helper()
	canonical, err := core.ParseAddress(address)
	if err != nil {
		s.t.Fatal(err)
	}
	var raw [32]byte
	_, _ = rand.Read(raw[:])
	token := base64.RawURLEncoding.EncodeToString(raw[:])
	s.links.mu.Lock()
	defer s.links.mu.Unlock()
	s.links.links[token] = &memoryLink{account: account.ID, holder: core.Holder{
		User:    core.User{ID: "0197c0de-0000-7000-8000-0000000000ad", Account: account.ID, Address: canonical, FirstName: "Ada"},
		Request: "0197c0de-0000-7000-8000-0000000000e0",
	}}
	return token
}

// expire makes a link too old.
func (s *site) expire(token string) {
	s.links.mu.Lock()
	defer s.links.mu.Unlock()
	s.links.links[token].expired = true
}

// visitor is a client that keeps cookies and follows no redirect by itself.
func (s *site) visitor() *visitor {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	client := &http.Client{Jar: jar, Timeout: 10 * time.Second}
	if s.tls != nil {
		client.Transport = s.tls.Transport
	} else {
		transport := &http.Transport{}
		s.t.Cleanup(transport.CloseIdleConnections)
		client.Transport = transport
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &visitor{site: s, client: client}
}

type visitor struct {
	site   *site
	client *http.Client
}

// pageAnswer is a response that has been read.
type pageAnswer struct {
	Status int
	Header http.Header
	Body   string
}

func (b *visitor) do(method, path string, form url.Values, header http.Header) pageAnswer {
	t := b.site.t
	t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	request, err := http.NewRequestWithContext(t.Context(), method, b.site.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Sec-Fetch-Site", "same-origin")
		request.Header.Set("Origin", b.site.url)
	}
	for name, values := range header {
		request.Header[name] = values
		if len(values) == 0 {
			request.Header.Del(name)
		}
		if name == "Host" {
			request.Host = values[0]
		}
	}
	response, err := b.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return pageAnswer{response.StatusCode, response.Header, string(content)}
}

func (b *visitor) get(path string) pageAnswer { b.site.t.Helper(); return b.do("GET", path, nil, nil) }

func (b *visitor) post(path string, pairs ...string) pageAnswer {
	b.site.t.Helper()
	return b.do("POST", path, formOf(pairs...), nil)
}

func formOf(pairs ...string) url.Values {
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return form
}

// open follows a mail's link to the form and gives the form's per-view token.
func (b *visitor) open(account tenants.Account, token string) (view string) {
	t := b.site.t
	t.Helper()
	opened := b.get("/" + account.Slug + "/r/" + token)
	if opened.Status != http.StatusSeeOther {
		t.Fatalf("link answered %d, want 303", opened.Status)
	}
	form := b.get(opened.Header.Get("Location"))
	if form.Status != http.StatusOK {
		t.Fatalf("form answered %d, want 200", form.Status)
	}
	return hiddenField(t, form.Body, "view")
}

func hiddenField(t *testing.T, body, name string) string {
	t.Helper()
	_, rest, found := strings.Cut(body, `name="`+name+`" value="`)
	value, _, closed := strings.Cut(rest, `"`)
	if !found || !closed || value == "" {
		t.Fatalf("no hidden field %s in:\n%s", name, body)
	}
	return value
}
