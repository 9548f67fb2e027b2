package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
)

// header is one that every answer carries. Its values are shared by all answers and
// must not be changed; setting or adding one makes a new list.
type header struct {
	name   string // in canonical form
	values []string
}

// standardHeaders are what every answer under /v1 carries (contract.md, C9 and C11).
func standardHeaders(c Config) []header {
	mode := "multiplayer"
	if c.Account != "" {
		mode = "singleplayer"
	}
	headers := []header{
		{"Cache-Control", []string{"no-transform, no-store, max-age=0"}},
		{"Content-Security-Policy", []string{"default-src 'none'"}},
		{"X-Content-Type-Options", []string{"nosniff"}},
		{"Access-Control-Allow-Origin", []string{"*"}},
		{"Access-Control-Expose-Headers", []string{strings.Join(exposed, ", ")}},
		{"Keygen-Edition", []string{"CE"}},
		{"Keygen-Mode", []string{mode}},
	}
	if c.Revision != "" {
		headers = append(headers, header{"Keygen-Revision", []string{c.Revision}})
	}
	if c.BaseURL.Scheme == "https" {
		headers = append(headers, header{"Strict-Transport-Security", []string{"max-age=63072000"}})
	}
	return headers
}

func (c *call) setHeaders() {
	headers := c.Writer.Header()
	for _, h := range c.api.headers {
		headers[h.name] = h.values
	}
}

// idHeader sends an identifier; up to version 1.3 the name ends in -Id
// (contract.md, C9).
func (c *call) idHeader(name, id string) {
	if c.version <= "1.3" {
		name += "-Id"
	}
	c.Header(name, id)
}

// answer is what a call comes to, without the headers of every answer.
type answer struct {
	Status int
	Type   string // media type with its parameters; empty: there is no body
	Body   []byte
}

// write answers with a document in the media type that the client prefers.
func (c *call) write(status int, document any) error {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		return err
	}
	body.Truncate(body.Len() - 1) // the encoder's line feed
	c.send(answer{status, c.mediaType + "; charset=utf-8", body.Bytes()})
	return nil
}

// empty answers with a status and nothing else: no body, no Content-Type
// (contract.md, R1).
func (c *call) empty(status int) { c.send(answer{Status: status}) }

// send puts an answer on the wire, or where it is kept back.
func (c *call) send(a answer) {
	if c.held != nil {
		*c.held = a
		return
	}
	c.attest(a.Body)
	if a.Type != "" {
		c.Header("Content-Type", a.Type)
	}
	if a.Status != http.StatusNoContent {
		c.Header("Content-Length", strconv.Itoa(len(a.Body)))
	}
	c.Status(a.Status)
	c.Writer.WriteHeaderNow()
	if len(a.Body) > 0 {
		_, _ = c.Writer.Write(a.Body) // the client may have gone
	}
}

// emptyDigest is the digest of no body, which most answers to this service are.
var emptyDigest = digestOf(nil)

func digestOf(body []byte) []string {
	sum := sha256.Sum256(body)
	return []string{"sha-256=" + base64.StdEncoding.EncodeToString(sum[:])}
}

// attest says when the answer was made and what it holds, each under both of its
// names, and signs for it if the client asked for that (contract.md, C9 and E).
func (c *call) attest(body []byte) {
	date := []string{c.api.c.Now().UTC().Format(http.TimeFormat)}
	digest := emptyDigest
	if len(body) > 0 {
		digest = digestOf(body)
	}
	headers := c.Writer.Header()
	headers["Date"], headers["Keygen-Date"] = date, date
	headers["Digest"], headers["Keygen-Digest"] = digest, digest
	if c.signs == "" || c.account.ID == "" {
		return
	}
	signature, err := c.signature(date[0], digest[0])
	if err != nil {
		// The answer stands: what it tells has been done.
		c.api.log.LogAttrs(c.Request.Context(), slog.LevelError, "answer not signed",
			slog.String("request_id", c.id), slog.Any("error", err))
		return
	}
	c.Header("Keygen-Signature", signature)
}
