package httpapi_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/httpapi"
	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/core/sqlstore/pgtest"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

// edge is the whole edge over a real database, real keys and the real services of
// core; only the sending of mail is missing.
type edge struct {
	t        testing.TB
	url      string
	host     string // as Host header
	client   *http.Client
	store    *sqlstore.Store
	keys     *keys.Keys
	signIn   *core.SignIn
	resolver *tenants.Resolver
	handler  http.Handler
	database string // its URL
	asked    *asks
	services *services
	observer *tally
	logs     *logBuffer

	acme, other tenants.Account
	ada, boss   core.User // of acme; boss is an admin

	mail core.Delivery // of the last link, still leased
}

const adaPassword = "correct horse battery staple"

// off is every limit out of the way.
func off() httpapi.Limits {
	none := core.NoLimit()
	return httpapi.Limits{Rstpwd: none, Mutpwd: none, Auth: none, IP: none, IPDay: none, Account: none, BadToken: none, BadCallback: none, Probe: none}
}

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// engines give an empty database each.
var engines = map[string]func(testing.TB) string{
	"sqlite":   func(t testing.TB) string { return "sqlite://" + filepath.Join(t.TempDir(), "test.db") },
	"postgres": func(t testing.TB) string { return pgtest.URL(t) },
}

// setup starts an edge with limits off, unless a change of the Config says otherwise.
func setup(t testing.TB, changes ...func(*httpapi.Config)) *edge {
	t.Helper()
	return setupOn(t, engines["sqlite"](t), changes...)
}

// setupOn is setup on a database of the caller's choice.
func setupOn(t testing.TB, database string, changes ...func(*httpapi.Config)) *edge {
	t.Helper()
	ctx := context.Background()
	dir := t.TempDir()
	e := &edge{t: t, database: database, asked: &asks{}, services: &services{}, observer: &tally{}, logs: &logBuffer{}}
	keysFile := filepath.Join(dir, "keys.json")
	must(t, keys.Init(keysFile))
	e.keys = got(keys.Open(keysFile))(t)
	e.store = got(sqlstore.Open(ctx, sqlstore.Config{URL: database, NewID: newID}))(t)
	t.Cleanup(func() { e.store.Close() })
	got(e.store.Migrate(ctx))(t)
	must(t, e.store.Start(ctx))
	t.Cleanup(func() { e.store.Stop(ctx) })
	e.resolver = got(tenants.NewResolver(e.store))(t)
	passwords := got(keys.NewPasswords(keys.PasswordsConfig{Keys: e.keys, Queue: 1000, MaxWait: time.Minute}))(t)

	e.acme = got(e.store.CreateAccount(ctx, tenants.New(tenants.AccountID(newID()), "acme", "Acme Inc")))(t)
	e.other = got(e.store.CreateAccount(ctx, tenants.New(tenants.AccountID(newID()), "other", "Other Ltd")))(t)
	e.ada = e.user(e.acme, "ada@example.com", core.RoleUser)
	e.boss = e.user(e.acme, "boss@example.com", core.RoleAdmin)
	e.signIn = &core.SignIn{Users: e.store, Tokens: e.store, System: e.store, Passwords: passwords, Resources: httpapi.Resources{}, NewID: newID}
	e.asked.next = &core.Intake{Inbox: e.store, Sealer: e.keys, Digester: e.keys, NewID: newID}

	server := httptest.NewUnstartedServer(nil)
	e.host = server.Listener.Addr().String()
	e.url = "http://" + e.host
	config := httpapi.Config{
		Resolver: e.resolver, Intake: e.asked, SignIn: e.signIn, Tokens: e.store, Users: e.store, Accounts: e.store, Cookies: e.keys,
		Redeemer: core.NewRedeemer(core.RedeemConfig{
			Requests: e.store, Users: e.store, Redemptions: e.store, Keys: e.keys, Passwords: passwords, NewID: newID,
		}),
		AccountAdmin: &core.AccountAdmin{System: e.store, Accounts: e.store, Changed: e.resolver.Clear, NewID: newID},
		UserAdmin: &core.UserAdmin{
			Users: e.store, Changes: e.store, Passwords: passwords, Resources: httpapi.Resources{}, NewID: newID,
		},
		Support: &core.Support{Ledger: e.store, Timelines: e.store, Digester: e.keys},
		ProviderEvents: &core.ProviderEvents{
			Providers: e.store, Parser: e.services, Messages: e.store, Reports: e.store, Sealer: e.keys, Digester: e.keys, NewID: newID,
		},
		Suppressions: &core.SuppressionList{Suppressions: e.store, Users: e.store, Digester: e.keys, NewID: newID},
		Audit:        e.store, Holds: e.store,
		Endpoints: e.store,
		EndpointDesk: &core.EndpointDesk{
			Endpoints: e.store, URLs: core.EndpointURLs{Ports: []uint16{8443}, Own: []string{"reset.acme.example"}},
			Recipients: keys.Recipients{}, Sealer: e.keys, NewID: newID,
		},
		EventDesk: &core.EventDesk{Events: e.store, Wire: httpapi.Resources{}},
		Calls:     e.store, CallKeys: e.keys, Queue: e.store,
		Signatures: core.NewSigner(core.SignerConfig{Keys: e.store, Sealer: e.keys, NewID: newID}),
		BaseURL:    got(url.Parse(e.url))(t), Revision: "abc1234", Limits: off(),
		Logger: slog.New(slog.NewJSONHandler(e.logs, nil)), Observer: e.observer, NewID: newID,
	}
	for _, change := range changes {
		change(&config)
	}
	e.handler = got(httpapi.New(config))(t)
	server.Config = httpapi.NewHTTPServer(e.handler, "")
	server.Start()
	t.Cleanup(server.Close)
	e.client = server.Client()
	e.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return e
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// got unwraps a value that must be there: got(f())(t).
func got[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		must(t, err)
		return value
	}
}

func (e *edge) user(account tenants.Account, address string, role core.Role) core.User {
	e.t.Helper()
	return e.userWith(core.User{Account: account.ID, Address: got(core.ParseAddress(address))(e.t), Role: role, FirstName: "Ada"})
}

func (e *edge) userWith(user core.User) core.User {
	e.t.Helper()
	user.ID = core.UserID(newID())
	return got(e.store.CreateUser(context.Background(), user.Account, user))(e.t)
}

// userWithPassword makes a user who can sign in.
func (e *edge) userWithPassword(account tenants.Account, address string, change func(*core.User)) core.User {
	e.t.Helper()
	user := core.User{ID: core.UserID(newID()), Account: account.ID, Address: got(core.ParseAddress(address))(e.t), Role: core.RoleUser}
	if change != nil {
		change(&user)
	}
	user.PasswordHash = got(e.signIn.Passwords.Hash(context.Background(), account.ID, user.ID, tenants.NewSecret(adaPassword)))(e.t)
	return got(e.store.CreateUser(context.Background(), account.ID, user))(e.t)
}

func (e *edge) token(user core.User) string {
	e.t.Helper()
	_, value, err := e.signIn.Issue(context.Background(), user, core.NewToken{})
	must(e.t, err)
	return value.Reveal()
}

func (e *edge) operatorToken() string {
	e.t.Helper()
	_, value, err := e.signIn.IssueOperator(context.Background(), core.NewToken{Name: "ops"})
	must(e.t, err)
	return value.Reveal()
}

// link walks a request through resolving, as a worker would, and gives the token
// that its mail would carry.
func (e *edge) link(account tenants.Account, address string) string {
	e.t.Helper()
	ctx := context.Background()
	parsed := got(core.ParseAddress(address))(e.t)
	must(e.t, e.asked.next.Accept(ctx, account, core.Ask{Address: parsed}))
	resolver := core.Resolver{Accounts: e.resolver, Users: e.store, Sealer: e.keys, Keys: e.keys, NewID: newID}
	reader := &linkReader{}
	dispatcher := core.NewDispatcher(core.DispatchConfig{
		Accounts: e.resolver, Logos: e.store, Ledger: e.store, Users: e.store, Providers: e.store, Sealer: e.keys, Keys: e.keys,
		Renderer: reader, BaseURL: got(url.Parse(e.url))(e.t),
	})
	for reader.link == "" {
		claim := got(e.store.Claim(ctx, core.ClaimAsk{Free: 10}))(e.t)
		if len(claim.Deliveries) == 0 {
			e.t.Fatal("no delivery to work on")
		}
		for _, delivery := range claim.Deliveries {
			if delivery.Kind == core.KindWebhook {
				continue // nobody is told here
			}
			if delivery.Kind == core.KindResolve {
				plan := got(resolver.Resolve(ctx, delivery))(e.t)
				standing := got(e.store.Resolve(ctx, delivery.Account, delivery.LeaseOf(), plan))(e.t)
				if standing.Mail == nil {
					continue
				}
				delivery = *standing.Mail
			}
			if _, err := dispatcher.Dispatch(ctx, delivery); !errors.Is(err, errLinkRead) {
				e.t.Fatal(err)
			}
			e.mail = delivery
		}
	}
	return reader.link[strings.LastIndexByte(reader.link, '/')+1:]
}

var errLinkRead = errors.New("link read")

// linkReader stands where a mail would be rendered and keeps its link.
type linkReader struct{ link string }

func (r *linkReader) Mail(_ context.Context, facts core.MailFacts) (sdk.Mail, error) {
	r.link = facts.Link.Reveal()
	return sdk.Mail{}, errLinkRead
}

// asks keeps what reached the intake.
type asks struct {
	next *core.Intake
	fail error
	mu   sync.Mutex
	all  []string // "slug address deliver"
}

func (a *asks) Accept(ctx context.Context, account tenants.Account, ask core.Ask) error {
	if a.fail != nil {
		return a.fail
	}
	deliver := "unsaid"
	if ask.Deliver != nil {
		deliver = map[bool]string{true: "yes", false: "no"}[*ask.Deliver]
	}
	a.mu.Lock()
	a.all = append(a.all, account.Slug+" "+ask.Address.Reveal()+" "+deliver)
	a.mu.Unlock()
	return a.next.Accept(ctx, account, ask)
}

func (a *asks) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.all
	a.all = nil
	return all
}

// tally counts what the observer is told.
type tally struct {
	mu    sync.Mutex
	words []string
}

func (o *tally) Rejected(reason string)           { o.add("rejected " + reason) }
func (o *tally) RateLimited(scope, action string) { o.add("limited " + scope + " " + action) }
func (o *tally) LinkOpened(string)                {}

func (o *tally) add(word string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.words = append(o.words, word)
}

func (o *tally) take() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	words := o.words
	o.words = nil
	return words
}

type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// reply is an answer as a client sees it.
type reply struct {
	Status int
	Header http.Header
	Body   string
}

// ask is a request to send; Header values of "" are left out.
type ask struct {
	method, path, body string
	header             map[string]string
}

func (e *edge) do(a ask) reply {
	e.t.Helper()
	if a.method == "" {
		a.method = "POST"
	}
	request := got(http.NewRequest(a.method, e.url+a.path, strings.NewReader(a.body)))(e.t)
	if a.method == "GET" || a.method == "HEAD" {
		request.Body = http.NoBody
	}
	for name, value := range a.header {
		if name == "Host" {
			request.Host = value
		} else if value != "" {
			request.Header.Set(name, value)
		}
	}
	response := got(e.client.Do(request))(e.t)
	defer response.Body.Close()
	body := got(io.ReadAll(response.Body))(e.t)
	return reply{response.StatusCode, response.Header, string(body)}
}

// passwords posts a body to acme's passwords.
func (e *edge) passwords(body string) reply {
	e.t.Helper()
	return e.do(ask{path: "/v1/accounts/acme/passwords", body: body, header: map[string]string{"Content-Type": "application/vnd.api+json"}})
}

func basic(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

// wireError is the one error of an answer.
type wireError struct {
	Title  string            `json:"title"`
	Detail string            `json:"detail"`
	Code   string            `json:"code"`
	Source map[string]string `json:"source"`
	Links  map[string]string `json:"links"`
}

// oneError reads an error document and holds it to its shape: exactly one error, a
// meta only with the id of the X-Request-Id header, no data.
func (r reply) oneError(t testing.TB) (found wireError, hasMeta bool) {
	t.Helper()
	var document struct {
		Meta   *struct{ ID string }
		Errors []json.RawMessage
		Data   json.RawMessage
	}
	if err := json.Unmarshal([]byte(r.Body), &document); err != nil || len(document.Errors) != 1 || document.Data != nil {
		t.Fatalf("want an error document with one error, got %d %q", r.Status, r.Body)
	}
	decoder := json.NewDecoder(bytes.NewReader(document.Errors[0]))
	decoder.DisallowUnknownFields()
	must(t, decoder.Decode(&found))
	if document.Meta != nil && document.Meta.ID != r.Header.Get("X-Request-Id") {
		t.Fatalf("meta.id %q is not X-Request-Id %q", document.Meta.ID, r.Header.Get("X-Request-Id"))
	}
	if kind := r.Header.Get("Content-Type"); kind != "application/vnd.api+json; charset=utf-8" && kind != "application/json; charset=utf-8" {
		t.Fatalf("error in %q", kind)
	}
	return found, document.Meta != nil
}

// line is an error in one line: status code pointer detail.
func (r reply) line(t testing.TB) string {
	t.Helper()
	found, _ := r.oneError(t)
	code := found.Code
	if code == "" {
		code = "-"
	}
	place := "-"
	for _, value := range found.Source {
		place = value
	}
	return strings.Join([]string{http.StatusText(r.Status), code, place, found.Detail}, " | ")
}

// fingerprint is everything about an answer that must not differ: all but the
// clock, the request's own id, and the digest of a body that holds that id.
func (r reply) fingerprint() string {
	digest := sha256.Sum256([]byte(r.Body))
	var lines []string
	for name, values := range r.Header {
		switch {
		case name == "Date", name == "Keygen-Date":
		case name == "X-Request-Id":
			lines = append(lines, name)
		case strings.HasSuffix(name, "Digest") && values[0] == "sha-256="+base64.StdEncoding.EncodeToString(digest[:]):
			lines = append(lines, name+": of the body")
		default:
			lines = append(lines, name+": "+strings.Join(values, "|"))
		}
	}
	slices.Sort(lines)
	body := strings.ReplaceAll(r.Body, r.Header.Get("X-Request-Id"), "ID")
	return http.StatusText(r.Status) + "\n" + strings.Join(lines, "\n") + "\n\n" + body
}
