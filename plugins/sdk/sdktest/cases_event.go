package sdktest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

var eventCases = []Case{
	{"An event is posted once, to its URL", events, eventPosted},
	{"An event's header fields arrive as they were given", events, eventHeaders},
	{"An event's body arrives byte for byte", events, eventBody},
	{"An event of 1 MiB arrives", events, eventLarge},
	{"No credential or trace of ours is added to an event", events, eventNothingAdded},
	{"Any 2xx answer is taken as accepted", events, eventAccepted},
	{"An endpoint's refusal is a failure with its code", events, eventRefused},
	{"An endpoint that is gone (410) is told by its code", events, eventGone},
	{"An endpoint that asks to wait (429) is told as rate-limited, with the wait", events, eventRateLimited},
	{"An endpoint that is broken (503) may be tried again", events, eventTemporary},
	{"A redirect is not followed", events, eventRedirect},
	{"An endpoint that cuts the connection is not taken as accepted", events, eventCutOff},
	{"An endpoint that nobody listens on may be tried again", events, eventNobody},
	{"A long answer is cut to 256 printable characters", events, eventLongAnswer},
	{"An endless answer does not hold the call", events, eventEndlessAnswer},
	{"Control characters in an answer are not handed on", events, eventControlAnswer},
	{"A forbidden network is not connected to", events, eventForbidden},
	{"A forbidden network is not connected to by name", events, eventForbiddenName},
	{"A forbidden network is not connected to by another spelling", events, eventForbiddenSpelling},
	{"A URL that is no web address is refused", events, eventScheme},
	{"A line break in a header value of an event is refused", events, eventInjection},
}

func eventPosted(r *run) {
	request, hook := r.event(nil)
	r.checkReceipt(r.send(request))
	got := r.posted(hook)
	if got.method != http.MethodPost || got.target != hook.path+"?account=acme&x=%20y" {
		r.errorf("arrived %s %s", got.method, got.target)
	}
}

// posted gives the one call that must have arrived.
func (r *run) posted(h *hook) call {
	calls := h.calls()
	if len(calls) != 1 {
		r.fatalf("%d requests arrived, want 1", len(calls))
	}
	return calls[0]
}

func eventHeaders(r *run) {
	request, hook := r.event(nil)
	request.Event.Headers = append(request.Event.Headers,
		sdk.Header{Name: "X-Order", Value: "first"}, sdk.Header{Name: "X-Order", Value: "second"},
		sdk.Header{Name: "Digest", Value: "sha-256=MV9b23bQeMQ7isAGTkoBZGErH853yGk0W/yUx1iU7dM="})
	r.send(request)
	got := r.posted(hook).header
	want := make(http.Header)
	for _, h := range request.Event.Headers {
		want.Add(h.Name, h.Value)
	}
	for name := range want {
		if !slices.Equal(got[name], want[name]) {
			r.errorf("%s: arrived %q, want %q", name, got[name], want[name])
		}
	}
}

func eventBody(r *run) {
	request, hook := r.event(nil)
	r.send(request)
	if got := r.posted(hook).body; !bytes.Equal(got, request.Event.Body) {
		r.errorf("arrived %q, want %q", got, request.Event.Body)
	}
}

func eventLarge(r *run) {
	request, hook := r.event(nil)
	request.Event.Body = bytes.Repeat([]byte("0123456789abcde\n"), 1<<16)
	r.send(request)
	if got := r.posted(hook).body; !bytes.Equal(got, request.Event.Body) {
		r.errorf("arrived %d bytes, or others", len(got))
	}
}

// transport are the fields that HTTP itself brings along.
var transport = []string{"Content-Length", "Transfer-Encoding", "Accept-Encoding", "Accept", "Connection", "User-Agent", "Content-Type", "Date"}

func eventNothingAdded(r *run) {
	request, hook := r.event(nil)
	r.send(request)
	for name := range r.posted(hook).header {
		given := slices.ContainsFunc(request.Event.Headers, func(h sdk.Header) bool { return strings.EqualFold(h.Name, name) })
		if !given && !slices.Contains(transport, name) {
			r.errorf("the field %s was added", name)
		}
	}
}

func eventAccepted(r *run) {
	for _, code := range []int{200, 201, 202, 204} {
		request, _ := r.event(status(code))
		receipt := r.send(request)
		r.checkReceipt(receipt)
		if want := fmt.Sprint(code); receipt.Code != want {
			r.errorf("code %q, want %s", receipt.Code, want)
		}
	}
}

// answered sends an event that must fail and gives the failure.
func (r *run) answered(answer http.HandlerFunc) *sdk.Failure {
	request, hook := r.event(answer)
	failure := r.refuse(request)
	if n := len(hook.calls()); n > 1 {
		r.errorf("%d requests arrived: trying again is the host's", n)
	}
	return failure
}

func (r *run) wantCode(failure *sdk.Failure, code string) {
	if failure.Code != code {
		r.errorf("code %q, want %s", failure.Code, code)
	}
}

func eventRefused(r *run) {
	for _, code := range []int{400, 401, 404, 422} {
		r.wantCode(r.answered(status(code)), fmt.Sprint(code))
	}
}

func eventGone(r *run) { r.wantCode(r.answered(status(http.StatusGone)), "410") }

func eventRateLimited(r *run) {
	failure := r.answered(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	r.wantCode(failure, "429")
	if failure.Kind != sdk.RateLimited || failure.RetryAfter != 7*time.Second {
		r.errorf("told as %s after %s, want %s after 7s", failure.Kind, failure.RetryAfter, sdk.RateLimited)
	}
}

func (r *run) wantAgain(failure *sdk.Failure) {
	if failure.Kind != sdk.Temporary && failure.Kind != sdk.Unknown {
		r.errorf("told as %s, want %s or %s", failure.Kind, sdk.Temporary, sdk.Unknown)
	}
}

func eventTemporary(r *run) {
	failure := r.answered(status(http.StatusServiceUnavailable))
	r.wantCode(failure, "503")
	r.wantAgain(failure)
}

func eventRedirect(r *run) {
	_, elsewhere := r.event(nil)
	for _, code := range []int{301, 302, 307, 308} {
		failure := r.answered(func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, elsewhere.path, code)
		})
		r.wantCode(failure, fmt.Sprint(code))
	}
	if n := len(elsewhere.calls()); n != 0 {
		r.errorf("%d requests followed a redirect", n)
	}
}

func eventCutOff(r *run) { r.wantAgain(r.answered(cutOff)) }

func eventNobody(r *run) {
	request, _ := r.event(nil)
	gone, err := listen()
	if err != nil {
		r.fatalf("the kit's endpoint: %v", err)
	}
	gone.close()
	request.Event.URL = gone.base + "/"
	r.wantAgain(r.refuse(request))
}

func (r *run) checkAnswer(answer http.HandlerFunc) {
	request, _ := r.event(answer)
	r.checkReceipt(r.send(request))
	failure := r.answered(func(w http.ResponseWriter, q *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		answer(w, q)
	})
	r.checkCode(failure.Code, failure.Answer)
}

func eventLongAnswer(r *run) {
	r.checkAnswer(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte("long answer "), 100_000)) // whoever does not read it is right
	})
}

func eventControlAnswer(r *run) {
	r.checkAnswer(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("one\r\ntwo\x1b[31m\x00\xff\u2028end"))
	})
}

func eventEndlessAnswer(r *run) {
	request, _ := r.event(func(w http.ResponseWriter, q *http.Request) {
		for q.Context().Err() == nil {
			if _, err := w.Write([]byte("and so on ")); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(time.Millisecond)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	over, _ := ended(ctx, patience, func(ctx context.Context) error {
		_, err := r.trySend(ctx, request)
		return err
	})
	if !over {
		r.errorf("Send is still running %s after its deadline", patience-time.Second)
	}
}

// forbidden sends an event to where it must not go.
func (r *run) forbidden(host string, networks ...string) {
	request, hook := r.event(nil)
	request.Event.URL = "http://" + host + ":" + r.endpoint.port + hook.path
	request.Event.Forbidden = networks
	failure := r.refuse(request)
	if n := len(hook.calls()); n != 0 {
		r.errorf("%s: %d requests arrived", host, n)
	}
	if failure.Kind == sdk.Temporary || failure.Kind == sdk.Unknown {
		r.errorf("%s: told as %s, which is tried again", host, failure.Kind)
	}
}

func eventForbidden(r *run) { r.forbidden("127.0.0.1", "127.0.0.0/8") }

func eventForbiddenName(r *run) { r.forbidden("localhost", "127.0.0.0/8", "::1/128") }

func eventForbiddenSpelling(r *run) { r.forbidden("[::ffff:127.0.0.1]", "127.0.0.0/8") }

func eventScheme(r *run) {
	for _, url := range []string{"file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "/hooks", "http://", ""} {
		request, _ := r.event(nil)
		request.Event.URL = url
		if failure := r.refuse(request); failure.Kind == sdk.Temporary || failure.Kind == sdk.Unknown {
			r.errorf("%q: told as %s, which is tried again", url, failure.Kind)
		}
	}
}

func eventInjection(r *run) {
	request, hook := r.event(nil)
	request.Event.Headers = append(request.Event.Headers, sdk.Header{Name: "X-A", Value: "x\r\nX-Injected: 1"})
	_ = r.refuse(request)
	if n := len(hook.calls()); n != 0 {
		r.errorf("%d requests arrived", n)
	}
}
