package sdktest

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// What must not be told: the kit's link and the token in it.
const (
	token = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA"
	link  = "https://reset.example.com/r/" + token
)

// request makes a mail that no other request of this or an earlier run has the
// Message-ID of.
func (r *run) request(name string) sdk.SendRequest {
	id := name + "." + rand.Text()
	return sdk.SendRequest{
		IdempotencyKey: id,
		Settings:       r.Settings,
		TraceParent:    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		Mail: &sdk.Mail{
			From:      sdk.Mailbox{Name: "Acme", Address: r.From},
			To:        sdk.Mailbox{Address: r.To},
			Subject:   "Choose a new password",
			Text:      "Hello,\n\n" + link + "\n\nThe link works for an hour.\n",
			HTML:      `<p>Hello,</p><p><a href="` + link + `">Choose a new password</a></p>`,
			MessageID: id + "@acme.example",
			Headers:   []sdk.Header{{Name: "Auto-Submitted", Value: "auto-generated"}},
			Facts: sdk.Facts{
				Template: "reset", Locale: "en", Link: sdk.NewSecret(link), ExpiresAt: time.Now().Add(time.Hour),
			},
		},
	}
}

func (*kit) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), callLimit)
}

// trySend and tryCheck make a call and keep what it says.
func (r *run) trySend(ctx context.Context, request sdk.SendRequest) (sdk.Receipt, error) {
	receipt, err := r.Provider.Send(ctx, request)
	r.note(err)
	return receipt, err
}

func (r *run) tryCheck(settings sdk.Settings) error {
	ctx, cancel := r.context()
	defer cancel()
	err := r.Provider.Check(ctx, settings)
	r.note(err)
	return err
}

// send sends what must be accepted.
func (r *run) send(request sdk.SendRequest) sdk.Receipt {
	ctx, cancel := r.context()
	defer cancel()
	receipt, err := r.trySend(ctx, request)
	if err != nil {
		r.fatalf("Send: %s", tell(err))
	}
	return receipt
}

// refuse sends what must not be accepted and gives the failure.
func (r *run) refuse(request sdk.SendRequest) *sdk.Failure {
	ctx, cancel := r.context()
	defer cancel()
	_, err := r.trySend(ctx, request)
	if err == nil {
		r.fatalf("Send took it")
	}
	var failure *sdk.Failure
	if !errors.As(err, &failure) {
		r.fatalf("the error is not a *sdk.Failure: %v", err)
	}
	return failure
}

// deliver sends a mail and gives what arrived.
func (r *run) deliver(request sdk.SendRequest) Sent {
	r.send(request)
	return r.arrived(request, 1)[0]
}

// arrived gives what the far side took of a request: n mails, which are waited
// for.
func (r *run) arrived(request sdk.SendRequest, n int) []Sent {
	got := eventually(n, func() int { return len(r.inboxOf(request)) })
	if got != n {
		r.fatalf("%d mails arrived with the Message-ID, want %d", got, n)
	}
	return r.inboxOf(request)
}

func (r *run) inboxOf(request sdk.SendRequest) []Sent {
	var got []Sent
	for _, sent := range r.Inbox() {
		if sent.MessageID == request.Mail.MessageID {
			got = append(got, sent)
		}
	}
	return got
}

// eventually counts until there are n, for two seconds.
func eventually(n int, count func() int) int {
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if got := count(); got >= n || time.Now().After(end) {
			return got
		}
	}
}

// deliverable is a request that must be accepted, of a kind that the provider
// takes, and a way to count what arrived of it.
func (r *run) deliverable(name string) (request sdk.SendRequest, count func() int) {
	switch {
	case r.takes(sdk.ContentMail) && r.Inbox != nil:
		request = r.request(name)
		return request, func() int { return len(r.inboxOf(request)) }
	case r.takes(sdk.ContentEvent):
		request, hook := r.event(nil)
		return request, func() int { return len(hook.calls()) }
	}
	r.skipf("the target has no inbox")
	panic("unreachable")
}

// stalledRequest is a request to a server that takes the connection and never
// answers.
func (r *run) stalledRequest() sdk.SendRequest {
	if r.takes(sdk.ContentMail) && r.Stalled.Values != nil {
		request := r.request("stalled")
		request.Settings = r.Stalled
		return request
	}
	if r.takes(sdk.ContentEvent) {
		request, _ := r.event(hang)
		return request
	}
	r.skipf("the target has no server that never answers")
	panic("unreachable")
}

// tell is all that an error says, to its reader and to the operator.
func tell(err error) string {
	failure := sdk.FailureOf(err)
	return err.Error() + " " + failure.Public + " " + failure.Private
}
