package core

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/passmend/passmend/tenants"
)

// SignatureAlgorithm is a way to sign for an account, as it is named on the wire
// (contract.md, E).
type SignatureAlgorithm string

// The closed list of algorithms. SignatureDefault is meant where none is named.
const (
	SignatureEd25519 SignatureAlgorithm = "ed25519"        // RFC 8032, over the message itself
	SignatureRSAPSS  SignatureAlgorithm = "rsa-pss-sha256" // RFC 8017, 8.1: MGF1 with SHA-256, the longest salt
	SignatureRSA     SignatureAlgorithm = "rsa-sha256"     // RFC 8017, 8.2: PKCS #1 v1.5 over SHA-256
	SignatureECDSA   SignatureAlgorithm = "ecdsa-p256"     // over SHA-256, r and s as ASN.1 DER (RFC 3279, 2.2.3)

	SignatureDefault = SignatureEd25519
)

// SignatureAlgorithms is every algorithm, in the order of documentation.
func SignatureAlgorithms() []SignatureAlgorithm {
	return []SignatureAlgorithm{SignatureEd25519, SignatureRSAPSS, SignatureRSA, SignatureECDSA}
}

// Valid says whether the algorithm is one of the list.
func (a SignatureAlgorithm) Valid() bool { return slices.Contains(SignatureAlgorithms(), a) }

// Signatures signs in an account's name; Signer does. What it signs, whoever has the
// account's public keys can verify: webhooks and answers of the API.
type Signatures interface {
	// Sign gives the raw signature of a message. The account's key is made when it is
	// first needed. ErrUnknownAlgorithm; tenants.ErrUnknown when the account is gone.
	Sign(ctx context.Context, account tenants.AccountID, algorithm SignatureAlgorithm, message []byte) (signature []byte, err error)
	// PublicKeys gives what verifies them, and makes the keys that are not there yet.
	// tenants.ErrUnknown.
	PublicKeys(ctx context.Context, account tenants.AccountID) (PublicKeys, error)
}

// PublicKeys are an account's. The wire's spelling is the edge's affair
// (contract.md, A8).
type PublicKeys struct {
	Ed25519 []byte // 32 bytes
	RSA2048 []byte // SubjectPublicKeyInfo as PEM
	ECDSA   []byte // on P-256, SubjectPublicKeyInfo as PEM
}

// ErrUnknownAlgorithm: not one of SignatureAlgorithms.
var ErrUnknownAlgorithm = errors.New("unknown signature algorithm")

// SigningKeyStore keeps accounts' sealed signing keys.
type SigningKeyStore interface {
	// SigningKey answers ErrNotFound.
	SigningKey(ctx context.Context, account tenants.AccountID, kind SigningKeyKind) (SealedSigningKey, error)
	// CreateSigningKey stores a key unless the account has one of the kind, and gives
	// the one that it has then: of many at once one wins, and all get the winner's.
	// tenants.ErrUnknown.
	CreateSigningKey(ctx context.Context, account tenants.AccountID, key SealedSigningKey) (SealedSigningKey, error)
}

// SealedSigningKey is an account's key as its row has it.
type SealedSigningKey struct {
	ID   SigningKeyID
	Kind SigningKeyKind
	// Sealed is the private key under the seal key, with account and id as associated
	// data: what it is inside is the kind's.
	Sealed []byte
}

const (
	// mostSigningKeys bounds the keys that a Signer remembers; beyond it, it begins anew.
	mostSigningKeys = 10_000
	// signingKeyTime bounds the finding or making of one.
	signingKeyTime = 30 * time.Second
)

// SignerConfig is what a Signer works with; every field is needed.
type SignerConfig struct {
	Keys   SigningKeyStore
	Sealer Sealer
	NewID  func() string
}

// Signer is Signatures over a store. It remembers keys in clear: a signature costs
// no read. A key never changes once it is there, so nothing is ever stale; only
// that of an account that is gone is remembered for nothing.
type Signer struct {
	c SignerConfig

	mu    sync.Mutex
	known map[signingKeyName]*knownKey
}

var _ Signatures = (*Signer)(nil)

type signingKeyName struct {
	account tenants.AccountID
	kind    SigningKeyKind
}

// knownKey is a key that is there, or under way until ready is closed.
type knownKey struct {
	ready chan struct{}
	key   crypto.Signer
	err   error
}

// NewSigner gives a Signer; it starts nothing.
func NewSigner(c SignerConfig) *Signer {
	return &Signer{c: c, known: make(map[signingKeyName]*knownKey)}
}

// Sign implements Signatures.
func (s *Signer) Sign(ctx context.Context, account tenants.AccountID, algorithm SignatureAlgorithm, message []byte) ([]byte, error) {
	kind, options, err := algorithm.parameters()
	if err != nil {
		return nil, err
	}
	key, err := s.key(ctx, account, kind)
	if err != nil {
		return nil, err
	}
	signed := message
	if hash := options.HashFunc(); hash == crypto.SHA256 {
		sum := sha256.Sum256(message)
		signed = sum[:]
	}
	signature, err := key.Sign(rand.Reader, signed, options)
	if err != nil {
		return nil, fmt.Errorf("sign with %s: %w", algorithm, err)
	}
	return signature, nil
}

// parameters says which key signs and how.
func (a SignatureAlgorithm) parameters() (SigningKeyKind, crypto.SignerOpts, error) {
	switch a {
	case SignatureEd25519:
		return SigningKeyEd25519, crypto.Hash(0), nil
	case SignatureRSAPSS:
		return SigningKeyRSA2048, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto, Hash: crypto.SHA256}, nil
	case SignatureRSA:
		return SigningKeyRSA2048, crypto.SHA256, nil
	case SignatureECDSA:
		return SigningKeyECDSA, crypto.SHA256, nil
	default:
		return "", nil, fmt.Errorf("%w: %q", ErrUnknownAlgorithm, string(a))
	}
}

// PublicKeys implements Signatures.
func (s *Signer) PublicKeys(ctx context.Context, account tenants.AccountID) (PublicKeys, error) {
	var keys PublicKeys
	for kind, into := range map[SigningKeyKind]*[]byte{
		SigningKeyEd25519: &keys.Ed25519, SigningKeyRSA2048: &keys.RSA2048, SigningKeyECDSA: &keys.ECDSA,
	} {
		key, err := s.key(ctx, account, kind)
		if err != nil {
			return PublicKeys{}, err
		}
		if *into, err = publicForm(key.Public()); err != nil {
			return PublicKeys{}, fmt.Errorf("public %s key: %w", kind, err)
		}
	}
	return keys, nil
}

func publicForm(public crypto.PublicKey) ([]byte, error) {
	if raw, ok := public.(ed25519.PublicKey); ok {
		return raw, nil
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// key gives an account's key. Of callers at once one finds or makes it and the
// others wait; its making does not end with the caller who began it.
func (s *Signer) key(ctx context.Context, account tenants.AccountID, kind SigningKeyKind) (crypto.Signer, error) {
	name := signingKeyName{account, kind}
	s.mu.Lock()
	known, ok := s.known[name]
	if !ok {
		if len(s.known) >= mostSigningKeys {
			clear(s.known)
		}
		known = &knownKey{ready: make(chan struct{})}
		s.known[name] = known
	}
	s.mu.Unlock()
	if !ok {
		s.learn(context.WithoutCancel(ctx), name, known)
	}
	select {
	case <-known.ready:
		return known.key, known.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// learn fills in a key. One that could not be had is tried again by who asks next.
func (s *Signer) learn(ctx context.Context, name signingKeyName, known *knownKey) {
	ctx, cancel := context.WithTimeout(ctx, signingKeyTime)
	defer cancel()
	defer close(known.ready)
	if known.key, known.err = s.findOrMake(ctx, name.account, name.kind); known.err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[name] == known {
		delete(s.known, name)
	}
}

func (s *Signer) findOrMake(ctx context.Context, account tenants.AccountID, kind SigningKeyKind) (crypto.Signer, error) {
	stored, err := s.c.Keys.SigningKey(ctx, account, kind)
	if errors.Is(err, ErrNotFound) {
		stored, err = s.make(ctx, account, kind)
	}
	if err != nil {
		return nil, fmt.Errorf("%s key of account %s: %w", kind, account, err)
	}
	private, err := s.c.Sealer.Open(account, string(stored.ID), stored.Sealed)
	if err != nil {
		return nil, fmt.Errorf("open %s key of account %s: %w", kind, account, err)
	}
	key, err := kind.parse(private)
	if err != nil {
		return nil, fmt.Errorf("read %s key of account %s: %w", kind, account, err)
	}
	return key, nil
}

func (s *Signer) make(ctx context.Context, account tenants.AccountID, kind SigningKeyKind) (SealedSigningKey, error) {
	private, err := kind.generate()
	if err != nil {
		return SealedSigningKey{}, fmt.Errorf("make: %w", err)
	}
	made := SealedSigningKey{ID: SigningKeyID(s.c.NewID()), Kind: kind}
	if made.Sealed, err = s.c.Sealer.Seal(account, string(made.ID), private); err != nil {
		return SealedSigningKey{}, err
	}
	return s.c.Keys.CreateSigningKey(ctx, account, made)
}
