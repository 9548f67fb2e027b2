package contract

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// A verifier of Keygen-Signature, written from section E of the contract alone.

var algorithms = []string{"ed25519", "rsa-pss-sha256", "rsa-sha256", "ecdsa-p256"}

// signedRequest is what a signature covers beside date and digest.
type signedRequest struct{ method, target, host string }

// signed is what the signature of an answer covers.
func (a reply) signed(s *suite) signedRequest {
	base, _ := url.Parse(s.URL) // it has been parsed before
	return signedRequest{a.ask.method, s.path(a.ask.path), base.Host}
}

func (q signedRequest) text(header http.Header) string {
	return "(request-target): " + strings.ToLower(q.method) + " " + q.target + "\nhost: " + q.host +
		"\ndate: " + header.Get("Date") + "\ndigest: " + header.Get("Digest")
}

var signatureForm = regexp.MustCompile(`^keyid="([^"]+)", algorithm="([^"]+)", signature="([A-Za-z0-9+/=]+)", headers="\(request-target\) host date digest"$`)

// verifies says what is wrong with the signature in header; "" for nothing.
func (r *run) verifies(algorithm string, covered signedRequest, header http.Header) string {
	value := header.Get("Keygen-Signature")
	found := signatureForm.FindStringSubmatch(value)
	switch {
	case found == nil:
		return "Keygen-Signature is " + quote(value)
	case found[2] != algorithm:
		return "the algorithm is " + found[2] + ", want " + algorithm
	}
	signature, err := base64.StdEncoding.DecodeString(found[3])
	if err != nil {
		return "the signature is no base64: " + err.Error()
	}
	account := r.accountKeys()
	if found[1] != account["id"] {
		return "keyid is " + found[1] + ", want the account's id"
	}
	if err := verify(algorithm, account, []byte(covered.text(header)), signature); err != nil {
		return "the signature does not verify: " + err.Error()
	}
	return ""
}

// accountKeys gives the account's id and public keys, read once.
func (r *run) accountKeys() map[string]string {
	if r.keys == nil {
		answer := r.expect(http.StatusOK, ask{method: http.MethodGet, path: "P", as: r.AdminToken})
		var document struct {
			Data struct{ ID string }
			Meta struct{ Keys map[string]string }
		}
		if err := json.Unmarshal([]byte(answer.body), &document); err != nil || document.Meta.Keys == nil {
			r.fatalf("%s: want meta.keys", answer)
		}
		r.keys = document.Meta.Keys
		r.keys["id"] = document.Data.ID
	}
	return r.keys
}

func verify(algorithm string, keys map[string]string, message, signature []byte) error {
	digest := sha256.Sum256(message)
	switch algorithm {
	case "ed25519":
		// The key is the base64 of its hexadecimal text.
		text, err := base64.StdEncoding.DecodeString(keys["ed25519"])
		if err != nil {
			return err
		}
		key, err := hex.DecodeString(string(text))
		if err != nil || len(key) != ed25519.PublicKeySize {
			return errors.New("the key is no ed25519 key")
		}
		if !ed25519.Verify(key, message, signature) {
			return errors.New("it is another's")
		}
		return nil
	case "ecdsa-p256":
		key, err := publicKey[*ecdsa.PublicKey](keys["ecdsa"])
		if err != nil {
			return err
		}
		if !ecdsa.VerifyASN1(key, digest[:], signature) {
			return errors.New("it is another's")
		}
		return nil
	}
	key, err := publicKey[*rsa.PublicKey](keys["rsa2048"])
	if err != nil {
		return err
	}
	if algorithm == "rsa-sha256" {
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature)
	}
	longest := key.Size() - sha256.Size - 2
	return rsa.VerifyPSS(key, crypto.SHA256, digest[:], signature, &rsa.PSSOptions{SaltLength: longest, Hash: crypto.SHA256})
}

// publicKey reads the base64 of a PEM.
func publicKey[K any](encoded string) (key K, err error) {
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return key, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return key, errors.New("the key is no PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		parsed, err = x509.ParsePKCS1PublicKey(block.Bytes)
	}
	if err != nil {
		return key, err
	}
	key, ok := parsed.(K)
	if !ok {
		return key, errors.New("the key is of another kind")
	}
	return key, nil
}
