package smtp

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/passmend/passmend/plugins/sdk"
)

// signedFields are the fields that the signature covers, there or not: one that is
// not there cannot be added later either (RFC 6376, 5.4.2).
var signedFields = []string{
	"From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "Reply-To",
}

// Sizes of RSA keys in bits: what verifiers must take (RFC 8301, 3.2).
const (
	minRSABits = 1024
	maxRSABits = 4096
)

// signer signs messages (RFC 6376).
type signer struct{ options dkim.SignOptions }

// newSigner reads the three settings, which come together or not at all: without
// them it is nil. The key is PEM: PKCS #8, or PKCS #1 for RSA.
func newSigner(domain, selector, key string) (*signer, error) {
	switch {
	case domain == "" && selector == "" && key == "":
		return nil, nil
	case domain == "":
		return nil, misconfigured("dkimDomain", "is missing, but other DKIM settings are there")
	case selector == "":
		return nil, misconfigured("dkimSelector", "is missing, but other DKIM settings are there")
	case key == "":
		return nil, misconfigured("dkimKey", "is missing, but other DKIM settings are there")
	case !isDomain(domain):
		return nil, misconfigured("dkimDomain", "must be a domain name in its ASCII form")
	case !isDomain(selector):
		return nil, misconfigured("dkimSelector", "must be one or more labels of a domain name")
	}
	private := parseKey([]byte(key))
	if private == nil {
		return nil, misconfigured("dkimKey", "must be an RSA (1024 to 4096 bits) or Ed25519 private key in PEM form")
	}
	return &signer{dkim.SignOptions{
		Domain:                 domain,
		Selector:               selector,
		Signer:                 private,
		Hash:                   crypto.SHA256,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed,
		BodyCanonicalization:   dkim.CanonicalizationRelaxed,
		HeaderKeys:             signedFields,
	}}, nil
}

// parseKey is nil when text is no usable key.
func parseKey(text []byte) crypto.Signer {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil
	}
	var key any
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if key, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			return nil
		}
	}
	switch key := key.(type) {
	case ed25519.PrivateKey:
		return key
	case *rsa.PrivateKey:
		if bits := key.N.BitLen(); bits >= minRSABits && bits <= maxRSABits {
			return key
		}
	}
	return nil
}

// sign gives message with its DKIM-Signature in front.
func (s *signer) sign(message []byte) ([]byte, error) {
	var signed bytes.Buffer
	signed.Grow(len(message) + 1<<10)
	if err := dkim.Sign(&signed, bytes.NewReader(message), &s.options); err != nil {
		return nil, &sdk.Failure{
			Kind:    sdk.Misconfigured,
			Public:  "dkimKey cannot sign",
			Private: "signing: " + causeType(err),
		}
	}
	return signed.Bytes(), nil
}
