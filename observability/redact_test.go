package observability

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
)

// leaks are texts with the part of them that must not come out.
var leaks = []struct{ name, text, secret string }{
	{"reset token", "minted " + hostileToken + " now", hostileToken},
	{"reset token beside an escape", "first\n" + hostileToken + "\tlast", hostileToken},
	{"two reset tokens", hostileToken + " " + hostileToken, hostileToken},
	{"token of a link template", "https://app.example/reset?token=a.b." + hostileToken, hostileToken},
	{"API token", "bearer " + hostileAPIToken, hostileAPIToken},
	{"hosted link", "GET /acme/r/short-and-odd", "short-and-odd"},
	{"hosted link that begins like a page", "GET /acme/r/done-and-odd", "done-and-odd"},
	{"hosted link that begins like another page", "GET /acme/r/disputed-and-odd", "disputed-and-odd"},
	{"Authorization header", "Authorization: Bearer xyz", "xyz"},
	{"authorization, lower case", `{"authorization":"Basic YWRh"}`, "YWRh"},
	{"printed header map", "map[Authorization:[Bearer xyz]]", "xyz"},
	{"Cookie header", "Cookie: theme=dark; sid=abc123", "abc123"},
	{"Set-Cookie header", "Set-Cookie: __Host-r=c2VjcmV0; Path=/", "c2VjcmV0"},
	{"webhook secret", "key whsec_C2FtcGxl+/9=", "C2FtcGxl"},
	{"webhook private key", "key whsk_C2FtcGxl", "C2FtcGxl"},
	{"database URL", "open postgres://passmend:pa55@db/x: refused", "pa55"},
	{"database URL with @ in the password", "postgres://u:pa@55@db/x", "55@"},
	{"address", "to " + hostileAddress + ": no such user", "lovelace"},
	{"address in brackets", "<" + hostileAddress + ">", "lovelace"},
	{"address after an escape", "\nada@example.com", "ada"},
	{"quoted local part", `to "ada"@example.com`, "ada"},
	{"address with =", "bounce+ada=example.org@mx.example.com", "ada"},
	{"address literal", "ada@[192.0.2.1]", "ada"},
	{"international address", "ада@пример.рф", "ада"},
	{"percent-encoded address", "/users/ada%40example.com", "ada"},
	{"address like a module", "ada@v1.2.3.example.com", "ada"},
	{"argon2id hash", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA", "c2FsdA"},
	{"bcrypt hash", "$2b$10$abcdefghijklmnopqrstuv", "abcdefgh"},
}

// innocent texts come through as they are.
var innocent = []string{
	"delivery attempt",
	"/v1/accounts/{account}/passwords",
	"/{account}/r/{token}",
	"/{account}/r/done",
	"/{account}/r/dispute",
	"/{account}/r/disputed",
	"/:account/r/:token",
	hostileUUID,
	"4bf92f3577b34da6a3ce929d0e0e4736",
	strings.Repeat("0123456789abcdef", 4), // a SHA-256
	"B" + hostileToken[1:],                // 43 characters of another version
	hostileToken + "x",
	"Authorization is required",
	"open cookie: cipher text is too short",
	`{"source":{"header":"Authorization"}}`,
	"[redacted]",
	"Authorization: [redacted]",
	"/go/pkg/mod/github.com/gin-gonic/gin@v1.12.0/context.go:185",
	"golang.org/x/net@v0.0.0-20241020182733-b788ff22d5a6/http2",
	"@every 5m",
	"sqlite:///var/lib/passmend/passmend.db",
	"listening on http://127.0.0.1:8080",
	"costs $2 a month",
}

func TestRedactTakesOutEverySecret(t *testing.T) {
	t.Parallel()
	for _, leak := range leaks {
		t.Run(leak.name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(leak.text, leak.secret) {
				t.Fatal("the case does not hold its secret")
			}
			clean, hits := Redact(leak.text)
			if strings.Contains(clean, leak.secret) || hits == 0 {
				t.Errorf("%q became %q with %d hits", leak.text, clean, hits)
			}
			if again, hits := Redact(clean); hits != 0 || again != clean {
				t.Errorf("redacting %q again gave %q with %d hits", clean, again, hits)
			}
		})
	}
}

func TestRedactKeepsWhatIsInnocent(t *testing.T) {
	t.Parallel()
	for _, text := range innocent {
		if clean, hits := Redact(text); clean != text || hits != 0 {
			t.Errorf("%q became %q with %d hits", text, clean, hits)
		}
	}
}

func TestNoLineOfTheLogHoldsASecret(t *testing.T) {
	t.Parallel()
	for _, format := range []Format{FormatJSON, FormatText} {
		for _, leak := range leaks {
			t.Run(string(format)+"/"+leak.name, func(t *testing.T) {
				t.Parallel()
				// The control: without the filter the secret is in the line.
				var plain bytes.Buffer
				logEverywhere(slog.New(slog.NewJSONHandler(&plain, nil)), leak.text)
				if got := strings.Count(plain.String(), escaped(t, leak.secret)); got < 4 {
					t.Fatalf("the control shows the secret %d times: %s", got, plain.String())
				}
				var line bytes.Buffer
				hits := 0
				logger, err := NewLogger(LoggerConfig{Writer: &line, Format: format, Redacted: func(n int) { hits += n }})
				if err != nil {
					t.Fatal(err)
				}
				logEverywhere(logger, leak.text)
				if strings.Contains(line.String(), leak.secret) || hits == 0 {
					t.Errorf("%d hits in %s", hits, line.String())
				}
				if format == FormatJSON && !json.Valid(line.Bytes()) {
					t.Errorf("no JSON: %s", line.String())
				}
			})
		}
	}
}

// logEverywhere puts text into the message, a string, an error, a struct and a group.
func logEverywhere(logger *slog.Logger, text string) {
	logger.Info(text, "text", text, "error", textError(text),
		"any", struct{ Field string }{text}, slog.Group("group", "inner", text))
}

type textError string

func (e textError) Error() string { return string(e) }

func escaped(t *testing.T, text string) string {
	t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Trim(string(quoted), `"`)
}

func TestAValueUnderASecretKeyIsRedactedWhateverItIs(t *testing.T) {
	t.Parallel()
	for _, format := range []Format{FormatJSON, FormatText} {
		var line bytes.Buffer
		logger, err := NewLogger(LoggerConfig{Writer: &line, Format: format})
		if err != nil {
			t.Fatal(err)
		}
		logger.Info("call", "Authorization", "odd value", "headers", map[string][]string{"Cookie": {"one=two", "three"}}, "after", "kept here")
		for _, secret := range []string{"odd value", "one=two", "three"} {
			if strings.Contains(line.String(), secret) {
				t.Errorf("%s: %q in %s", format, secret, line.String())
			}
		}
		if !strings.Contains(line.String(), "kept here") {
			t.Errorf("%s: the next value is gone: %s", format, line.String())
		}
	}
}

func TestControlCharactersNeverReachATerminal(t *testing.T) {
	t.Parallel()
	text := "a\x1b[2Jb\r\nc\x7fd\u009be\u0085f"
	for _, format := range []Format{FormatJSON, FormatText} {
		var line bytes.Buffer
		logger, err := NewLogger(LoggerConfig{Writer: &line, Format: format})
		if err != nil {
			t.Fatal(err)
		}
		logger.Info(text, "value", text)
		body := strings.TrimSuffix(line.String(), "\n")
		if i := strings.IndexFunc(body, func(r rune) bool { return r < 0x20 || isControl(r) }); i >= 0 {
			t.Errorf("%s: control character at %d of %q", format, i, body)
		}
		if format != FormatJSON {
			continue
		}
		var decoded struct{ Msg, Value string }
		if err := json.Unmarshal(line.Bytes(), &decoded); err != nil || decoded.Value != text {
			t.Errorf("the line reads back as %q (%v)", decoded.Value, err)
		}
	}
}

// FuzzFilter holds the filter to three things: a line of JSON stays one, a second
// pass finds nothing, and the cheap look never misses what the rules would find.
func FuzzFilter(f *testing.F) {
	for _, leak := range leaks {
		f.Add(leak.text)
	}
	for _, text := range innocent {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var plain bytes.Buffer
		slog.New(slog.NewJSONHandler(&plain, nil)).Info("m", "text", text)
		clean, hits := redactLine(plain.Bytes())
		if !json.Valid(clean) {
			t.Errorf("no JSON: %q", clean)
		}
		if again, more := redactLine(clean); more != 0 {
			t.Errorf("%q became %q in a second pass", clean, again)
		}
		if hits > 0 && !suspicious(plain.Bytes()) {
			t.Errorf("the cheap look missed %q", plain.Bytes())
		}
	})
}

func BenchmarkCleanLine(b *testing.B) {
	logger, err := NewLogger(LoggerConfig{Writer: discard{}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		logger.LogAttrs(b.Context(), slog.LevelInfo, "http request",
			slog.String("route", "/v1/accounts/{account}/passwords"), slog.String("method", "POST"), slog.Int("status", 202),
			slog.Int("bytes", 0), slog.Float64("duration_ms", 1.234), slog.String("request_id", hostileUUID), slog.String("peer", "192.0.2.0/24"))
	}
}

func BenchmarkCheapLook(b *testing.B) {
	line := []byte(`{"time":"2026-01-02T03:04:05.678Z","level":"INFO","msg":"http request","route":"/v1/accounts/{account}/passwords","method":"POST","status":202,"bytes":0,"duration_ms":1.234,"request_id":"0190a5e0-1111-7222-8333-444455556666","peer":"192.0.2.0/24"}`)
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if suspicious(line) {
			b.Fatal("suspicious")
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
