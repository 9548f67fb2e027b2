package httpapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/passmend/passmend/core/httpapi"
)

// FuzzRouter sends anything anywhere: no answer is our fault, and each error has the
// shape of the contract.
func FuzzRouter(f *testing.F) {
	for _, seed := range []struct{ method, target, name, value, body string }{
		{"POST", "/v1/accounts/acme/passwords", "Content-Type", "application/json", good},
		{"POST", "/v1/accounts/acme/users/ada@example.com/actions/reset-password", "Keygen-Version", "1.0", `{"meta":{"passwordResetToken":"x","newPassword":"y"}}`},
		{"POST", "/v1/accounts/acme/tokens?auth=x", "Authorization", basic("ada@example.com", ""), `{"data":{"type":"tokens"}}`},
		{"POST", "/v1/recover", "Content-Type", "application/json", `{"meta":{"type":"account","email":"ada@example.com"}}`}, {"POST", "/acme/r/dispute", "Content-Type", "application/x-www-form-urlencoded", "view=x"}, {"GET", "/a.php", "X-Forwarded-For", "203.0.113.7", ""},
		{"GET", "/v1/me?token=%41", "Accept", "*;q=.2, text/html", ""}, {"GET", "/v1/accounts/acme/users/%2e%2e%2f.json", "Authorization", "Token token=\"x\"", ""},
		{"OPTIONS", "/v1/x", "Access-Control-Request-Method", "POST", ""}, {"GET", "/acme/forgot?email=x", "Host", "", ""}, {"GET", "/acme/r/x", "Cookie", "passmend=x", ""},
		{"GET", "/v1/accounts/acme/users?page[size]=1&metadata[a]=%41", "Authorization", "Bearer ADMIN", ""}, {"PATCH", "/v1/accounts/acme/users/ada@example.com", "Authorization", "Bearer ADMIN", `{"data":{"type":"users","attributes":{"metadata":{"a":[{}]}}}}`},
		{"POST", "/v1/accounts/acme/webhook-endpoints", "Authorization", "Bearer ADMIN", `{"data":{"type":"webhook_endpoint","attributes":{"url":"https://[::1]:99999/%zz","subscriptions":["*"]}}}`}, {"GET", "/v1/accounts/acme/webhook-events?events[]=x", "Authorization", "Bearer ADMIN", ""},
		{"PATCH", "/v1/accounts/acme", "Authorization", "Bearer ADMIN", `{"data":{"type":"accounts","attributes":{"linkLife":1e9,"branding":{"accent":"#"}}}}`}, {"POST", "/v1/accounts/acme/suppressions", "Authorization", "Bearer ADMIN", `{"meta":{"email":"x@y.example"}}`},
		{"POST", "/v1/accounts/acme/users", "Idempotency-Key", "x", `{"data":{"type":"users","attributes":{"email":"f@example.com"}}}`}, {"POST", "/v1/accounts/acme/provider-events/x", "Content-Length", "9", "x"}, {"GET", "/docs", "If-None-Match", "*", ""}, {"GET", "/openapi.json/", "", "", ""},
		{"POST", "/acme/forgot", "Content-Type", "application/x-www-form-urlencoded", "email=x"}, {"CONNECT", "/", "X-Forwarded-For", "1", ""}, {"GET", "/dev/mailbox", "", "", ""}, {"GET", "//", "", "", ""}, {"*", "*", "", "", ""},
	} {
		f.Add(seed.method, seed.target, seed.name, seed.value, seed.body)
	}
	e := setup(f, func(c *httpapi.Config) { c.Development = true })
	admin := e.token(e.boss)
	f.Fuzz(func(t *testing.T, method, target, name, value, body string) {
		value = strings.ReplaceAll(value, "ADMIN", admin)
		parsed, err := url.ParseRequestURI(target)
		if err != nil {
			t.Skip() // net/http answers these itself
		}
		request := httptest.NewRequest("POST", "/", strings.NewReader(body))
		request.Method, request.URL, request.RequestURI, request.Host = method, parsed, target, e.host
		request.Header.Set(name, value)
		recorder := httptest.NewRecorder()
		e.handler.ServeHTTP(recorder, request)
		if recorder.Code >= 500 {
			t.Fatalf("%d %s", recorder.Code, recorder.Body)
		}
		if recorder.Code >= 400 && strings.HasPrefix(target, "/v1/") {
			reply{recorder.Code, recorder.Result().Header, recorder.Body.String()}.oneError(t)
		}
	})
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	whole := func() httpapi.Config {
		var config httpapi.Config
		setup(t, func(c *httpapi.Config) { config = *c })
		return config
	}()
	if _, err := httpapi.New(whole); err != nil {
		t.Fatalf("positive control: %v", err)
	}
	burst := parsed(t, "5/h:1")
	for want, broken := range map[string]func(*httpapi.Config){
		"Resolver": func(c *httpapi.Config) { c.Resolver = nil }, "Intake": func(c *httpapi.Config) { c.Intake = nil },
		"Support":  func(c *httpapi.Config) { c.Support = nil },
		"Redeemer": func(c *httpapi.Config) { c.Redeemer = nil }, "SignIn": func(c *httpapi.Config) { c.SignIn = nil },
		"Users": func(c *httpapi.Config) { c.Users = nil }, "Accounts": func(c *httpapi.Config) { c.Accounts = nil },
		"Cookies": func(c *httpapi.Config) { c.Cookies = nil }, "BaseURL": func(c *httpapi.Config) { c.BaseURL = &url.URL{} },
		"NewID": func(c *httpapi.Config) { c.NewID = nil }, "Rstpwd": func(c *httpapi.Config) { c.Limits.Rstpwd = burst },
		"development": func(c *httpapi.Config) { c.Mailbox = http.NotFoundHandler() },
	} {
		c := whole
		broken(&c)
		if _, err := httpapi.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// The development mailbox is there in development mode, for our own hosts.
func TestMailbox(t *testing.T) {
	t.Parallel()
	box := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("box " + r.URL.Path)) })
	e := setup(t, func(c *httpapi.Config) {
		c.Development, c.Mailbox = true, box
		c.BaseURL = got(url.Parse("http://passmend.test:8080"))(t)
	})
	for _, c := range []struct {
		host, path, want string
		status           int
	}{
		{"localhost:1", "/dev/mailbox", "box /dev/mailbox", 200}, {"127.0.0.1", "/dev/mailbox/messages", "box /dev/mailbox/messages", 200},
		{"[::1]:8080", "/dev/mailbox", "box /dev/mailbox", 200}, {"PASSMEND.test.", "/dev/mailbox", "box /dev/mailbox", 200},
		{"rebound.example", "/dev/mailbox/messages", "", 421},
	} {
		answer := e.do(ask{method: "GET", path: c.path, header: map[string]string{"Host": c.host}})
		if answer.Status != c.status || answer.Body != c.want {
			t.Errorf("%s%s: %d %q", c.host, c.path, answer.Status, answer.Body)
		}
	}
	plain := setup(t)
	if answer := plain.do(ask{method: "GET", path: "/dev/mailbox"}); answer.Status != 404 {
		t.Errorf("without development: %d", answer.Status)
	}
	if answer := plain.do(ask{method: "GET", path: "/v1/ping", header: map[string]string{"Host": "localhost"}}); answer.Status != 404 {
		t.Errorf("localhost without development: %d", answer.Status)
	}
}

// Middleware goes round every route and sees its template, never its path.
func TestMiddlewareSeesRoutes(t *testing.T) {
	t.Parallel()
	routes := make(chan string, 10)
	e := setup(t, func(c *httpapi.Config) { c.Middleware = append(c.Middleware, routeWatch(routes)) })
	for path, want := range map[string]string{
		"/v1/accounts/acme/users/ada@example.com": "/v1/accounts/:account/users/:user 401", "/nowhere": " 404", "/v1/accounts/acme/passwords.json": " 404", "/v1/me.json": "/v1/me 401",
	} {
		e.get(path, nil)
		if seen := <-routes; seen != want {
			t.Errorf("%s: %q, want %q", path, seen, want)
		}
	}
}

func routeWatch(routes chan<- string) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Next()
		routes <- fmt.Sprintf("%s %d", c.FullPath(), c.Writer.Status())
	}
}
