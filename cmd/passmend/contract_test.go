package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/passmend/passmend/cmd/passmend/mailbox"
	"github.com/passmend/passmend/core/httpapi/contract"
	"github.com/passmend/passmend/core/sqlstore/pgtest"
)

// The whole contract holds on both engines, against the real service, and what it
// answers is what the description of the API says, both ways.
func TestContract(t *testing.T) {
	t.Parallel()
	for engine, database := range map[string]func(*testing.T) []string{
		"sqlite":   func(*testing.T) []string { return nil },
		"postgres": migrated,
	} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			described := newWitness(t)
			t.Run("cases", func(t *testing.T) {
				t.Run("serve", func(t *testing.T) {
					t.Parallel()
					target, s := contractSite(t, append(limitsOff, database(t)...)...)
					bySection(t, target, described, func(c contract.Case) bool { return !c.ReadsWebhooks() })
					described.beside(t, s, target)
				})
				// Webhooks to this machine are for development alone.
				t.Run("dev", func(t *testing.T) {
					t.Parallel()
					bySection(t, devSite(t, database(t)...), described, contract.Case.ReadsWebhooks)
				})
			})
			described.verdict(t)
		})
	}
}

// migrated makes a database with the tables in it.
func migrated(t *testing.T) []string {
	t.Helper()
	env := []string{"PASSMEND_DATABASE_URL=" + pgtest.URL(t)}
	s := &site{t: t, dir: t.TempDir(), env: append([]string{"PATH=" + os.Getenv("PATH"), "PASSMEND_BASE_URL=http://127.0.0.1"}, env...)}
	s.must("migrate", "up")
	return env
}

// bySection runs the chosen cases, each section as a suite of its own: side by side
// they take a third of the time. None may be skipped but for what the site is not.
func bySection(t *testing.T, target contract.Target, described *witness, choose func(contract.Case) bool) {
	t.Run("sections", func(t *testing.T) {
		for _, section := range sections() {
			t.Run(section, func(t *testing.T) {
				t.Parallel()
				target := target // each section has a client of its own
				target.Client = described.client(section, target.Receiver != nil)
				cases := slices.DeleteFunc(contract.Only(contract.Cases(), section+"/"), func(c contract.Case) bool { return !choose(c) })
				report := contract.Exercise(t.Context(), t, target, cases)
				for _, result := range report.Cases {
					if reason := strings.Join(result.Reasons, ""); result.Verdict == contract.Skipped && section != "G" && reason != "the server has many accounts" {
						t.Errorf("%s is skipped: %s", result.Case, reason)
					}
				}
			})
		}
	})
}

// Section G, with the limits as they are by default; that on clients would only make
// the suite wait.
func TestContractWithLimits(t *testing.T) {
	t.Parallel()
	target, _ := contractSite(t, "PASSMEND_LIMIT_IP=off", "PASSMEND_LIMIT_BAD_TOKEN=off", "PASSMEND_LIMIT_IP_DAY=off")
	target.LimitsOff = false
	contract.Exercise(t.Context(), t, target, contract.Only(contract.Cases(), "G/"))
}

// sections gives A1 to G, in order.
func sections() (names []string) {
	for _, c := range contract.Cases() {
		if section, _, _ := strings.Cut(c.Name, "/"); !slices.Contains(names, section) {
			names = append(names, section)
		}
	}
	return names
}

// contractSite serves, and gives what the suite needs of the service.
func contractSite(t *testing.T, env ...string) (contract.Target, *site) {
	t.Helper()
	s := newSite(t, env...)
	s.must("user", "create", "boss@example.com", "--account", "acme", "--role", "admin")
	target := contract.Target{
		URL: s.base, Account: "acme", LimitsOff: true,
		AdminToken:    s.must("token", "create", "--account", "acme", "--user", "boss@example.com"),
		OperatorToken: s.must("token", "create", "--operator"),
		Host:          "login.acme.example", Expire: s.expire,
		Mail: func(ctx context.Context, address string) (contract.Mail, error) {
			return mailIn(ctx, s.mailbox.Messages, address)
		},
	}
	s.must("account", "host", "add", "acme", target.Host)
	s.serve()
	return target, s
}

// expire makes the links that went to an address as old as time would.
func (s *site) expire(ctx context.Context, address string) error {
	driver, source := "sqlite", filepath.Join(s.dir, "data", "passmend.db")+"?_pragma=busy_timeout(10000)"
	for _, setting := range s.env {
		if database, ok := strings.CutPrefix(setting, "PASSMEND_DATABASE_URL="); ok {
			driver, source = "pgx", database
		}
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	const statement = `UPDATE requests SET expires_at = expires_at - 3660000000 WHERE user_id = (SELECT id FROM users WHERE address = '%s')`
	result, err := db.ExecContext(ctx, fmt.Sprintf(statement, strings.ReplaceAll(address, "'", "''")))
	if err != nil {
		return err
	}
	if moved, err := result.RowsAffected(); err != nil || moved == 0 {
		return fmt.Errorf("%d links were moved: %w", moved, err)
	}
	return nil
}

// Section B where there is one account only, and what names none there.
func TestContractOfTheOnlyAccount(t *testing.T) {
	t.Parallel()
	target, _ := contractSite(t, append(limitsOff, "PASSMEND_ACCOUNT=acme")...)
	cases := slices.DeleteFunc(contract.Only(contract.Cases(), "B/"), func(c contract.Case) bool {
		return !strings.HasPrefix(c.Name, "B/one-account-") && c.Name != "B/un-prefixed-route" && c.Name != "B/another-account-than-the-only-one"
	})
	report := contract.Exercise(t.Context(), t, target, cases)
	if report.Held != len(cases) || len(cases) < 8 {
		t.Errorf("%d of %d cases held", report.Held, len(cases))
	}
}

// devSite is contractSite in development mode, with a receiver of webhooks.
func devSite(t *testing.T, env ...string) contract.Target {
	t.Helper()
	h := newHooks(t, env...)
	return contract.Target{
		URL: h.base, Account: "demo", LimitsOff: true, AdminToken: hooksAdmin, OperatorToken: h.must("token", "create", "--operator"),
		Receiver: &webhooks{receiver: h.receiver},
		Mail: func(ctx context.Context, address string) (contract.Mail, error) {
			return mailIn(ctx, func() (messages []mailbox.Message) {
				if err := json.Unmarshal([]byte(h.send("GET", "/dev/mailbox/messages", "").body), &messages); err != nil {
					t.Error(err)
				}
				return messages
			}, address)
		},
	}
}

// mailIn waits for a mail with a link to an address.
func mailIn(ctx context.Context, messages func() []mailbox.Message, address string) (contract.Mail, error) {
	for {
		for _, m := range slices.Backward(messages()) {
			if found := linkForm.FindStringSubmatch(m.Text); found != nil && slices.Contains(m.To, address) {
				return contract.Mail{To: m.To, From: m.From, Subject: m.Subject, Text: m.Text, HTML: m.HTML, Token: found[1]}, nil
			}
		}
		if err := briefly(ctx); err != nil {
			return contract.Mail{}, errors.Join(errors.New("no mail with a link"), err)
		}
	}
}

func briefly(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(20 * time.Millisecond):
		return nil
	}
}

// webhooks is a receiver as the suite reads it.
type webhooks struct {
	*receiver
	mu    sync.Mutex
	given map[int]bool // of the receiver's calls
}

func (w *webhooks) URL() string { return w.receiver.URL + "/contract?a=1&b=%2F" }

func (w *webhooks) Next(ctx context.Context, choose func(contract.Delivery) bool) (contract.Delivery, error) {
	for {
		for i, call := range w.of("/contract") {
			delivery := contract.Delivery{Path: call.target, Host: call.host, Header: call.header, Body: []byte(call.body)}
			if choose(delivery) && w.take(i) {
				return delivery, nil
			}
		}
		if err := briefly(ctx); err != nil {
			return contract.Delivery{}, err
		}
	}
}

func (w *webhooks) take(i int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.given == nil {
		w.given = make(map[int]bool)
	}
	taken := w.given[i]
	w.given[i] = true
	return !taken
}

// The command says by its exit status what it found, and keeps tokens out of its output.
func TestContractCommand(t *testing.T) {
	t.Parallel()
	s := newSite(t, limitsOff...)
	s.must("user", "create", "boss@example.com", "--account", "acme", "--role", "admin")
	token := s.must("token", "create", "--account", "acme", "--user", "boss@example.com")
	if err := os.WriteFile(filepath.Join(s.dir, "token"), []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.serve()
	report := filepath.Join(s.dir, "report.json")
	for _, c := range []struct {
		name string
		args []string
		exit int
		want string // a pattern of the output
	}{
		{"it holds", []string{"--only", "A8/", "--admin-token", "@token", "--json", report}, 0, `(?s)ok    A8/me\n.*0 did not, 0 are ruled otherwise`},
		{"without a token", []string{"--only", "A8/me"}, 0, `(?s)skip  A8/me\n.*not tried, 1: it needs an admin's token`},
		{"another server", []string{"--only", "C9/edition", "--account", "none"}, 0, `ok    C9/edition \(R19\)`},
		{"limits that are off", []string{"--only", "G/auth"}, 1, `FAIL  G/auth\n      6 requests are let through, want 5`},
		{"limits left out", []string{"--only", "G/auth", "--limits-off"}, 0, `not tried, 1: it needs a server whose limits are on`},
		{"no such case", []string{"--only", "Z9"}, 2, ""},
		{"no account", []string{"--account", ""}, 2, ""},
		{"no URL", []string{"--url", "nowhere"}, 2, ""},
		{"a token in the open", []string{"--admin-token", token}, 2, ""},
		{"the list", []string{"--list", "--only", "C11/"}, 0, `(?s)C11/preflight-passwords.*cases\n$`},
	} {
		code, stdout, stderr := s.try(nil, append([]string{"contract", "--url", s.base, "--account", "acme"}, c.args...)...)
		if code != c.exit || !regexp.MustCompile(c.want).MatchString(stdout) {
			t.Errorf("%s: exit %d, want %d and %q: %s%s", c.name, code, c.exit, c.want, stdout, stderr)
		}
		if strings.Contains(stdout+stderr, token) {
			t.Errorf("%s: the output holds the token", c.name)
		}
	}
	if content, err := os.ReadFile(report); err != nil || !strings.Contains(string(content), `"case": "A8/me"`) || strings.Contains(string(content), token) {
		t.Errorf("report: %v %s", err, content)
	}
}

var uuidIn = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// Positive control: a proxy that changes one answer, or one header, makes the case fail
// that is about it.
func TestContractFailsOnABrokenServer(t *testing.T) {
	t.Parallel()
	target, s := contractSite(t, limitsOff...)
	for _, c := range []struct {
		name    string
		change  func(*http.Response)
		failing string // the case that has to see it
	}{
		{"nothing is changed", func(*http.Response) {}, ""},
		{"204 for 202", func(r *http.Response) {
			if r.StatusCode == http.StatusAccepted {
				r.StatusCode = http.StatusNoContent
			}
		}, "A1/unknown-address"},
		{"a Content-Type on the 202", func(r *http.Response) {
			if r.StatusCode == http.StatusAccepted {
				r.Header.Set("Content-Type", "text/plain")
			}
		}, "A1/known-user"},
		{"405 for 404", func(r *http.Response) {
			if r.StatusCode == http.StatusNotFound {
				r.StatusCode = http.StatusMethodNotAllowed
			}
		}, "C7/verb-wrong-get"},
		{"another text", func(r *http.Response) { replaceBody(r, "is missing", "is absent") }, "C6/empty-object"},
		{"another pointer", func(r *http.Response) { replaceBody(r, "/meta/email", "/meta/mail") }, "C6/email-null"},
		{"another request id in meta", func(r *http.Response) { replaceBody(r, `"meta":{"id":"0`, `"meta":{"id":"1`) }, "C8/meta-holds-the-request-id"},
		{"another body than is digested", func(r *http.Response) { replaceBody(r, `"title"`, ` "title"`) }, "C9/digest"},
		{"no CORS", func(r *http.Response) { r.Header.Del("Access-Control-Allow-Origin") }, "C11/any-origin"},
		{"another signature", func(r *http.Response) {
			r.Header.Set("Keygen-Signature", strings.Replace(r.Header.Get("Keygen-Signature"), `signature="`, `signature="AAAA`, 1))
		}, "C9/signature-ed25519-on-a-document"},
		{"another status of a user", func(r *http.Response) { replaceBody(r, `"status":"BANNED"`, `"status":"ACTIVE"`) }, "A4/ban"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			base, err := url.Parse(s.base)
			if err != nil {
				t.Fatal(err)
			}
			proxy := httputil.NewSingleHostReverseProxy(base)
			proxy.ModifyResponse = func(r *http.Response) error { c.change(r); return nil }
			server := httptest.NewServer(proxy)
			t.Cleanup(server.Close)
			broken := target
			// The service knows its own name only; what is signed names it too.
			broken.Client = server.Client()
			broken.Client.Transport = through{server.Listener.Addr().String(), http.DefaultTransport}
			var prefix string
			if c.failing == "" {
				prefix = "C6/"
			} else {
				prefix = c.failing
			}
			report := contract.Run(t.Context(), broken, contract.Only(contract.Cases(), prefix), func(contract.Result) {})
			if (report.Failed > 0) != (c.failing != "") || report.Held+report.Failed == 0 {
				t.Errorf("%d cases held, %d did not, %d skipped", report.Held, report.Failed, report.Skipped)
			}
		})
	}
}

// through sends requests to an address, whatever they name.
type through struct {
	address string
	next    http.RoundTripper
}

func (t through) RoundTrip(request *http.Request) (*http.Response, error) {
	sent := request.Clone(request.Context())
	sent.Host = request.URL.Host
	sent.URL.Host = t.address
	return t.next.RoundTrip(sent)
}

func replaceBody(r *http.Response, from, to string) {
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil {
		body = nil
	}
	body = []byte(strings.ReplaceAll(string(body), from, to))
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
}
