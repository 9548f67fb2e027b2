package webhook

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/plugins/sdk"
)

func TestEveryStatusHasItsOutcome(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]sdk.Failure{
		200: {Kind: sdk.Accepted},
		201: {Kind: sdk.Accepted},
		204: {Kind: sdk.Accepted},
		299: {Kind: sdk.Accepted},
		400: {Kind: sdk.Temporary, Public: "the endpoint answered 400"},
		401: {Kind: sdk.Temporary, Public: "the endpoint answered 401"},
		404: {Kind: sdk.Temporary, Public: "the endpoint answered 404"},
		408: {Kind: sdk.Temporary, Public: "the endpoint answered 408"},
		410: {Kind: sdk.RecipientRefused, Public: "the endpoint says that it is gone (410)"},
		413: {Kind: sdk.Temporary, Public: "the endpoint answered 413"},
		425: {Kind: sdk.Temporary, Public: "the endpoint answered 425"},
		429: {Kind: sdk.RateLimited, Public: "the endpoint asks for fewer events (429)", RetryAfter: time.Minute},
		500: {Kind: sdk.Temporary, Public: "the endpoint answered 500"},
		503: {Kind: sdk.Temporary, Public: "the endpoint answered 503", RetryAfter: time.Minute},
		530: {Kind: sdk.Temporary, Public: "the endpoint answered 530"},
		599: {Kind: sdk.Temporary, Public: "the endpoint answered 599"},
		999: {Kind: sdk.Temporary, Public: "the endpoint answered 999"},
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "60")
				w.WriteHeader(status)
			}))
			t.Cleanup(server.Close)
			receipt, err := send(New(), development(), eventTo(server.URL))
			got := sdk.Failure{Kind: receipt.Outcome, Code: receipt.Code}
			if err != nil {
				got = *sdk.FailureOf(err)
				got.Steps = nil
			}
			want.Code = fmt.Sprint(status)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                               0,
		"0":                              0,
		"120":                            2 * time.Minute,
		"86400":                          24 * time.Hour,
		"86401":                          24 * time.Hour,
		"99999999999999999999999":        24 * time.Hour,
		"-5":                             0,
		"1.5":                            0,
		"soon":                           0,
		"Sun, 01 Mar 2026 12:00:30 GMT":  30 * time.Second,
		"Sunday, 01-Mar-26 12:01:00 GMT": time.Minute,
		"Sun Mar  1 12:02:00 2026":       2 * time.Minute,
		"Sun, 01 Mar 2026 11:00:00 GMT":  0,
		"Fri, 01 Jan 2100 00:00:00 GMT":  24 * time.Hour,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestAnswerOf(t *testing.T) {
	t.Parallel()
	const token = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA"
	for _, test := range []struct{ name, body, want string }{
		{"nothing", "", ""},
		{"a line", "bad signature", "bad signature"},
		{"lines become one", " a\r\n\tb\n\nc ", "a b c"},
		{"controls are left out", "a\x00b\x1b[31mc\u202ed\ufeffe\u2028f", "a b [31mc d e f"},
		{"what is not UTF-8 is left out", "a\xff\xfe\u00fcb", "a üb"},
		{"256 characters, not bytes", strings.Repeat("ü ", 300), strings.TrimSpace(strings.Repeat("ü ", 128)) + " "},
		{"request ids stay", "id 0197c0de-0000-7000-8000-000000000000", "id 0197c0de-0000-7000-8000-000000000000"},
		{"an echoed token is withheld", `{"meta":{"passwordResetToken":"` + token + `"}}`, `{"meta":{"passwordResetToken":"[withheld]"}}`},
		{"in a link too", "https://a.example/reset?token=acme.ada." + token, "https://a.example/reset?token=acme.ada.[withheld]"},
		{"an encoded body is withheld", base64.StdEncoding.EncodeToString([]byte(strings.Repeat(token, 9))), "[withheld]"},
		{"one that the cut would halve too", strings.Repeat("a b ", 60) + token, strings.Repeat("a b ", 60) + "[withheld]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, answerOf([]byte(test.body))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzAnswerOf(f *testing.F) {
	f.Add([]byte("a\x00\xff b"))
	f.Add([]byte(strings.Repeat("ü", 300)))
	f.Fuzz(func(t *testing.T, body []byte) {
		answer := answerOf(body)
		if len([]rune(answer)) > maxAnswer || strings.ContainsFunc(answer, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			t.Errorf("%q", answer)
		}
		if keyLike.MatchString(answer) {
			t.Errorf("a key is left: %q", answer)
		}
	})
}
