package httpapi

import (
	"context"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"

	"github.com/passmend/passmend/core"
)

// signatureWish is what Keygen-Accept-Signature may hold: key="value" pairs.
var signatureWish = regexp.MustCompile(`^\s*[a-z]+="[^"]*"\s*(,\s*[a-z]+="[^"]*"\s*)*$`)

var signatureAlgorithm = regexp.MustCompile(`(?:^|,)\s*algorithm="([^"]*)"`)

// readHeaders takes what the client wants to be signed for, and refuses headers that
// ask for what cannot be given.
func (a *api) readHeaders(c *call) error {
	if wish := c.Request.Header.Get("Keygen-Accept-Signature"); wish != "" {
		algorithm, ok := wantedSignature(wish)
		if !ok {
			return errSignature
		}
		c.signs = algorithm
	}
	if c.Request.Header.Get("Keygen-Environment") != "" {
		return errEnvironment
	}
	return nil
}

// wantedSignature reads an algorithm out of a wish; without one it is the default.
func wantedSignature(wish string) (core.SignatureAlgorithm, bool) {
	if !signatureWish.MatchString(wish) {
		return "", false
	}
	found := signatureAlgorithm.FindStringSubmatch(wish)
	if found == nil {
		return core.SignatureDefault, !strings.Contains(wish, "algorithm=")
	}
	algorithm := core.SignatureAlgorithm(found[1])
	return algorithm, algorithm.Valid()
}

// signature is the value of Keygen-Signature (contract.md, E): over the request's
// target and host as the client sent them (R14), and the answer's date and digest.
func (c *call) signature(date, digest string) (string, error) {
	target := c.Request.RequestURI // as it was sent: formatSuffix changes the URL
	if !strings.HasPrefix(target, "/") {
		target = c.Request.URL.RequestURI()
	}
	message := "(request-target): " + strings.ToLower(c.Request.Method) + " " + target +
		"\nhost: " + c.Request.Host + "\ndate: " + date + "\ndigest: " + digest
	// The answer is due even when the client's patience, or the call's time, is over.
	raw, err := c.api.c.Signatures.Sign(context.WithoutCancel(c.Request.Context()), c.account.ID, c.signs, []byte(message))
	if err != nil {
		return "", fmt.Errorf("sign answer: %w", err)
	}
	return fmt.Sprintf(`keyid="%s", algorithm="%s", signature="%s", headers="(request-target) host date digest"`,
		c.account.ID, c.signs, base64.StdEncoding.EncodeToString(raw)), nil
}
