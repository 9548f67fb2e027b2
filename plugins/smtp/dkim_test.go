package smtp

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/smtp/smtptest"
)

const dkimSettings = `,"dkimDomain":"acme.example","dkimSelector":"s1"`

// dkimKey is a private key as an operator has it, and the record that they publish
// (RFC 6376, 3.6.1; RFC 8463, 4).
type dkimKey struct{ private, record string }

func newKey(t testing.TB, kind string) dkimKey {
	t.Helper()
	var key crypto.Signer
	var err error
	if kind == "ed25519" {
		_, key, err = ed25519.GenerateKey(rand.Reader)
	} else {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	block := &pem.Block{Type: "PRIVATE KEY"}
	if rsaKey, ok := key.(*rsa.PrivateKey); ok && kind == "rsa, PKCS #1" {
		block.Type, block.Bytes = "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)
	} else if block.Bytes, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		t.Fatal(err)
	}
	record := "v=DKIM1; k=ed25519; p="
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		record = "v=DKIM1; k=rsa; p="
		if public, err = x509.MarshalPKIXPublicKey(key.Public()); err != nil {
			t.Fatal(err)
		}
	}
	return dkimKey{string(pem.EncodeToMemory(block)), record + base64.StdEncoding.EncodeToString(public)}
}

func signedRequest(settings []byte, m *sdk.Mail, key dkimKey) sdk.SendRequest {
	request := requestTo(settings, m)
	request.Settings.Secrets = map[string]sdk.Secret{"dkimKey": sdk.NewSecret(key.private)}
	return request
}

// verify holds message against a DNS that has this one record.
func verify(message []byte, record string) (*dkim.Verification, error) {
	found, err := dkim.VerifyWithOptions(bytes.NewReader(message), &dkim.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) {
			if name != "s1._domainkey.acme.example" {
				return nil, fmt.Errorf("asked for %s", name)
			}
			return []string{record}, nil
		},
	})
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%d signatures", len(found))
	}
	return found[0], found[0].Err
}

func TestSignaturesVerify(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Options{UTF8: true})
	for _, kind := range []string{"rsa", "rsa, PKCS #1", "ed25519"} {
		key, other := newKey(t, kind), newKey(t, kind)
		for name, change := range map[string]func(*sdk.Mail){
			"as usual":      func(*sdk.Mail) {},
			"reply address": func(m *sdk.Mail) { m.ReplyTo = sdk.Mailbox{Address: "help@acme.example"} },
			"text only":     func(m *sdk.Mail) { m.HTML, m.Text = "", "no line end" },
			"dots":          func(m *sdk.Mail) { m.Text = ".\n..\n.a\n" },
			"long subject":  func(m *sdk.Mail) { m.Subject = strings.Repeat("Paßwort ", 40) },
			"UTF-8 address": func(m *sdk.Mail) { m.To.Address = "jörg@exämple.com" },
			"inline part": func(m *sdk.Mail) {
				m.Inline = []sdk.Inline{{ContentID: "logo@acme", ContentType: "image/png", Bytes: make([]byte, 1000)}}
			},
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				m := testMail()
				m.MessageID = strings.NewReplacer(" ", ".", ",", "", "#", "").Replace(kind+"."+name) + "@acme.example"
				change(m)
				if _, err := newProvider(t).Send(t.Context(), signedRequest(server.Settings(dkimSettings), m, key)); err != nil {
					t.Fatalf("Send: %v (%s)", err, sdk.FailureOf(err).Private)
				}
				raw := find(t, server, m.MessageID)
				got, err := verify(raw, key.record)
				if err != nil {
					t.Fatalf("verify: %v\n%s", err, raw)
				}
				if diff := cmp.Diff(signedFields, got.HeaderKeys); diff != "" || got.Domain != "acme.example" {
					t.Errorf("domain %s, fields (-want +got):\n%s", got.Domain, diff)
				}
				if !bytes.Contains(raw, []byte("c=relaxed/relaxed;")) {
					t.Error("not relaxed/relaxed")
				}
				// The control: another key does not verify.
				if _, err := verify(raw, other.record); err == nil {
					t.Error("another key verifies it")
				}
			})
		}
	}
}

// Each change is one that the signature is there to tell.
func TestASignatureCoversWhatIsRead(t *testing.T) {
	t.Parallel()
	key := newKey(t, "ed25519")
	s, err := newSigner("acme.example", "s1", key.private)
	if err != nil {
		t.Fatal(err)
	}
	m := testMail()
	m.Text, m.HTML = "Hello Ada\n", ""
	built, err := build(m, s)
	if err != nil {
		t.Fatal(err)
	}
	message := bytes.TrimSuffix(built.data, []byte(".\r\n"))
	for _, c := range []struct {
		name, from, to string
		breaks         bool
	}{
		{"nothing", "Hello", "Hello", false},
		{"a field that is not signed", "DKIM-Signature:", "X-Spam: no\r\nDKIM-Signature:", false},
		{"folded white space", "Subject: Choose a", "Subject:  Choose  a", false},
		{"subject", "Subject: Choose", "Subject: Refuse", true},
		{"sender", `"Acme"`, `"Evil"`, true},
		{"recipient", "ada@example.com", "eve@example.com", true},
		{"message id", "0197c0de@", "0197c0df@", true},
		{"body", "Hello Ada", "Hello Eve", true},
		{"a reply address", "Subject:", "Reply-To: <eve@evil.example>\r\nSubject:", true},
		{"content type", "text/plain", "text/html", true},
	} {
		changed := bytes.Replace(message, []byte(c.from), []byte(c.to), 1)
		if c.from != c.to && bytes.Equal(changed, message) {
			t.Fatalf("%s: %q is not in the message", c.name, c.from)
		}
		if _, err := verify(changed, key.record); (err != nil) != c.breaks {
			t.Errorf("%s: verify = %v", c.name, err)
		}
	}
}

func TestWithoutDKIMSettingsNothingIsSigned(t *testing.T) {
	t.Parallel()
	built, err := build(testMail(), nil)
	if err != nil || bytes.Contains(built.data, []byte("DKIM-Signature")) {
		t.Errorf("build = %v, %s", err, built.data)
	}
}

func TestDKIMSettingsAreRefusedByName(t *testing.T) {
	t.Parallel()
	good := newKey(t, "ed25519").private
	for _, c := range []struct{ name, values, key, want string }{
		{"key alone", ``, good, "dkimDomain is missing"},
		{"no selector", `,"dkimDomain":"acme.example"`, good, "dkimSelector is missing"},
		{"no domain", `,"dkimSelector":"s1"`, good, "dkimDomain is missing"},
		{"no key", dkimSettings, "", "dkimKey is missing"},
		{"not a domain", `,"dkimDomain":"acme example","dkimSelector":"s1"`, good, "dkimDomain must"},
		{"not a selector", `,"dkimDomain":"acme.example","dkimSelector":"s1;t=y"`, good, "dkimSelector must"},
		{"not PEM", dkimSettings, "canary", "dkimKey must"},
		{"not a key", dkimSettings, "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n", "dkimKey must"},
		{"a key for something else", dkimSettings, otherKey(t), "dkimKey must"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			settings := sdk.Settings{Values: []byte(`{"host":"a.example"` + c.values + `}`)}
			if c.key != "" {
				settings.Secrets = map[string]sdk.Secret{"dkimKey": sdk.NewSecret(c.key)}
			}
			_, err := parseSettings(settings)
			if kindOf(err) != sdk.Misconfigured || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if text := err.Error() + sdk.FailureOf(err).Private; strings.Contains(text, "canary") || strings.Contains(text, "BEGIN") {
				t.Errorf("the error quotes the key: %s", text)
			}
		})
	}
	if _, err := parseSettings(sdk.Settings{
		Values:  []byte(`{"host":"a.example"` + dkimSettings + `}`),
		Secrets: map[string]sdk.Secret{"dkimKey": sdk.NewSecret(good)},
	}); err != nil {
		t.Errorf("the control, usable settings: %v", err)
	}
}

// otherKey is a key of a kind that DKIM does not know.
func otherKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
