package serve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/serve/internal/providerv1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stub answers with what its functions say.
type stub struct {
	description sdk.Description
	check       func(sdk.Settings) error
	send        func(context.Context, sdk.SendRequest) (sdk.Receipt, error)
	health      error
}

func (s *stub) Describe(context.Context) (sdk.Description, error) { return s.description, nil }
func (s *stub) Check(_ context.Context, settings sdk.Settings) error {
	return s.check(settings)
}
func (s *stub) Send(ctx context.Context, r sdk.SendRequest) (sdk.Receipt, error) {
	return s.send(ctx, r)
}
func (s *stub) Health(context.Context) error { return s.health }

func over(t *testing.T, p sdk.Provider) sdk.Provider {
	t.Helper()
	client, stop, err := Loopback(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return client
}

// secrets compares by value, which printing never shows.
func secrets(a, b sdk.Secret) bool { return a.Reveal() == b.Reveal() }

func fullRequest() sdk.SendRequest {
	return sdk.SendRequest{
		IdempotencyKey: "key",
		TraceParent:    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		Settings: sdk.Settings{
			Values:  []byte(`{"host":"a"}`),
			Secrets: map[string]sdk.Secret{"password": sdk.NewSecret("hunter2")},
		},
		Mail: &sdk.Mail{
			From:      sdk.Mailbox{Name: "Acme", Address: "noreply@acme.example"},
			To:        sdk.Mailbox{Name: "Zoë", Address: "zoe@example.com"},
			ReplyTo:   sdk.Mailbox{Address: "help@acme.example"},
			Subject:   "Grüße",
			Text:      "text",
			HTML:      "<p>html</p>",
			MessageID: "id@acme.example",
			Headers:   []sdk.Header{{Name: "X-A", Value: "1"}, {Name: "X-B", Value: "2"}},
			Inline:    []sdk.Inline{{ContentID: "logo", ContentType: "image/png", Name: "logo.png", Bytes: []byte{0, 1, 0xff}}},
			Facts: sdk.Facts{
				Template: "reset", Locale: "de-AT", Link: sdk.NewSecret("https://a.example/r/x"),
				ExpiresAt: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC),
			},
		},
	}
}

func TestRequestsCrossTheWireWhole(t *testing.T) {
	t.Parallel()
	event := fullRequest()
	event.Mail = nil
	event.Event = &sdk.Event{
		URL: "https://hooks.example/x", Headers: []sdk.Header{{Name: "Webhook-Id", Value: "1"}},
		Body: []byte(`{"a":1}`), Forbidden: []string{"127.0.0.0/8", "::1/128"},
	}
	for name, want := range map[string]sdk.SendRequest{
		"mail": fullRequest(), "event": event, "nothing": {}, "empty mail": {Mail: &sdk.Mail{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got sdk.SendRequest
			client := over(t, &stub{send: func(_ context.Context, r sdk.SendRequest) (sdk.Receipt, error) {
				got = r
				return sdk.Receipt{}, nil
			}})
			receipt, err := client.Send(t.Context(), want)
			if err != nil || receipt.Outcome != sdk.Accepted {
				t.Fatalf("Send = %+v, %v", receipt, err)
			}
			if diff := cmp.Diff(want, got, cmp.Comparer(secrets)); diff != "" {
				t.Errorf("request (-sent +received):\n%s", diff)
			}
		})
	}
}

// Every field of a request must be carried: one that somebody adds to the SDK and
// forgets here would be empty on the other side.
func TestFullRequestHasNoEmptyField(t *testing.T) {
	t.Parallel()
	client := over(t, &stub{send: func(_ context.Context, r sdk.SendRequest) (sdk.Receipt, error) {
		for name, empty := range map[string]bool{
			"mail": r.Mail == nil, "reply to": r.Mail.ReplyTo.Address == "", "link": r.Mail.Facts.Link.Reveal() == "",
			"trace parent": r.TraceParent == "", "secret": r.Settings.Secrets["password"].Reveal() != "hunter2",
		} {
			if empty {
				t.Errorf("%s is empty", name)
			}
		}
		return sdk.Receipt{}, nil
	}})
	if _, err := client.Send(t.Context(), fullRequest()); err != nil {
		t.Fatal(err)
	}
}

func TestAnswersCrossTheWireWhole(t *testing.T) {
	t.Parallel()
	steps := []sdk.Step{{Name: "dial", Duration: 1234}, {Name: "data", Start: 1234, Duration: 5}}
	var failures []*sdk.Failure
	for _, pair := range outcomes {
		if !isAccepted(pair.sdk) {
			failures = append(failures, &sdk.Failure{
				Kind: pair.sdk, Public: "public " + string(pair.sdk), Private: "private", Code: "5.1.1", Answer: "gone", Steps: steps,
				RetryAfter: 90 * time.Second, Until: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
			})
		}
	}
	if len(failures) != 8 || len(outcomes) != len(providerv1.Outcome_name)-1 {
		t.Fatalf("%d failures, %d outcomes of %d", len(failures), len(outcomes), len(providerv1.Outcome_name))
	}
	for _, want := range failures {
		client := over(t, &stub{
			send:   func(context.Context, sdk.SendRequest) (sdk.Receipt, error) { return sdk.Receipt{}, want },
			check:  func(sdk.Settings) error { return want },
			health: want,
		})
		_, send := client.Send(t.Context(), fullRequest())
		for method, err := range map[string]error{
			"Send": send, "Check": client.Check(t.Context(), sdk.Settings{}), "Health": client.Health(t.Context()),
		} {
			var got *sdk.Failure
			if !errors.As(err, &got) {
				t.Fatalf("%s = %v", method, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", method, diff)
			}
		}
	}
	for _, want := range []sdk.Receipt{
		{Outcome: sdk.Accepted, MessageID: "4XyZ", Code: "250", Answer: "ok", Steps: steps}, {Outcome: sdk.AcceptedUnknown},
	} {
		client := over(t, &stub{send: func(context.Context, sdk.SendRequest) (sdk.Receipt, error) { return want, nil }})
		got, err := client.Send(t.Context(), fullRequest())
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("receipt: %v (-want +got):\n%s", err, diff)
		}
	}
}

func TestDescriptionsCrossTheWireWhole(t *testing.T) {
	t.Parallel()
	want := sdk.Description{
		Name: "smtp", Version: "1.2.3", Contents: []sdk.Content{sdk.ContentMail, sdk.ContentEvent},
		SettingsSchema: []byte(`{"type":"object"}`),
		Permissions:    sdk.Permissions{Hosts: []string{"*"}, Ports: []uint16{25, 65535}, MemoryBytes: 64 << 20},
	}
	got, err := over(t, &stub{description: want}).Describe(t.Context())
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("description: %v (-want +got):\n%s", err, diff)
	}
}

func TestWhatIsNoAnswerIsUnknown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		receipt sdk.Receipt
		err     error
		want    sdk.Outcome
	}{
		"an ordinary error":            {err: errors.New("boom"), want: sdk.Unknown},
		"a failure that says accepted": {err: &sdk.Failure{Kind: sdk.Accepted}, want: sdk.Unknown},
		"a failure without a kind":     {err: &sdk.Failure{}, want: sdk.Unknown},
		"an outcome nobody knows":      {err: &sdk.Failure{Kind: "new"}, want: sdk.Unknown},
		"a receipt that says no":       {receipt: sdk.Receipt{Outcome: sdk.Temporary}, want: sdk.Temporary},
		"text that is not UTF-8":       {err: &sdk.Failure{Kind: sdk.ContentRefused, Private: "550 \xff"}, want: sdk.ContentRefused},
		"a reply over 1 MiB":           {err: &sdk.Failure{Kind: sdk.Temporary, Private: strings.Repeat("x", MaxReplyBytes)}, want: sdk.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := over(t, &stub{send: func(context.Context, sdk.SendRequest) (sdk.Receipt, error) { return c.receipt, c.err }})
			_, err := client.Send(t.Context(), fullRequest())
			if err == nil || sdk.FailureOf(err).Kind != c.want {
				t.Errorf("Send = %v, want %s", err, c.want)
			}
		})
	}
}

func TestWhatDoesNotFitIsNotSent(t *testing.T) {
	t.Parallel()
	large, broken, secret := fullRequest(), fullRequest(), fullRequest()
	large.Mail.HTML = strings.Repeat("x", MaxRequestBytes)
	broken.Mail.Subject = "\xff"
	secret.Settings.Secrets["password"] = sdk.NewSecret("\xff")
	client := over(t, &stub{send: func(context.Context, sdk.SendRequest) (sdk.Receipt, error) {
		t.Error("it was sent")
		return sdk.Receipt{}, nil
	}})
	for _, request := range []sdk.SendRequest{large, broken, secret} {
		if _, err := client.Send(t.Context(), request); sdk.FailureOf(err).Kind != sdk.ContentRefused {
			t.Errorf("Send = %v", err)
		}
	}
}

func TestThreeMiBFit(t *testing.T) {
	t.Parallel()
	request := fullRequest()
	request.Mail.HTML = strings.Repeat("x", 3<<20)
	client := over(t, &stub{send: func(_ context.Context, r sdk.SendRequest) (sdk.Receipt, error) {
		if len(r.Mail.HTML) != 3<<20 {
			t.Errorf("%d bytes", len(r.Mail.HTML))
		}
		return sdk.Receipt{}, nil
	}})
	if _, err := client.Send(t.Context(), request); err != nil {
		t.Errorf("Send = %v", err)
	}
}

// Not parallel: a panic is reported on os.Stderr, which is exchanged here.
func TestAPanicIsAnUnknownOutcome(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = write
	defer func() { os.Stderr = stderr }()

	client := over(t, &stub{
		send:  func(context.Context, sdk.SendRequest) (sdk.Receipt, error) { panic("the-value") },
		check: func(sdk.Settings) error { panic("the-value") },
	})
	_, send := client.Send(t.Context(), fullRequest())
	check := client.Check(t.Context(), sdk.Settings{})
	_ = write.Close()
	printed, _ := io.ReadAll(read)
	for _, err := range []error{send, check} {
		failure := sdk.FailureOf(err)
		if err == nil || failure.Kind != sdk.Unknown || strings.Contains(failure.Private+failure.Public, "the-value") {
			t.Errorf("failure = %+v", failure)
		}
	}
	if n := bytes.Count(printed, []byte("the-value")); n != 2 {
		t.Errorf("the panic was printed %d times, want 2", n)
	}
	if err := client.Health(t.Context()); err != nil {
		t.Errorf("Health after the panic = %v", err)
	}
}

func TestDeadlinesCrossTheWire(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	client := over(t, &stub{send: func(ctx context.Context, _ sdk.SendRequest) (sdk.Receipt, error) {
		<-ctx.Done()
		ended <- ctx.Err()
		return sdk.Receipt{}, ctx.Err()
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := client.Send(ctx, fullRequest())
	if failure := sdk.FailureOf(err); failure.Kind != sdk.Unknown || failure.Public != "the provider did not answer in time" {
		t.Errorf("Send = %v", err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the provider's context did not end")
	}
}

func TestALostConnectionIsUnknown(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	client, stop, err := Loopback(&stub{send: func(ctx context.Context, _ sdk.SendRequest) (sdk.Receipt, error) {
		close(entered)
		<-ctx.Done()
		return sdk.Receipt{}, ctx.Err()
	}})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-entered
		stop()
	}()
	_, err = client.Send(t.Context(), fullRequest())
	if sdk.FailureOf(err).Kind != sdk.Unknown {
		t.Errorf("Send = %v", err)
	}
}

func TestRunByHandItExplainsItself(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	explain(&out, &stub{description: sdk.Description{Name: "smtp", Version: "0.1.0"}})
	want := "passmend-smtp 0.1.0 is a delivery provider of Passmend. It is not run by hand: put it into the\n" +
		"plugin directory (PASSMEND_PLUGIN_DIR) and passmend starts it.\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
