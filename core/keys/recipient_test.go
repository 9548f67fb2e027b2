package keys_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/keys"
)

// opened reads what was sealed, with the identity alone.
func opened(t *testing.T, identity age.Identity, sealed string) (string, error) {
	t.Helper()
	reader, err := age.Decrypt(armor.NewReader(strings.NewReader(sealed)), identity)
	if err != nil {
		return "", err
	}
	plain, err := io.ReadAll(reader)
	return string(plain), err
}

func TestASealedTokenOpensWithItsIdentityAlone(t *testing.T) {
	t.Parallel()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	recipients := keys.Recipients{}
	canonical, err := recipients.Recipient(" " + strings.ToUpper(identity.Recipient().String()) + "\n")
	if err != nil || canonical != identity.Recipient().String() {
		t.Fatalf("canonical form is %q, %v", canonical, err)
	}
	const token = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA"
	first, err := recipients.SealTo(canonical, []byte(token))
	if err != nil {
		t.Fatal(err)
	}
	second, err := recipients.SealTo(canonical, []byte(token))
	if err != nil {
		t.Fatal(err)
	}
	if first == second || strings.Contains(first, token) {
		t.Error("the sealed form shows what is in it, or that it is the same")
	}
	if got, err := opened(t, identity, first); err != nil || got != token {
		t.Errorf("opened as %q, %v", got, err)
	}
	if got, err := opened(t, other, first); err == nil {
		t.Errorf("another identity opens it as %q", got)
	}
}

func TestARecipientIsAnAgeKeyOrBase64OfTheSameKey(t *testing.T) {
	t.Parallel()
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := private.PublicKey().Bytes()
	recipients := keys.Recipients{}
	want, err := recipients.Recipient(base64.StdEncoding.EncodeToString(public))
	if err != nil || !strings.HasPrefix(want, "age1") {
		t.Fatalf("%q, %v", want, err)
	}
	for _, typed := range []string{want, base64.RawURLEncoding.EncodeToString(public), base64.URLEncoding.EncodeToString(public)} {
		if got, err := recipients.Recipient(typed); err != nil || got != want {
			t.Errorf("%q is %q, %v", typed, got, err)
		}
	}
	for name, typed := range map[string]string{
		"nothing":          "",
		"a private key":    "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ",
		"a wrong checksum": want[:len(want)-1] + map[bool]string{true: "p", false: "q"}[strings.HasSuffix(want, "q")],
		"31 bytes":         base64.StdEncoding.EncodeToString(public[:31]),
		"33 bytes":         base64.StdEncoding.EncodeToString(append(bytes.Clone(public), 1)),
		"the point zero":   base64.StdEncoding.EncodeToString(make([]byte, 32)),
		"a point of order 8": base64.StdEncoding.EncodeToString([]byte{
			0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
			0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
		}),
		"an SSH key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN",
		"two keys":   want + " " + want,
	} {
		if got, err := recipients.Recipient(typed); !errors.Is(err, core.ErrUnknownRecipient) || got != "" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
