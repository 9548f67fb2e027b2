package mailbox_test

import (
	"context"
	"net/http/httptest"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"github.com/passmend/passmend/cmd/passmend/mailbox"
)

// setup gives a running mailbox on a port of its own.
func setup(t testing.TB, change ...func(*mailbox.Config)) *mailbox.Mailbox {
	t.Helper()
	config := mailbox.Config{Addr: "127.0.0.1:0"}
	for _, alter := range change {
		alter(&config)
	}
	box, err := mailbox.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := box.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return box
}

// send hands a message over by the standard library's own SMTP client.
func send(t testing.TB, box *mailbox.Mailbox, raw string, to ...string) {
	t.Helper()
	if err := trySend(box, raw, to...); err != nil {
		t.Fatal(err)
	}
}

func trySend(box *mailbox.Mailbox, raw string, to ...string) error {
	if len(to) == 0 {
		to = []string{"ada@example.com"}
	}
	return smtp.SendMail(box.Addr(), nil, "noreply@passmend.example", to, []byte(crlf(raw)))
}

func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

// only gives the one message there is.
func only(t testing.TB, box *mailbox.Mailbox) mailbox.Message {
	t.Helper()
	messages := box.Messages()
	if len(messages) != 1 {
		t.Fatalf("%d messages, want 1", len(messages))
	}
	return messages[0]
}

func site(t testing.TB, box *mailbox.Mailbox) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(box.Handler())
	t.Cleanup(server.Close)
	return server
}
