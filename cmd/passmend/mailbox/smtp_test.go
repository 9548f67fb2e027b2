package mailbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/cmd/passmend/mailbox"
)

func TestOnlyLoopbackIsListenedOn(t *testing.T) {
	t.Parallel()
	for addr, loopback := range map[string]bool{
		"127.0.0.1:0": true, "127.0.0.2:0": true, "[::1]:0": true, "localhost:0": true, "[::ffff:127.0.0.1]:0": true,
		"0.0.0.0:0": false, ":0": false, "[::]:0": false, "192.0.2.1:1025": false, "[fe80::1]:1025": false,
		"example.com:1025": false, "10.0.0.1:1025": false, "[::ffff:10.0.0.1]:1025": false,
	} {
		_, err := mailbox.New(mailbox.Config{Addr: addr})
		if loopback && err != nil {
			t.Errorf("%s: %v", addr, err)
		}
		if !loopback && (!errors.Is(err, mailbox.ErrNotLoopback) || !strings.Contains(err.Error(), addr)) {
			t.Errorf("%s: error %v", addr, err)
		}
	}
}

func TestBadConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	for _, config := range []mailbox.Config{
		{}, {Addr: "1025"}, {Addr: "127.0.0.1"}, {Addr: "127.0.0.1:smtp"}, {Addr: "127.0.0.1:65536"}, {Addr: "127.0.0.1:0", Capacity: -1},
	} {
		if _, err := mailbox.New(config); err == nil {
			t.Errorf("%+v is taken", config)
		}
	}
}

func TestTakenPortIsAnError(t *testing.T) {
	t.Parallel()
	first := setup(t)
	second, err := mailbox.New(mailbox.Config{Addr: first.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(t.Context()); err == nil {
		t.Error("two mailboxes listen on one port")
	}
	if err := second.Stop(t.Context()); err != nil {
		t.Errorf("stop of what never started: %v", err)
	}
}

func TestEnvelopeDecidesWhoGotIt(t *testing.T) {
	t.Parallel()
	box := setup(t)
	send(t, box, "From: a@b.example\nTo: somebody@else.example\nSubject: x\n\nhi\n", "ada@example.com", "bob@example.com")
	if diff := cmp.Diff([]string{"ada@example.com", "bob@example.com"}, only(t, box).To); diff != "" {
		t.Errorf("to (-want +got):\n%s", diff)
	}
}

func TestDotsAreUnstuffed(t *testing.T) {
	t.Parallel()
	box := setup(t)
	send(t, box, "Subject: dots\n\n.\n..\n.leading\nlast\n")
	if got, want := only(t, box).Text, ".\n..\n.leading\nlast\n"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
}

// SMTP smuggling: a lone line feed round a dot ends nothing.
func TestBareLineFeedsEndNoMessage(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"\n.\n", "\n.\r\n", "\r.\r"} {
		box := setup(t)
		conn := dial(t, box)
		say(t, conn, 250, "EHLO test")
		say(t, conn, 250, "MAIL FROM:<a@b.example>")
		say(t, conn, 250, "RCPT TO:<ada@example.com>")
		say(t, conn, 354, "DATA")
		smuggled := "Subject: outer\r\n\r\nbody" + end + "MAIL FROM:<evil@example.com>\r\nRCPT TO:<v@example.com>\r\nDATA\r\n\r\nsmuggled\r\n.\r\n"
		if _, err := conn.W.WriteString(smuggled); err != nil || conn.W.Flush() != nil {
			t.Fatal(err)
		}
		if _, _, err := conn.ReadResponse(250); err != nil {
			t.Fatal(err)
		}
		if got := only(t, box); got.To[0] != "ada@example.com" || !strings.Contains(got.Raw, "smuggled") {
			t.Errorf("%q ended the message", end)
		}
	}
}

func TestLongLinesAndEightBitsArrive(t *testing.T) {
	t.Parallel()
	box := setup(t)
	long := "https://app.example/" + strings.Repeat("x", 100_000)
	send(t, box, "Subject: long\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße: "+long+"\n")
	got := only(t, box)
	if got.Text != "Grüße: "+long+"\n" || len(got.Links) != 1 || got.Links[0] != long {
		t.Errorf("text of %d bytes, %d links", len(got.Text), len(got.Links))
	}
}

func TestLimitsAreAnsweredAndNothingIsKept(t *testing.T) {
	t.Parallel()
	box := setup(t)
	large := "Subject: large\n\n" + strings.Repeat(strings.Repeat("x", 98)+"\n", 22_000)
	if err := trySend(box, large); code(err) != 552 {
		t.Errorf("a message over 2 MiB: %v", err)
	}
	var many []string
	for i := range 101 {
		many = append(many, fmt.Sprintf("user%d@example.com", i))
	}
	if err := trySend(box, "Subject: many\n\nx\n", many...); code(err) != 452 {
		t.Errorf("101 recipients: %v", err)
	}
	if n := len(box.Messages()); n != 0 {
		t.Errorf("%d messages kept", n)
	}
	send(t, box, "Subject: fits\n\nx\n", many[:100]...)
	if n := len(only(t, box).To); n != 100 {
		t.Errorf("%d recipients", n)
	}
}

func TestRecipientsDoNotLeakIntoTheNextMessage(t *testing.T) {
	t.Parallel()
	box := setup(t)
	client, err := smtp.Dial(box.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, to := range []string{"one@example.com", "two@example.com"} {
		if err := errors.Join(client.Mail("a@b.example"), client.Rcpt("dropped@example.com"), client.Reset(),
			client.Mail("a@b.example"), client.Rcpt(to)); err != nil {
			t.Fatal(err)
		}
		w, err := client.Data()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(w, "Subject: %s\r\n\r\nx\r\n", to)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, message := range box.Messages() {
		if diff := cmp.Diff([]string{message.Subject}, message.To); diff != "" {
			t.Errorf("to (-want +got):\n%s", diff)
		}
	}
}

func TestManySendersAtOnce(t *testing.T) {
	t.Parallel()
	const senders, each = 16, 10
	box := setup(t)
	var wait sync.WaitGroup
	for sender := range senders {
		wait.Go(func() {
			for i := range each {
				id := fmt.Sprintf("%d-%d", sender, i)
				if err := trySend(box, "Subject: "+id+"\n\n"+id+"\n", id+"@example.com"); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
		})
	}
	wait.Wait()
	seen := map[string]bool{}
	for i, message := range box.Messages() {
		seen[message.Subject] = true
		if message.Text != message.Subject+"\n" || message.To[0] != message.Subject+"@example.com" || message.Number != i+1 {
			t.Errorf("message %d is mixed: %q to %q: %q", message.Number, message.Subject, message.To, message.Text)
		}
	}
	if len(seen) != senders*each {
		t.Errorf("%d different messages, want %d", len(seen), senders*each)
	}
}

func TestOldestIsDroppedAndNumbersStay(t *testing.T) {
	t.Parallel()
	box := setup(t, func(c *mailbox.Config) { c.Capacity = 3 })
	for i := range 5 {
		send(t, box, fmt.Sprintf("Subject: %d\n\nx\n", i+1))
	}
	var numbers []int
	for _, message := range box.Messages() {
		numbers = append(numbers, message.Number)
	}
	if diff := cmp.Diff([]int{3, 4, 5}, numbers); diff != "" {
		t.Errorf("numbers (-want +got):\n%s", diff)
	}
	box.Empty()
	send(t, box, "Subject: next\n\nx\n")
	if got := only(t, box).Number; got != 6 {
		t.Errorf("number %d after emptying, want 6", got)
	}
}

func TestWaitSeesOldAndNewMail(t *testing.T) {
	t.Parallel()
	box := setup(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	subject := func(s string) func(mailbox.Message) bool {
		return func(m mailbox.Message) bool { return m.Subject == s }
	}
	send(t, box, "Subject: old\n\nx\n")
	if _, err := box.Wait(ctx, subject("old")); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		message mailbox.Message
		err     error
	}
	waiters := make(chan answer)
	for range 3 {
		go func() {
			message, err := box.Wait(ctx, subject("new"))
			waiters <- answer{message, err}
		}()
	}
	send(t, box, "Subject: other\n\nx\n")
	send(t, box, "Subject: new\n\nx\n")
	for range 3 {
		if got := <-waiters; got.err != nil || got.message.Subject != "new" {
			t.Errorf("%q, %v", got.message.Subject, got.err)
		}
	}
	short, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if _, err := box.Wait(short, subject("never")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait for nothing ended with %v", err)
	}
}

// A provider keeps its connection open between mails; stopping must not wait for it.
func TestStopClosesIdleConnections(t *testing.T) {
	t.Parallel()
	box := setup(t)
	conn := dial(t, box)
	say(t, conn, 250, "EHLO test")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	begin := time.Now()
	if err := box.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("stopped after %s", took)
	}
	if _, err := conn.ReadLine(); err == nil {
		t.Error("the connection is still open")
	}
	if _, err := net.Dial("tcp", box.Addr()); err == nil {
		t.Error("the port is still open")
	}
}

func TestStopLetsAMessageFinish(t *testing.T) {
	t.Parallel()
	box := setup(t)
	conn := dial(t, box)
	say(t, conn, 250, "EHLO test")
	say(t, conn, 250, "MAIL FROM:<a@b.example>")
	say(t, conn, 250, "RCPT TO:<ada@example.com>")
	say(t, conn, 354, "DATA")
	stopped := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stopped <- box.Stop(ctx)
	}()
	say(t, conn, 250, "Subject: finished\r\n\r\nx\r\n.")
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if got := only(t, box).Subject; got != "finished" {
		t.Errorf("subject %q", got)
	}
}

func TestStopCutsAMessageThatNeverEnds(t *testing.T) {
	t.Parallel()
	box := setup(t)
	conn := dial(t, box)
	say(t, conn, 250, "EHLO test")
	say(t, conn, 250, "MAIL FROM:<a@b.example>")
	say(t, conn, 250, "RCPT TO:<ada@example.com>")
	say(t, conn, 354, "DATA")
	if _, err := conn.W.WriteString("Subject: never\r\n"); err != nil || conn.W.Flush() != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	err := box.Stop(ctx)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stop: %v", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("stopped after %s", took)
	}
	if len(box.Messages()) != 0 {
		t.Error("half a message is kept")
	}
}

func TestLogHoldsNothingOfAMail(t *testing.T) {
	t.Parallel()
	var lines bytes.Buffer
	var mu sync.Mutex
	box := setup(t, func(c *mailbox.Config) {
		c.Logger = slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return lines.Write(p)
		}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	send(t, box, "Subject: canary-subject\n\nhttps://canary-link.example/\n", "canary@example.com")
	conn := dial(t, box)
	say(t, conn, 250, "EHLO canary-helo")
	if _, err := conn.W.WriteString("canary-" + strings.Repeat("x", 300_000)); err != nil {
		t.Log(err)
	}
	_ = conn.W.Flush()
	_ = conn.Close()
	_ = box.Stop(t.Context())
	mu.Lock()
	defer mu.Unlock()
	if strings.Contains(lines.String(), "canary") {
		t.Errorf("the log tells: %s", lines.String())
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func dial(t *testing.T, box *mailbox.Mailbox) *textproto.Conn {
	t.Helper()
	conn, err := textproto.Dial("tcp", box.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, _, err := conn.ReadResponse(220); err != nil {
		t.Fatal(err)
	}
	return conn
}

func say(t *testing.T, conn *textproto.Conn, want int, line string) {
	t.Helper()
	if err := conn.PrintfLine("%s", line); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.ReadResponse(want); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
}

func code(err error) int {
	var protocol *textproto.Error
	if errors.As(err, &protocol) {
		return protocol.Code
	}
	return 0
}
