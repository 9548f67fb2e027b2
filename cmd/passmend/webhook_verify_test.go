package main

import (
	"bytes"
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
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// The verifier of this file is written from contract.md, section E, and shares no code
// with what signs.

// accountKeys are what GET /v1/accounts/{ACCOUNT} shows (contract.md, A8).
type accountKeys struct{ Ed25519, RSA2048, ECDSA string }

func (h *hooks) keys() accountKeys {
	h.t.Helper()
	got := h.api("GET", "", "")
	var document struct{ Meta struct{ Keys accountKeys } }
	if err := json.Unmarshal([]byte(got.body), &document); err != nil || document.Meta.Keys.Ed25519 == "" {
		h.t.Fatalf("%d %s", got.status, got.body)
	}
	return document.Meta.Keys
}

var signatureForm = regexp.MustCompile(`^keyid="([^"]+)", algorithm="([^"]+)", signature="([^"]+)", headers="\(request-target\) host date digest"$`)

// verifyKeygen holds a call against the account's keys.
func verifyKeygen(keys accountKeys, w told, wantAlgorithm string) error {
	digest := sha256.Sum256([]byte(w.body))
	if sent := w.header.Get("Digest"); sent != "sha-256="+base64.StdEncoding.EncodeToString(digest[:]) || sent != w.header.Get("Keygen-Digest") {
		return fmt.Errorf("digest %q", sent)
	}
	if w.header.Get("Date") != w.header.Get("Keygen-Date") {
		return errors.New("two dates")
	}
	parts := signatureForm.FindStringSubmatch(w.header.Get("Keygen-Signature"))
	if parts == nil || parts[2] != wantAlgorithm {
		return fmt.Errorf("signature header %q", w.header.Get("Keygen-Signature"))
	}
	signature, err := base64.StdEncoding.DecodeString(parts[3])
	if err != nil {
		return err
	}
	signed := strings.Join([]string{
		"(request-target): post " + w.target, "host: " + w.host, "date: " + w.header.Get("Date"), "digest: " + w.header.Get("Digest"),
	}, "\n")
	sum := sha256.Sum256([]byte(signed))
	switch wantAlgorithm {
	case "ed25519":
		text, err := base64.StdEncoding.DecodeString(keys.Ed25519)
		if err != nil {
			return err
		}
		public, err := hex.DecodeString(string(text))
		if err != nil {
			return err
		}
		if !ed25519.Verify(public, []byte(signed), signature) {
			return errors.New("ed25519: does not verify")
		}
		return nil
	case "rsa-pss-sha256":
		public, err := publicKey[*rsa.PublicKey](keys.RSA2048)
		if err != nil {
			return err
		}
		// The longest salt that fits (RFC 8017, 9.1.1): 256 bytes less hash and 2.
		return rsa.VerifyPSS(public, crypto.SHA256, sum[:], signature, &rsa.PSSOptions{SaltLength: 256 - 32 - 2})
	case "rsa-sha256":
		public, err := publicKey[*rsa.PublicKey](keys.RSA2048)
		if err != nil {
			return err
		}
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature)
	case "ecdsa-p256":
		public, err := publicKey[*ecdsa.PublicKey](keys.ECDSA)
		if err != nil {
			return err
		}
		if !ecdsa.VerifyASN1(public, sum[:], signature) {
			return errors.New("ecdsa: does not verify")
		}
		return nil
	}
	return errors.New("unknown algorithm")
}

// publicKey reads base64 of PEM.
func publicKey[K any](encoded string) (key K, err error) {
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return key, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return key, errors.New("no PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return key, err
	}
	key, ok := parsed.(K)
	if !ok {
		return key, fmt.Errorf("a %T", parsed)
	}
	return key, nil
}

// verifyStandard asks the reference library of Standard Webhooks.
func verifyStandard(secret string, w told) error {
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return err
	}
	return verifier.Verify([]byte(w.body), w.header)
}

// node gives the command, or "" on a machine without it.
func node() string {
	path, err := exec.LookPath("node")
	if err != nil {
		return ""
	}
	return path
}

// snippet takes the verifier out of the documentation, so that what is printed there
// is what is tested.
func snippet(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/tenants.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```js\n(import .*?)```").FindSubmatch(page)
	if found == nil {
		t.Fatal("docs/tenants.md shows no verifier in JavaScript")
	}
	return string(found[1])
}

const nodeDriver = `
import { readFileSync } from "node:fs";
import { verifyWebhook } from "./verify.mjs";
const calls = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(calls.map(({ secret, headers, body }) => {
  try { return verifyWebhook(secret, headers, Buffer.from(body, "base64")) === true; } catch { return false; }
})));
`

// verifyInNode asks the verifier of the documentation about many calls at once.
func verifyInNode(t *testing.T, secret string, calls []told) (verdicts []bool) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"verify.mjs": snippet(t), "driver.mjs": nodeDriver} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	type call struct {
		Secret  string            `json:"secret"`
		Headers map[string]string `json:"headers"`
		Body    []byte            `json:"body"`
	}
	list := make([]call, len(calls))
	for i, w := range calls {
		list[i] = call{secret, make(map[string]string), []byte(w.body)}
		for name, values := range w.header {
			list[i].Headers[strings.ToLower(name)] = strings.Join(values, ", ") // as node:http has them
		}
	}
	input, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), node(), filepath.Join(dir, "driver.mjs"))
	command.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, &stderr)
	}
	if err := json.Unmarshal(out, &verdicts); err != nil || len(verdicts) != len(calls) {
		t.Fatalf("node says %s", out)
	}
	return verdicts
}
