package postmark

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/plugins/postmark/postmarktest"
	"github.com/passmend/passmend/plugins/sdk"
)

// says gives a server that answers every request in this way.
func says(t *testing.T, answer postmarktest.Answer) *postmarktest.Server {
	t.Helper()
	return postmarktest.Start(t, postmarktest.Options{
		Script: func(postmarktest.Request) *postmarktest.Answer { return &answer },
	})
}

func fault(code int) string {
	return fmt.Sprintf(`{"ErrorCode":%d,"Message":"no <ada@example.com> %s"}`, code, testLink)
}

func TestAnswersBecomeOutcomes(t *testing.T) {
	t.Parallel()
	const ok = `{"ErrorCode":0,"Message":"OK","MessageID":"b7bc2f4a-e38e-4336-af7d-e6c392c2f817"}`
	for _, c := range []struct {
		status int
		body   string
		want   sdk.Outcome
		code   string
		names  string
	}{
		{200, ok, sdk.Accepted, "200", ""},
		{200, `{"ErrorCode":0,"Message":"OK"}`, sdk.AcceptedUnknown, "200", ""},
		{200, `{"ErrorCode":0,"MessageID":"a b\n"}`, sdk.AcceptedUnknown, "200", ""},
		{401, fault(10), sdk.AuthenticationFailed, "401/10", "serverToken"},
		{200, fault(10), sdk.AuthenticationFailed, "200/10", "serverToken"},
		{422, fault(100), sdk.Temporary, "422/100", "maintenance"},
		{422, fault(300), sdk.ContentRefused, "422/300", "message"},
		{422, fault(400), sdk.Misconfigured, "422/400", "sender"},
		{422, fault(401), sdk.Misconfigured, "422/401", "sender"},
		{422, fault(402), sdk.ContentRefused, "422/402", "message"},
		{422, fault(403), sdk.ContentRefused, "422/403", "message"},
		{422, fault(405), sdk.QuotaExhausted, "422/405", "credits"},
		{422, fault(406), sdk.RecipientRefused, "422/406", "recipient"},
		{422, fault(411), sdk.ContentRefused, "422/411", "attachments"},
		{422, fault(412), sdk.Misconfigured, "422/412", "approved"},
		{422, fault(413), sdk.Misconfigured, "422/413", "account"},
		{429, fault(429), sdk.RateLimited, "429/429", "slowly"},
		{422, fault(1101), sdk.Misconfigured, "422/1101", "resetTemplate"},
		{422, fault(1109), sdk.Misconfigured, "422/1109", "resetTemplate"},
		{422, fault(1235), sdk.Misconfigured, "422/1235", "messageStream"},
		{422, fault(1236), sdk.Misconfigured, "422/1236", "messageStream"},
		{422, fault(11), sdk.ContentRefused, "422/11", "message"},
		{422, `nothing`, sdk.ContentRefused, "422", "message"},
		{422, fault(123456789), sdk.ContentRefused, "422", "message"},
		{301, ``, sdk.Misconfigured, "301", "redirect"},
		{307, ``, sdk.Misconfigured, "307", "redirect"},
		{401, ``, sdk.AuthenticationFailed, "401", "serverToken"},
		{403, ``, sdk.Misconfigured, "403", "forbids"},
		{404, fault(12), sdk.Misconfigured, "404/12", "baseUrl"},
		{408, ``, sdk.Temporary, "408", "in time"},
		{413, ``, sdk.ContentRefused, "413", "larger"},
		{429, ``, sdk.RateLimited, "429", "slowly"},
		{500, fault(0), sdk.Temporary, "500", "not working"},
		{503, `<html>`, sdk.Temporary, "503", "not working"},
		{502, `<html>`, sdk.Unknown, "502", "answer"},
		{504, ``, sdk.Unknown, "504", "answer"},
		{202, ok, sdk.Unknown, "202", "answer"},
		{200, ``, sdk.Unknown, "200", "read"},
		{200, `<html>`, sdk.Unknown, "200", "read"},
		{200, `{}`, sdk.Unknown, "200", "read"},
		{200, `{"ErrorCode":"0"}`, sdk.Unknown, "200", "read"},
		{200, `[` + ok + `]`, sdk.Unknown, "200", "read"},
		{200, strings.Repeat("[", 100_000), sdk.Unknown, "200", "read"},
	} {
		t.Run(fmt.Sprintf("%d %.40s", c.status, c.body), func(t *testing.T) {
			t.Parallel()
			header := map[string]string{}
			if c.status >= 300 && c.status < 400 {
				header["Location"] = "/server"
			}
			server := says(t, postmarktest.Answer{Status: c.status, Body: c.body, Header: header})
			receipt, err := newProvider(t).Send(t.Context(), requestTo(server, testMail()))
			got, code := receipt.Outcome, receipt.Code
			if err != nil {
				failure := sdk.FailureOf(err)
				got, code = failure.Kind, failure.Code
				if !strings.Contains(failure.Public, c.names) {
					t.Errorf("public = %q, want %q in it", failure.Public, c.names)
				}
				if len(failure.Steps) == 0 {
					t.Error("no steps")
				}
				for _, secret := range []string{testToken, "ada@example.com", testLink} {
					if strings.Contains(tell(err), secret) {
						t.Errorf("the error tells a value: %s", tell(err))
					}
				}
			}
			if got != c.want || code != c.code || len(code) > 16 {
				t.Errorf("outcome %s, code %q (%v), want %s, %q", got, code, err, c.want, c.code)
			}
			if n := len(server.Requests()); n != 1 {
				t.Errorf("%d requests: a refused one was repeated or a redirect followed", n)
			}
		})
	}
}

func TestARateLimitMaySayHowLong(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-3": 0, "soon": 0, "99999999999999999999": 0, "999999999": maxRetryAfter,
		"Mon, 02 Jan 2006 15:04:05 GMT": 0,
	} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			server := says(t, postmarktest.Answer{Status: 429, Header: map[string]string{"Retry-After": value}})
			_, err := newProvider(t).Send(t.Context(), requestTo(server, testMail()))
			if failure := sdk.FailureOf(err); failure.Kind != sdk.RateLimited || failure.RetryAfter != want {
				t.Errorf("%s, after %s, want %s", failure.Kind, failure.RetryAfter, want)
			}
		})
	}
}

func TestConnectionProblemsBecomeOutcomes(t *testing.T) {
	t.Parallel()
	plain := postmarktest.Start(t, postmarktest.Options{})
	encrypted := postmarktest.Start(t, postmarktest.Options{TLS: true})
	closing := says(t, postmarktest.Answer{Close: true})
	taking := says(t, postmarktest.Answer{Take: true, Close: true})
	refusing, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closedPort := refusing.Addr().String()
	_ = refusing.Close()
	for _, c := range []struct {
		name, url string
		want      sdk.Outcome
		names     string
	}{
		{"connection refused", "http://" + closedPort, sdk.Temporary, "reached"},
		{"https to a plain port", "https" + strings.TrimPrefix(plain.URL, "http"), sdk.Misconfigured, "baseUrl"},
		{"certificate nobody trusts", encrypted.URL, sdk.Misconfigured, "baseUrl"},
		{"closed without an answer", closing.URL, sdk.Unknown, "lost"},
		{"closed after it was taken", taking.URL, sdk.Unknown, "lost"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			settings := sdk.Settings{Values: fmt.Appendf(nil, `{"baseUrl":%q}`, c.url), Secrets: secrets("serverToken", testToken)}
			p := newProvider(t)
			_, err := p.Send(t.Context(), sdk.SendRequest{IdempotencyKey: "k", Settings: settings, Mail: testMail()})
			if kindOf(err) != c.want || !strings.Contains(err.Error(), c.names) {
				t.Errorf("Send = %s, want %s naming %q", tell(err), c.want, c.names)
			}
			if err := p.Check(t.Context(), settings); err == nil {
				t.Error("Check took it")
			}
		})
	}
}

// A server that takes nothing of the request surely has not got the message; one
// that has it all may.
func TestADeadlineEndsTheCall(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // never accepts, so TLS never begins
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	hanging := says(t, postmarktest.Answer{Hang: true})
	slow := endless(t, " ", 10*time.Millisecond)
	for _, c := range []struct {
		name, url string
		want      sdk.Outcome
	}{
		{"before TLS", "https://" + silent.Addr().String(), sdk.Temporary},
		{"before the answer", hanging.URL, sdk.Unknown},
		{"in the answer", slow, sdk.Unknown},
	} {
		for _, how := range []string{"deadline", "cancel"} {
			t.Run(how+" "+c.name, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				if how == "cancel" {
					ctx, cancel = context.WithCancel(t.Context())
					time.AfterFunc(200*time.Millisecond, cancel)
				}
				defer cancel()
				settings := sdk.Settings{Values: fmt.Appendf(nil, `{"baseUrl":%q}`, c.url), Secrets: secrets("serverToken", testToken)}
				began := time.Now()
				_, err := newProvider(t).Send(ctx, sdk.SendRequest{Settings: settings, Mail: testMail()})
				if took := time.Since(began); kindOf(err) != c.want || took > 2*time.Second {
					t.Errorf("%s after %s, want %s", tell(err), took, c.want)
				}
			})
		}
	}
}

// endless is a server whose answers go on for ever, piece by piece.
func endless(t *testing.T, piece string, pause time.Duration) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			io.WriteString(w, piece)
			w.(http.Flusher).Flush()
			time.Sleep(pause)
		}
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return "http://" + listener.Addr().String()
}

func TestHugeAnswersAreCutOff(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("x", 4*maxAnswer)
	for name, answer := range map[string]postmarktest.Answer{
		"body":             {Status: 200, Body: huge},
		"body of an error": {Status: 500, Body: huge},
		"header":           {Status: 200, Header: map[string]string{"X-Huge": huge}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := newProvider(t).Send(t.Context(), requestTo(says(t, answer), testMail()))
			want := sdk.Unknown
			if answer.Status == 500 {
				want = sdk.Temporary
			}
			if kindOf(err) != want || len(tell(err)) > 1000 {
				t.Errorf("outcome = %s, want %s", kindOf(err), want)
			}
		})
	}
}

func TestAnEndlessAnswerIsCutOff(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	settings := sdk.Settings{
		Values:  fmt.Appendf(nil, `{"baseUrl":%q}`, endless(t, strings.Repeat(" ", 64<<10), 0)),
		Secrets: secrets("serverToken", testToken),
	}
	_, err := newProvider(t).Send(ctx, sdk.SendRequest{Settings: settings, Mail: testMail()})
	if kindOf(err) != sdk.Unknown || !strings.Contains(err.Error(), "cannot be read") || ctx.Err() != nil {
		t.Errorf("Send = %v", err)
	}
}

func TestPostmarksWordsAreMasked(t *testing.T) {
	t.Parallel()
	server := says(t, postmarktest.Answer{Status: 422, Body: `{"ErrorCode":406,"Message":"found inactive ada@example.com see https://help.example/x \u001b[2J token=` + testLink[28:] + `"}`})
	_, err := newProvider(t).Send(t.Context(), requestTo(server, testMail()))
	if diff := cmp.Diff("HTTP 422, error 406: found inactive ... see ... ... ...", sdk.FailureOf(err).Private); diff != "" {
		t.Errorf("private (-want +got):\n%s", diff)
	}
}
