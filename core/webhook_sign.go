package core

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

// signedHeaders are the headers of one attempt (contract.md, E): those that a Keygen
// receiver verifies by the account's public key, and those of Standard Webhooks by
// the endpoint's secret. Both are stamped with the time of the attempt.
func (d *WebhookDispatcher) signedHeaders(ctx context.Context, call webhookCall, delivery Delivery) ([]sdk.Header, error) {
	endpoint, id := call.endpoint, string(delivery.ID)
	target, err := url.Parse(endpoint.URL)
	if err != nil {
		return nil, fmt.Errorf("url of webhook endpoint %s cannot be read", endpoint.ID)
	}
	at := d.c.Now()
	date, digest := at.UTC().Format(http.TimeFormat), BodyDigest(call.body)
	signature, err := d.keygenSignature(ctx, endpoint, target, date, digest)
	if err != nil {
		return nil, err
	}
	standard, err := d.standardSignatures(call, delivery, at)
	if err != nil {
		return nil, err
	}
	return []sdk.Header{
		{Name: "User-Agent", Value: "Passmend/" + d.c.Version},
		{Name: "Content-Type", Value: "application/json"},
		{Name: "Date", Value: date},
		{Name: "Digest", Value: digest},
		{Name: "Keygen-Date", Value: date},
		{Name: "Keygen-Digest", Value: digest},
		{Name: "Keygen-Signature", Value: signature},
		{Name: "Keygen-Version", Value: endpoint.APIVersion},
		{Name: "Webhook-Id", Value: id},
		{Name: "Webhook-Timestamp", Value: strconv.FormatInt(at.Unix(), 10)},
		{Name: "Webhook-Signature", Value: standard},
	}, nil
}

func (d *WebhookDispatcher) keygenSignature(ctx context.Context, endpoint Endpoint, target *url.URL, date, digest string) (string, error) {
	message := SigningString("post", target.RequestURI(), target.Host, date, digest)
	signature, err := d.c.Signatures.Sign(ctx, endpoint.Account, endpoint.Algorithm, []byte(message))
	if err != nil {
		return "", fmt.Errorf("sign for webhook endpoint %s: %w", endpoint.ID, err)
	}
	return SignatureHeader(endpoint.Account, endpoint.Algorithm, signature), nil
}

// standardSignatures are by the endpoint's secret and, for a while after a rotation,
// by the one before it; a receiver takes either.
func (d *WebhookDispatcher) standardSignatures(call webhookCall, delivery Delivery, at time.Time) (string, error) {
	endpoint := call.endpoint
	secrets := [][]byte{endpoint.SealedSecret}
	if endpoint.SealedFormer != nil && delivery.Now.Before(endpoint.FormerUntil) {
		secrets = append(secrets, endpoint.SealedFormer)
	}
	var joined string
	for _, sealed := range secrets {
		secret, err := d.c.Sealer.Open(endpoint.Account, string(endpoint.ID), sealed)
		if err != nil {
			return "", fmt.Errorf("open secret of webhook endpoint %s: %w", endpoint.ID, err)
		}
		signature, err := standardSignature(tenants.NewSecret(string(secret)), string(delivery.ID), at, call.body)
		if err != nil {
			return "", fmt.Errorf("sign for webhook endpoint %s: %w", endpoint.ID, err)
		}
		if joined != "" {
			joined += " "
		}
		joined += signature
	}
	return joined, nil
}
