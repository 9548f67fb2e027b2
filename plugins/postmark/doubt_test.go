package postmark

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/plugins/postmark/postmarktest"
	"github.com/passmend/passmend/plugins/sdk"
)

// first has a script for the first message and for every look-up; all else is the
// server's own.
func first(t *testing.T, message, lookUp *postmarktest.Answer) *postmarktest.Server {
	t.Helper()
	var sent atomic.Bool
	return postmarktest.Start(t, postmarktest.Options{Script: func(r postmarktest.Request) *postmarktest.Answer {
		if r.Path == "/messages/outbound" {
			return lookUp
		}
		if sent.Swap(true) {
			return nil
		}
		return message
	}})
}

func paths(server *postmarktest.Server) []string {
	var all []string
	for _, r := range server.Requests() {
		all = append(all, strings.TrimPrefix(r.Method+" "+r.Path, "POST "))
	}
	return all
}

func TestADeliveryInDoubtIsLookedUpBeforeARepeat(t *testing.T) {
	t.Parallel()
	lost := &postmarktest.Answer{Close: true}
	taken := &postmarktest.Answer{Take: true, Close: true}
	broken := &postmarktest.Answer{Take: true, Status: 500}
	const lookUp = "GET /messages/outbound"
	for _, c := range []struct {
		name            string
		message, lookUp *postmarktest.Answer
		first, repeat   sdk.Outcome
		messages        int
		paths           []string
	}{
		{"taken, answer lost", taken, nil, sdk.Unknown, sdk.Accepted, 1, []string{"/email", lookUp}},
		{"taken in spite of status 500", broken, nil, sdk.Temporary, sdk.Accepted, 1, []string{"/email", lookUp}},
		{"never taken", lost, nil, sdk.Unknown, sdk.Accepted, 1, []string{"/email", lookUp, "/email"}},
		{"surely refused", &postmarktest.Answer{Status: 503}, nil, sdk.Temporary, sdk.Accepted, 1, []string{"/email", "/email"}},
		{"look-up lost", taken, lost, sdk.Unknown, sdk.Unknown, 1, []string{"/email", lookUp}},
		{"look-up broken", taken, &postmarktest.Answer{Status: 500}, sdk.Unknown, sdk.Unknown, 1, []string{"/email", lookUp}},
		{"look-up unreadable", taken, &postmarktest.Answer{Status: 200, Body: "{}"}, sdk.Unknown, sdk.Unknown, 1, []string{"/email", lookUp}},
		{"look-up limited", taken, &postmarktest.Answer{Status: 429}, sdk.Unknown, sdk.RateLimited, 1, []string{"/email", lookUp}},
		{
			"look-up that ignores the filter", lost,
			&postmarktest.Answer{Status: 200, Body: `{"TotalCount":1,"Messages":[{"MessageID":"another","Metadata":{"delivery":"another"}}]}`},
			sdk.Unknown, sdk.Unknown, 0, []string{"/email", lookUp},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := first(t, c.message, c.lookUp)
			p := newProvider(t)
			if _, err := p.Send(t.Context(), requestTo(server, testMail())); kindOf(err) != c.first {
				t.Fatalf("first = %v, want %s", err, c.first)
			}
			receipt, err := p.Send(t.Context(), requestTo(server, testMail()))
			if kindOf(err) != c.repeat {
				t.Fatalf("repeat = %v, want %s", err, c.repeat)
			}
			got := server.Messages()
			if diff := cmp.Diff(c.paths, paths(server)); diff != "" || len(got) != c.messages {
				t.Errorf("%d messages, want %d; requests (-want +got):\n%s", len(got), c.messages, diff)
			}
			if err == nil && receipt.MessageID != got[0].ID {
				t.Errorf("message id %q, want %q", receipt.MessageID, got[0].ID)
			}
		})
	}
}

func TestADoubtLastsUntilAMessageIsTakenBeforeOurEyes(t *testing.T) {
	t.Parallel()
	server := first(t, &postmarktest.Answer{Take: true, Close: true}, nil)
	p := newProvider(t)
	_, _ = p.Send(t.Context(), requestTo(server, testMail()))
	for range 3 {
		receipt, err := p.Send(t.Context(), requestTo(server, testMail()))
		if got := server.Messages(); err != nil || len(got) != 1 || receipt.MessageID != got[0].ID {
			t.Errorf("%v, %d messages", err, len(got))
		}
	}
}

// The control of the test above: without a memory the same repeat is sent blindly.
func TestWithoutADeliverysNameARepeatIsBlind(t *testing.T) {
	t.Parallel()
	server := first(t, &postmarktest.Answer{Take: true, Close: true}, nil)
	p := newProvider(t)
	request := requestTo(server, testMail())
	request.IdempotencyKey = ""
	_, _ = p.Send(t.Context(), request)
	if _, err := p.Send(t.Context(), request); err != nil {
		t.Fatal(tell(err))
	}
	if n := len(server.Messages()); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
}

func TestAnotherDeliveryIsNotInDoubt(t *testing.T) {
	t.Parallel()
	server := first(t, &postmarktest.Answer{Close: true}, nil)
	p := newProvider(t)
	request := requestTo(server, testMail())
	_, _ = p.Send(t.Context(), request)
	request.IdempotencyKey = "key-2"
	if _, err := p.Send(t.Context(), request); err != nil {
		t.Fatal(tell(err))
	}
	if diff := cmp.Diff([]string{"/email", "/email"}, paths(server)); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestTheMemoryIsBounded(t *testing.T) {
	t.Parallel()
	d := newDoubts()
	for i := range maxDoubts + 10 {
		d.add(fmt.Sprint(i))
	}
	d.add("")
	if n := len(d.since); n != maxDoubts {
		t.Errorf("%d are remembered, want %d", n, maxDoubts)
	}
	if d.has("0") || d.has("") || !d.has(fmt.Sprint(maxDoubts+9)) {
		t.Error("the oldest is remembered, or the newest forgotten")
	}
}
