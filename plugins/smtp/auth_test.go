package smtp

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/smtp/smtptest"
)

func TestEveryWayToAuthenticate(t *testing.T) {
	t.Parallel()
	const secret = "pässword-or-token"
	all := []string{"XOAUTH2", "CRAM-MD5", "LOGIN", "PLAIN"}
	for _, c := range []struct {
		tls, asked string
		offered    []string
		want       string // the mechanism; empty: refused
	}{
		{"starttls", "plain", all, "PLAIN"},
		{"starttls", "login", all, "LOGIN"},
		{"starttls", "cram-md5", all, "CRAM-MD5"},
		{"starttls", "xoauth2", all, "XOAUTH2"},
		{"implicit", "xoauth2", []string{"XOAUTH2"}, "XOAUTH2"},
		{"implicit", "auto", all, "PLAIN"},
		{"implicit", "auto", []string{"CRAM-MD5", "LOGIN"}, "LOGIN"},
		{"starttls", "auto", []string{"XOAUTH2", "CRAM-MD5"}, "CRAM-MD5"},
		{"", "auto", all, "CRAM-MD5"}, // hides the password
		{"", "auto", []string{"LOGIN"}, "LOGIN"},
		{"", "plain", all, "PLAIN"}, // loopback
		{"starttls", "auto", []string{"XOAUTH2"}, ""},
		{"starttls", "plain", []string{"LOGIN", "CRAM-MD5"}, ""},
		{"starttls", "xoauth2", []string{"PLAIN"}, ""},
	} {
		t.Run(fmt.Sprintf("%s over %q from %v", c.asked, c.tls, c.offered), func(t *testing.T) {
			t.Parallel()
			server := smtptest.Start(t, smtptest.Options{
				TLS: c.tls, Users: map[string]string{"ada": secret}, Mechanisms: c.offered,
			})
			settings := server.Settings(fmt.Sprintf(`,"username":"ada","authentication":%q`, c.asked))
			provider := newProvider(t)
			_, err := provider.Send(t.Context(), withPassword(requestTo(settings, testMail()), secret))
			if c.want == "" {
				if kindOf(err) != sdk.Misconfigured || !strings.Contains(err.Error(), "authentication") || len(server.Messages()) != 0 {
					t.Errorf("Send = %v", err)
				}
				return
			}
			if err != nil {
				t.Fatalf("Send: %v (%s)", err, sdk.FailureOf(err).Private)
			}
			want := smtptest.Message{From: "noreply@acme.example", To: []string{"ada@example.com"}, User: "ada", Mechanism: c.want}
			got := server.Messages()[0]
			got.Raw = nil
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("taken (-want +got):\n%s", diff)
			}
			// The control: another secret is refused.
			_, err = provider.Send(t.Context(), withPassword(requestTo(settings, testMail()), "wrong"))
			if kindOf(err) != sdk.AuthenticationFailed {
				t.Errorf("with a wrong secret: %v (%s)", err, sdk.FailureOf(err).Private)
			}
		})
	}
}

// A server, or somebody on the way to it, that offers no STARTTLS must not get the
// password.
func TestNoPasswordGoesToAServerWithoutSTARTTLS(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tls  string
		want sdk.Outcome
		auth bool
	}{
		{"starttls", sdk.Misconfigured, false},
		{"none", sdk.Accepted, true}, // the control: on loopback it may
	} {
		t.Run(c.tls, func(t *testing.T) {
			t.Parallel()
			server, heard := listening(t)
			settings := fmt.Appendf(nil, `{"host":"127.0.0.1","port":%d,"tls":%q,"username":"ada"}`, server.Port, c.tls)
			_, err := newProvider(t).Send(t.Context(), withPassword(requestTo(settings, testMail()), "canary"))
			if kindOf(err) != c.want {
				t.Errorf("outcome = %s (%v)", kindOf(err), err)
			}
			if got := slices.Contains(heard(), "AUTH"); got != c.auth {
				t.Errorf("heard AUTH: %v, want %v", got, c.auth)
			}
		})
	}
}

// What the settings rule out is ruled out once more where the password is told.
func TestNoPasswordGoesOverAnUnencryptedConnection(t *testing.T) {
	t.Parallel()
	for _, local := range []bool{false, true} {
		t.Run(fmt.Sprint("local ", local), func(t *testing.T) {
			t.Parallel()
			server, heard := listening(t)
			s, err := parseSettings(sdk.Settings{Values: scriptedSettings(server)})
			if err != nil {
				t.Fatal(err)
			}
			c, err := dial(t.Context(), s, newTimer())
			if err != nil {
				t.Fatal(err)
			}
			defer c.drop()
			c.local = local
			s.Username, s.password = "ada", "canary"
			if err := c.authenticate(s, newTimer()); (err == nil) != local {
				t.Errorf("authenticate = %v", err)
			}
			if got := slices.Contains(heard(), "AUTH"); got != local {
				t.Errorf("heard AUTH: %v", got)
			}
		})
	}
}

// listening is a server that offers AUTH PLAIN without encryption, and what it was
// told.
func listening(t *testing.T) (*smtptest.Scripted, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var verbs []string
	server := smtptest.StartScripted(t, func(_ int, verb string) string {
		mu.Lock()
		defer mu.Unlock()
		verbs = append(verbs, verb)
		switch verb {
		case "EHLO":
			return "250-smtp.test\r\n250 AUTH PLAIN LOGIN"
		case "AUTH":
			return "235 2.7.0 welcome"
		}
		return ""
	})
	return server, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(verbs)
	}
}
