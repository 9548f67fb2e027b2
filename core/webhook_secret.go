package core

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/passmend/passmend/tenants"
)

// webhookSecretPrefix begins a secret of Standard Webhooks; base64 follows.
const webhookSecretPrefix = "whsec_"

// webhookSecretBytes is within the 24 to 64 that the specification asks for.
const webhookSecretBytes = 32

var errWebhookSecret = errors.New("not a webhook secret")

func newWebhookSecret() tenants.Secret {
	raw := make([]byte, webhookSecretBytes)
	_, _ = rand.Read(raw) // never fails (crypto/rand, Go 1.24)
	return tenants.NewSecret(webhookSecretPrefix + base64.StdEncoding.EncodeToString(raw))
}

// standardSignature signs a message by Standard Webhooks, version 1: HMAC-SHA-256
// over its id, the seconds since 1970 and the body.
func standardSignature(secret tenants.Secret, id string, at time.Time, body []byte) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret.Reveal(), webhookSecretPrefix))
	if err != nil {
		return "", errWebhookSecret // the decoder's own text says where
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}
