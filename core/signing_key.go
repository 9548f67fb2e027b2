package core

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
)

// SigningKeyKind is a kind of key that every account has one of.
type SigningKeyKind string

// The closed list of kinds, each with what is sealed of it.
const (
	SigningKeyEd25519 SigningKeyKind = "ed25519" // the seed, 32 bytes (RFC 8032, 5.1.5)
	SigningKeyRSA2048 SigningKeyKind = "rsa2048" // PKCS #8
	SigningKeyECDSA   SigningKeyKind = "ecdsa"   // on P-256, PKCS #8
)

const rsaBits = 2048

var errSigningKey = errors.New("not a private key of its kind")

// generate gives a new private key in its sealed form, before sealing.
func (k SigningKeyKind) generate() ([]byte, error) {
	switch k {
	case SigningKeyEd25519:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		return private.Seed(), nil
	case SigningKeyRSA2048:
		private, err := rsa.GenerateKey(rand.Reader, rsaBits)
		if err != nil {
			return nil, err
		}
		return x509.MarshalPKCS8PrivateKey(private)
	case SigningKeyECDSA:
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		return x509.MarshalPKCS8PrivateKey(private)
	default:
		return nil, errSigningKey
	}
}

// parse reads what generate gave.
func (k SigningKeyKind) parse(private []byte) (crypto.Signer, error) {
	if k == SigningKeyEd25519 {
		if len(private) != ed25519.SeedSize {
			return nil, errSigningKey
		}
		return ed25519.NewKeyFromSeed(private), nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(private)
	if err != nil {
		return nil, errSigningKey // its own text may quote the key
	}
	switch key := parsed.(type) {
	case *rsa.PrivateKey:
		if k == SigningKeyRSA2048 {
			return key, nil
		}
	case *ecdsa.PrivateKey:
		if k == SigningKeyECDSA && key.Curve == elliptic.P256() {
			return key, nil
		}
	}
	return nil, errSigningKey
}
