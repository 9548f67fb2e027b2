package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// told is one call of a webhook as its receiver got it.
type told struct {
	path   string // of the endpoint, to tell receivers apart
	host   string // as in Host
	target string // path and query, as sent
	header http.Header
	body   string
}

// event is what is in the body.
type toldEvent struct {
	Data struct {
		ID         string
		Type       string
		Attributes struct {
			Endpoint, Event, Payload, Status, APIVersion string
			LastResponseCode                             *int
			LastResponseBody                             *string
			Created, Updated                             string
		}
		Relationships map[string]any
		Links         map[string]string
		Meta          struct{ IdempotencyToken string }
	}
}

type toldPayload struct {
	Data struct {
		ID, Type   string
		Attributes map[string]any
	}
	Meta map[string]any
}

func (w told) event(t *testing.T) (event toldEvent, payload toldPayload) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(w.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&event); err != nil {
		t.Fatalf("%v in %s", err, w.body)
	}
	if err := json.Unmarshal([]byte(event.Data.Attributes.Payload), &payload); err != nil {
		t.Fatalf("%v in %s", err, event.Data.Attributes.Payload)
	}
	return event, payload
}

// receiver is a tenant's server: it keeps what it is told, and answers 200 unless
// answer says otherwise.
type receiver struct {
	*httptest.Server
	t      *testing.T
	mu     sync.Mutex
	all    []told
	answer func(path string, n int) int // n from 1, for each path
	counts map[string]int
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{t: t, counts: make(map[string]int)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.all = append(r.all, told{request.URL.Path, request.Host, request.RequestURI, request.Header.Clone(), string(body)})
		r.counts[request.URL.Path]++
		status := http.StatusOK
		if r.answer != nil {
			status = r.answer(request.URL.Path, r.counts[request.URL.Path])
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, "as you like, %d", status)
	}))
	t.Cleanup(r.Close)
	return r
}

// of gives what a path was told so far.
func (r *receiver) of(path string) (list []told) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.all {
		if one.path == path {
			list = append(list, one)
		}
	}
	return list
}

// named gives what a path was told of events of that name.
func (r *receiver) named(path, event string) (list []told) {
	for _, one := range r.of(path) {
		if strings.Contains(one.body, `"event":"`+event+`"`) {
			list = append(list, one)
		}
	}
	return list
}

// hooks is a site in development mode, whose account is demo, with a receiver.
type hooks struct {
	*site
	receiver *receiver
	server   *server
}

// hooksAdmin is the token of the account's admin.
const hooksAdmin = "admin-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefv3"

func newHooks(t *testing.T, env ...string) *hooks {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	http := freePort(t)
	s.base = "http://" + http
	s.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "TMPDIR=" + os.TempDir(),
		"PASSMEND_DATA_DIR=" + filepath.Join(s.dir, "data"), "PASSMEND_DEV_ADMIN_TOKEN=" + hooksAdmin,
		"PASSMEND_HTTP_ADDR=" + http, "PASSMEND_ADMIN_ADDR=" + freePort(t), "PASSMEND_MAILBOX_ADDR=127.0.0.1:0",
		"PASSMEND_BASE_URL=" + s.base, "PASSMEND_DRAIN_DELAY=0s",
	}, env...)
	h := &hooks{site: s, receiver: newReceiver(t)}
	h.server = s.serve("dev")
	return h
}

// api calls below the account as its admin.
func (h *hooks) api(method, path, body string) answer {
	h.t.Helper()
	return h.send(method, "/v1/accounts/demo"+path, body, "Authorization", "Bearer "+hooksAdmin, "Content-Type", "application/vnd.api+json")
}

// endpoint is a webhook endpoint of the test.
type endpoint struct{ id, secret string }

// endpoint makes one; attributes are JSON members beside the URL.
func (h *hooks) endpoint(path, attributes string) endpoint {
	h.t.Helper()
	if attributes != "" {
		attributes = "," + attributes
	}
	got := h.api("POST", "/webhook-endpoints", fmt.Sprintf(`{"data":{"type":"webhook-endpoints","attributes":{"url":%q%s}}}`, h.receiver.URL+path, attributes))
	var document struct {
		Data struct{ ID string }
		Meta struct{ Secret string }
	}
	if err := json.Unmarshal([]byte(got.body), &document); err != nil || got.status != http.StatusCreated || !strings.HasPrefix(document.Meta.Secret, "whsec_") {
		h.t.Fatalf("%d %s", got.status, got.body)
	}
	return endpoint{document.Data.ID, document.Meta.Secret}
}

// forgetQuietly asks for a link that no mail brings.
func (h *hooks) forgetQuietly(address string) {
	h.t.Helper()
	got := h.api("POST", "/passwords", fmt.Sprintf(`{"meta":{"email":%q,"deliver":false}}`, address))
	if got.status != http.StatusAccepted {
		h.t.Fatalf("%d %s", got.status, got.body)
	}
}

// create makes a user.
func (h *hooks) create(address string) {
	h.t.Helper()
	if got := h.api("POST", "/users", fmt.Sprintf(`{"data":{"type":"users","attributes":{"email":%q}}}`, address)); got.status != http.StatusCreated {
		h.t.Fatalf("%d %s", got.status, got.body)
	}
}

// redeems holds a token to what it is for.
func (h *hooks) redeems(token string) {
	h.t.Helper()
	got := h.api("POST", "/users/ada@example.com/actions/reset-password", fmt.Sprintf(`{"meta":{"passwordResetToken":%q,"newPassword":"a new one, remembered"}}`, token))
	if got.status != http.StatusOK {
		h.t.Errorf("%d %s", got.status, got.body)
	}
}

// await waits until a path was told n times of an event, and gives the calls.
func (h *hooks) await(path, event string, n int) (list []told) {
	h.t.Helper()
	h.eventually(fmt.Sprintf("%s is told of %s, %d times", path, event, n), func() bool {
		list = h.receiver.named(path, event)
		return len(list) >= n
	})
	return list
}

// attributes gives those of what a path of the API shows.
func (h *hooks) attributes(path string) (attributes map[string]any) {
	h.t.Helper()
	got := h.api("GET", path, "")
	var document struct {
		Data struct{ Attributes map[string]any }
	}
	if err := json.Unmarshal([]byte(got.body), &document); err != nil || got.status != http.StatusOK {
		h.t.Fatalf("%s: %d %s", path, got.status, got.body)
	}
	return document.Data.Attributes
}

var (
	uuidForm  = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	tokenForm = regexp.MustCompile(`^A[A-Za-z0-9_-]{42}$`)
	retryForm = regexp.MustCompile(`^[0-9a-f]{62}v3$`)
)

// resetToken is the token of a user.password-reset.
func (w told) resetToken(t *testing.T) string {
	t.Helper()
	_, payload := w.event(t)
	token, _ := payload.Meta["passwordResetToken"].(string)
	if !tokenForm.MatchString(token) {
		t.Fatalf("no token in %v", payload.Meta)
	}
	return token
}

// tlsReceiver counts who connects; nobody trusts its certificate.
type tlsReceiver struct {
	*httptest.Server
	connections atomic.Int32
}

func newTLSReceiver(t *testing.T) *tlsReceiver {
	t.Helper()
	r := &tlsReceiver{}
	r.Server = httptest.NewUnstartedServer(http.NotFoundHandler())
	r.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			r.connections.Add(1)
		}
	}
	r.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	r.StartTLS()
	t.Cleanup(r.Close)
	return r
}
