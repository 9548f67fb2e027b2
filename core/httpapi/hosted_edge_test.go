package httpapi_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core/httpapi"
	"github.com/passmend/passmend/tenants"
)

// person opens the edge's pages with a browser's cookies.
type person struct {
	e      *edge
	client *http.Client
}

func (e *edge) person() person {
	e.t.Helper()
	return person{e, &http.Client{
		Jar: got(cookiejar.New(nil))(e.t), Transport: e.client.Transport, CheckRedirect: e.client.CheckRedirect,
	}}
}

func (p person) get(path string) reply {
	p.e.t.Helper()
	return p.send(got(http.NewRequest(http.MethodGet, p.e.url+path, nil))(p.e.t))
}

func (p person) post(path string, form url.Values) reply {
	p.e.t.Helper()
	request := got(http.NewRequest(http.MethodPost, p.e.url+path, strings.NewReader(form.Encode())))(p.e.t)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Origin", p.e.url)
	return p.send(request)
}

func (p person) send(request *http.Request) reply {
	p.e.t.Helper()
	response, err := p.client.Do(request)
	if err != nil { // Errorf: this may be another goroutine than the test's
		p.e.t.Errorf("%s %s: %v", request.Method, request.URL.Path, err)
		return reply{}
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		p.e.t.Errorf("%s %s: %v", request.Method, request.URL.Path, err)
	}
	return reply{response.StatusCode, response.Header, string(body)}
}

// open follows a link to its form and gives what the form would send.
func (p person) open(token, password string) url.Values {
	p.e.t.Helper()
	if opened := p.get("/acme/r/" + token); opened.Status != http.StatusSeeOther {
		p.e.t.Fatalf("link answered %d, want 303", opened.Status)
	}
	view := regexp.MustCompile(`name="view" value="([^"]+)"`).FindStringSubmatch(p.get("/acme/r").Body)
	if view == nil {
		p.e.t.Fatal("no form")
	}
	return url.Values{"view": {view[1]}, "password": {password}, "repeat": {password}}
}

func TestAHostedFormChangesThePasswordForReal(t *testing.T) {
	t.Parallel()
	e := setup(t)
	user := e.userWithPassword(e.acme, "grace@example.com", nil)
	p := e.person()
	asked := p.post("/acme/forgot", url.Values{"email": {" Grace@EXAMPLE.com "}})
	if asked.Status != http.StatusOK || !slices.Equal(e.asked.take(), []string{"acme grace@example.com unsaid"}) {
		t.Fatalf("asking answered %d", asked.Status)
	}

	done := p.post("/acme/r", p.open(e.link(e.acme, "grace@example.com"), "several words in a row"))
	if done.Status != http.StatusSeeOther || done.Header.Get("Location") != "/acme/r/done" {
		t.Fatalf("the form answered %d %s", done.Status, done.Body)
	}
	signIn := func(password string) error {
		_, err := e.signIn.Password(t.Context(), e.acme, user.Address, tenants.NewSecret(password))
		return err
	}
	if err := signIn("several words in a row"); err != nil {
		t.Errorf("the new password: %v", err)
	}
	if err := signIn(adaPassword); err == nil {
		t.Error("the old password still works")
	}
	if answer := p.get("/acme/r"); answer.Status != http.StatusForbidden {
		t.Errorf("the form opens again: %d", answer.Status)
	}
}

func TestOfManyPostsOfOneLinkOneWins(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.userWithPassword(e.acme, "grace@example.com", nil)
	token := e.link(e.acme, "grace@example.com")
	const posts = 12
	var people [posts]person
	var forms [posts]url.Values
	for i := range posts {
		people[i] = e.person()
		forms[i] = people[i].open(token, "several words in a row")
	}
	statuses := make([]int, posts)
	var wait sync.WaitGroup
	for i := range posts {
		wait.Go(func() { statuses[i] = people[i].post("/acme/r", forms[i]).Status })
	}
	wait.Wait()
	slices.Sort(statuses)
	want := append([]int{http.StatusSeeOther}, slices.Repeat([]int{http.StatusNotFound}, posts-1)...)
	if diff := cmp.Diff(want, statuses); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}

func TestPagesAndAPIShareTheLimitPerClient(t *testing.T) {
	t.Parallel()
	e := setup(t, func(c *httpapi.Config) {
		c.Limits.IP = parsed(t, "2/h")
	})
	p := e.person()
	if first := p.post("/acme/forgot", url.Values{"email": {"ada@example.com"}}); first.Status != http.StatusOK {
		t.Fatalf("first: %d", first.Status)
	}
	if second := e.passwords(`{"meta":{"email":"ada@example.com"}}`); second.Status != http.StatusAccepted {
		t.Fatalf("second: %d", second.Status)
	}
	third := p.post("/acme/forgot", url.Values{"email": {"ada@example.com"}})
	wait, err := time.ParseDuration(third.Header.Get("Retry-After") + "s")
	if third.Status != http.StatusTooManyRequests || err != nil || wait <= 0 || wait > time.Hour {
		t.Errorf("third: %d, Retry-After %q", third.Status, third.Header.Get("Retry-After"))
	}
	if !strings.Contains(third.Body, "One moment, please") {
		t.Error("the refusal is no page")
	}
}

func TestPagesOfTheWholeEdgeNameNoServer(t *testing.T) {
	t.Parallel()
	e := setup(t)
	page := e.person().get("/acme/forgot")
	if len(page.Header.Get("X-Request-Id")) != 36 {
		t.Error("no request id")
	}
	for _, name := range []string{"Server", "X-Powered-By", "Keygen-Account", "Access-Control-Allow-Origin"} {
		if value := page.Header.Get(name); value != "" {
			t.Errorf("%s: %s", name, value)
		}
	}
	e.person().get("/acme/r/" + e.link(e.acme, "ada@example.com"))
	if logs := e.logs.String(); strings.Contains(logs, "ada@example.com") {
		t.Error("the log holds an address")
	}
	if made := e.person().get("/acme/r/" + strings.Repeat("A", 43)); made.Status != http.StatusNotFound {
		t.Errorf("a link that was never issued: %d", made.Status)
	}
}
