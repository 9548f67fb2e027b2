package core

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/passmend/passmend/tenants"
)

// SigningString is what a signature of the Keygen kind is over: four lines without a
// final line feed (contract.md, E). host is as the receiver sees it in Host
// (contract.md, R14); target is the path with its query, as it is sent.
func SigningString(method, target, host, date, digest string) string {
	return "(request-target): " + method + " " + target + "\nhost: " + host + "\ndate: " + date + "\ndigest: " + digest
}

// SignatureHeader is the value that carries a signature of the Keygen kind. Its parts
// are joined by comma and space and the signature is standard base64, because known
// verifiers take it apart by hand.
func SignatureHeader(account tenants.AccountID, algorithm SignatureAlgorithm, signature []byte) string {
	return fmt.Sprintf(`keyid="%s", algorithm="%s", signature="%s", headers="(request-target) host date digest"`,
		account, algorithm, base64.StdEncoding.EncodeToString(signature))
}

// BodyDigest is a body's Digest header (RFC 3230; contract.md, E).
func BodyDigest(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha-256=" + base64.StdEncoding.EncodeToString(sum[:])
}
