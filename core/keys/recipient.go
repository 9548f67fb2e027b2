package keys

import (
	"bytes"
	"crypto/ecdh"
	"encoding/base64"
	"fmt"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"filippo.io/age/plugin"

	"github.com/passmend/passmend/core"
)

// Recipients implements core.Recipients by age (age-encryption.org/v1), with
// recipients of X25519. A key in base64 is the same key as its age1 form.
type Recipients struct{}

var _ core.Recipients = Recipients{}

// Recipient implements core.Recipients. A key that nothing can be encrypted to is
// found here and not when the first token waits for it: one of low order gives the
// same secret with everybody (RFC 7748, 6.1).
func (r Recipients) Recipient(typed string) (string, error) {
	canonical := strings.ToLower(strings.TrimSpace(typed))
	if !strings.HasPrefix(canonical, "age1") {
		raw, err := decodeKey(strings.TrimSpace(typed))
		if err != nil {
			return "", core.ErrUnknownRecipient
		}
		key, err := ecdh.X25519().NewPublicKey(raw)
		if err != nil {
			return "", core.ErrUnknownRecipient
		}
		if canonical, err = plugin.EncodeX25519Recipient(key); err != nil {
			return "", core.ErrUnknownRecipient
		}
	}
	if _, err := r.SealTo(canonical, nil); err != nil {
		return "", core.ErrUnknownRecipient
	}
	return canonical, nil
}

// decodeKey takes base64 of either alphabet, with its padding or without.
func decodeKey(text string) ([]byte, error) {
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	return base64.RawStdEncoding.Strict().DecodeString(text)
}

// SealTo implements core.Recipients: an age file in its armor.
func (Recipients) SealTo(recipient string, plaintext []byte) (string, error) {
	to, err := age.ParseX25519Recipient(recipient)
	if err != nil {
		return "", fmt.Errorf("recipient: %w", core.ErrUnknownRecipient) // age's own text quotes the key
	}
	var sealed bytes.Buffer
	armored := armor.NewWriter(&sealed)
	writer, err := age.Encrypt(armored, to)
	if err != nil {
		return "", fmt.Errorf("encrypt: %w", err)
	}
	if _, err := writer.Write(plaintext); err != nil {
		return "", fmt.Errorf("encrypt: %w", err)
	}
	if err := writer.Close(); err != nil {
		return "", fmt.Errorf("encrypt: %w", err)
	}
	if err := armored.Close(); err != nil {
		return "", fmt.Errorf("encrypt: %w", err)
	}
	return sealed.String(), nil
}
