package smtp

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/smtp/smtptest"
)

func TestRepliesBecomeOutcomes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		verb, reply string
		want        sdk.Outcome
	}{
		{smtptest.Greeting, "554 no service", sdk.Misconfigured},
		{smtptest.Greeting, "421 busy", sdk.Temporary},
		{smtptest.Greeting, smtptest.Close, sdk.Temporary},
		{"EHLO", "550 who", sdk.Accepted}, // HELO is tried
		{"EHLO", smtptest.Close, sdk.Temporary},
		{"MAIL", "550 5.7.1 sender", sdk.Misconfigured},
		{"MAIL", "550 5.1.8 no such domain", sdk.Misconfigured},
		{"MAIL", "530 5.7.0 first log in", sdk.AuthenticationFailed},
		{"MAIL", "451 greylisted", sdk.Temporary},
		{"MAIL", "452 4.4.5 slow down", sdk.RateLimited},
		{"MAIL", "550 5.4.5 daily quota", sdk.QuotaExhausted},
		{"MAIL", smtptest.Close, sdk.Temporary},
		{"RCPT", "550 5.1.1 unknown", sdk.RecipientRefused},
		{"RCPT", "553 5.1.3 bad", sdk.RecipientRefused},
		{"RCPT", "550 5.2.1 disabled", sdk.RecipientRefused},
		{"RCPT", "554 5.7.1 relay access denied", sdk.RecipientRefused},
		{"RCPT", "550 5.1.7 bad sender", sdk.Misconfigured},
		{"RCPT", "550 5.7.23 SPF", sdk.Misconfigured},
		{"RCPT", "552 5.3.4 too big", sdk.ContentRefused},
		{"RCPT", "550 4.2.1 of another class", sdk.RecipientRefused},
		{"RCPT", "421 4.3.0 later", sdk.Temporary},
		{"RCPT", "421 4.7.28 flood", sdk.RateLimited},
		{"RCPT", "450 4.2.1 later", sdk.Temporary},
		{"RCPT", "451 4.7.1 greylisted", sdk.Temporary},
		{"RCPT", "452 4.2.2 full", sdk.Temporary},
		{"RCPT", smtptest.Close, sdk.Temporary},
		{"DATA", "554 5.6.0 no", sdk.ContentRefused},
		{"DATA", "451 later", sdk.Temporary},
		{"DATA", smtptest.Close, sdk.Temporary},
		{smtptest.Dot, "554 5.7.1 spam", sdk.ContentRefused},
		{smtptest.Dot, "550-5.7.26 no DMARC\r\n550 5.7.26 see help", sdk.Misconfigured},
		{smtptest.Dot, "550 5.1.1 unknown after all", sdk.RecipientRefused},
		{smtptest.Dot, "550 5.2.2 full", sdk.RecipientRefused},
		{smtptest.Dot, "552 too large", sdk.ContentRefused},
		{smtptest.Dot, "451 4.3.0 disk", sdk.Temporary},
		{smtptest.Dot, smtptest.Close, sdk.Unknown},
		{smtptest.Dot, "250 2.0.0 Ok: queued as 4XyZ12", sdk.Accepted},
		{smtptest.Dot, "250 queued as 4XyZ12", sdk.Accepted},
	} {
		eachWay(t, c.verb+" "+c.reply, func(t *testing.T, greeted string) {
			server := smtptest.StartScripted(t, func(_ int, verb string) string {
				if verb == c.verb {
					return c.reply
				}
				if verb == "EHLO" {
					return greeted
				}
				return ""
			})
			receipt, err := newProvider(t).Send(t.Context(), requestTo(scriptedSettings(server), testMail()))
			if kindOf(err) != c.want {
				t.Fatalf("outcome = %s, want %s (%v)", kindOf(err), c.want, err)
			}
			if err == nil {
				if strings.Contains(c.reply, "queued as") && (receipt.MessageID != "4XyZ12" || receipt.Code != codeIn(c.reply)) {
					t.Errorf("receipt = %+v", receipt)
				}
				return
			}
			failure := sdk.FailureOf(err)
			if failure.Code != codeIn(c.reply) {
				t.Errorf("code = %q, want %q", failure.Code, codeIn(c.reply))
			}
			code := c.reply[:3]
			if failure.Public == "" || strings.Contains(failure.Public, code) {
				t.Errorf("public text = %q", failure.Public)
			}
			if c.reply != smtptest.Close && !strings.Contains(failure.Private, code) {
				t.Errorf("private text %q does not hold the code", failure.Private)
			}
			if len(failure.Steps) == 0 {
				t.Error("no steps")
			}
		})
	}
}

// codeIn is the code that is told of a reply: the enhanced one if there is one of
// the same class.
func codeIn(reply string) string {
	if reply == smtptest.Close {
		return ""
	}
	if enhanced, _, _ := strings.Cut(reply[4:], " "); strings.Count(enhanced, ".") == 2 && enhanced[0] == reply[0] {
		return enhanced
	}
	return reply[:3]
}

func TestConnectionProblemsBecomeOutcomes(t *testing.T) {
	t.Parallel()
	plain := smtptest.Start(t, smtptest.Options{})
	starttls := smtptest.Start(t, smtptest.Options{TLS: "starttls"})
	auth := smtptest.Start(t, smtptest.Options{TLS: "starttls", Users: map[string]string{"ada": "right"}})
	strange := smtptest.Start(t, smtptest.Options{Users: map[string]string{"a": "b"}, Mechanisms: []string{"XOAUTH2"}})
	refusing, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closedPort := refusing.Addr().(*net.TCPAddr).Port
	_ = refusing.Close()
	for _, c := range []struct {
		name, settings, password string
		want                     sdk.Outcome
		names                    string
	}{
		{"connection refused", fmt.Sprintf(`{"host":"127.0.0.1","port":%d,"tls":"none"}`, closedPort), "", sdk.Temporary, "server"},
		{"no starttls offered", fmt.Sprintf(`{"host":"127.0.0.1","port":%d}`, plain.Port), "", sdk.Misconfigured, "tls"},
		{"implicit tls to a plain port", fmt.Sprintf(`{"host":"127.0.0.1","port":%d,"tls":"implicit"}`, plain.Port), "", sdk.Misconfigured, "tls"},
		{"certificate nobody trusts", fmt.Sprintf(`{"host":"127.0.0.1","port":%d}`, starttls.Port), "", sdk.Misconfigured, "host"},
		{"wrong password", string(auth.Settings(`,"username":"ada"`)), "wrong-one", sdk.AuthenticationFailed, "password"},
		{"no credentials", string(auth.Settings("")), "", sdk.AuthenticationFailed, "password"},
		{"no AUTH offered", string(plain.Settings(`,"username":"ada"`)), "secret", sdk.Misconfigured, "username"},
		{"no AUTH that we speak", string(strange.Settings(`,"username":"ada"`)), "secret", sdk.Misconfigured, "username"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			request := requestTo([]byte(c.settings), testMail())
			if c.password != "" {
				request = withPassword(request, c.password)
			}
			provider := newProvider(t)
			_, err := provider.Send(t.Context(), request)
			if kindOf(err) != c.want || !strings.Contains(err.Error(), c.names) {
				t.Errorf("Send = %v (%s), want %s naming %q", err, sdk.FailureOf(err).Private, c.want, c.names)
			}
			if c.name == "no credentials" {
				return // Check sends nothing, and so does not learn of it
			}
			if err := provider.Check(t.Context(), request.Settings); kindOf(err) != c.want {
				t.Errorf("Check = %v, want %s", err, c.want)
			}
		})
	}
}

func TestADeadlineEndsTheCall(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		verb string
		want sdk.Outcome
	}{
		{smtptest.Greeting, sdk.Temporary},
		{"EHLO", sdk.Temporary},
		{"RCPT", sdk.Temporary},
		{"DATA", sdk.Temporary},
		{smtptest.Dot, sdk.Unknown}, // the server may have it
	} {
		for _, how := range []string{"deadline", "cancel"} {
			t.Run(how+" at "+c.verb, func(t *testing.T) {
				t.Parallel()
				server := smtptest.StartScripted(t, func(_ int, verb string) string {
					if verb == c.verb {
						return smtptest.Hang
					}
					return ""
				})
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				if how == "cancel" {
					ctx, cancel = context.WithCancel(t.Context())
					time.AfterFunc(200*time.Millisecond, cancel)
				}
				defer cancel()
				began := time.Now()
				_, err := newProvider(t).Send(ctx, requestTo(scriptedSettings(server), testMail()))
				if took := time.Since(began); kindOf(err) != c.want || took > 2*time.Second {
					t.Errorf("outcome = %s after %s, want %s", kindOf(err), took, c.want)
				}
			})
		}
	}
}

func TestServersWordsAreMasked(t *testing.T) {
	t.Parallel()
	server := smtptest.StartScripted(t, func(_ int, verb string) string {
		if verb == "RCPT" {
			return "550 5.1.1 <ada@example.com> unknown, see https://help.example/x and \x1b[2J token=" + testLink[28:]
		}
		return ""
	})
	_, err := newProvider(t).Send(t.Context(), requestTo(scriptedSettings(server), testMail()))
	if diff := cmp.Diff("rcpt: 550 5.1.1 ... unknown, see ... and ... ...", sdk.FailureOf(err).Private); diff != "" {
		t.Errorf("private (-want +got):\n%s", diff)
	}
}

func TestAServerThatNeverStopsTalking(t *testing.T) {
	t.Parallel()
	server := smtptest.StartScripted(t, func(_ int, verb string) string {
		if verb == "EHLO" {
			return "250-" + strings.Repeat("x", 4*maxReplies)
		}
		return ""
	})
	_, err := newProvider(t).Send(t.Context(), requestTo(scriptedSettings(server), testMail()))
	if kindOf(err) != sdk.Temporary {
		t.Errorf("outcome = %s (%v)", kindOf(err), err)
	}
}
