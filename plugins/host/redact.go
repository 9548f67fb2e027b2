package host

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

const (
	redacted = "[redacted]"
	// linger is how long a value is still replaced after its call: a line may be
	// read later than the reply.
	linger = 2 * time.Second
	// minValue is the shortest value, in bytes, that is looked for: a shorter one
	// is in every other word.
	minValue = 3
	// minPiece is the shortest part of a link, in bytes, that is looked for alone:
	// the token is one of them.
	minPiece = 20
	// maxTexts bounds what is looked for of one event.
	maxTexts = 100
)

// redactor knows the values of the calls in flight to one plugin and takes them
// out of text, as they are and in the usual encodings. Values that a plugin cuts
// up or encrypts pass: it is a second line of defence.
type redactor struct {
	mu     sync.Mutex
	held   map[string]*heldValue
	pruned time.Time
}

type heldValue struct {
	calls int
	until time.Time // when calls is 0
}

func newRedactor() *redactor { return &redactor{held: make(map[string]*heldValue)} }

// hold adds values until release is called, and a moment longer.
func (r *redactor) hold(values []string) (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, value := range values {
		held := r.held[value]
		if held == nil {
			held = &heldValue{}
			r.held[value] = held
		}
		held.calls++
	}
	return func() { r.release(values) }
}

func (r *redactor) release(values []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for _, value := range values {
		held := r.held[value]
		held.calls--
		held.until = now.Add(linger)
	}
	if now.Sub(r.pruned) > linger {
		r.prune(now)
	}
}

func (r *redactor) prune(now time.Time) {
	r.pruned = now
	for value, held := range r.held {
		if held.calls == 0 && now.After(held.until) {
			delete(r.held, value)
		}
	}
}

// scrub takes the held values out of text. cut tells that text ends in the middle
// of a line: then its end may be the beginning of a value, and goes too.
func (r *redactor) scrub(text string, cut bool) string {
	r.mu.Lock()
	r.prune(time.Now())
	values := make([]string, 0, len(r.held))
	for value := range r.held {
		values = append(values, value)
	}
	r.mu.Unlock()
	return scrub(text, values, cut)
}

func scrub(text string, values []string, cut bool) string {
	if len(values) == 0 {
		return text
	}
	var forms []string
	for _, value := range values {
		forms = append(forms, encodings(value)...)
	}
	// Longest first: a link goes whole before its pieces do.
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	for _, form := range forms {
		text = strings.ReplaceAll(text, form, redacted)
	}
	if cut {
		text = text[:max(0, len(text)-len(forms[0]))]
	}
	return text
}

// encodings gives value and its other appearances, without repeats.
func encodings(value string) []string {
	bytes := []byte(value)
	forms := []string{
		value,
		strings.ToLower(value),
		strings.ToUpper(value),
		url.QueryEscape(value),
		url.PathEscape(value),
		html.EscapeString(value),
		strings.ReplaceAll(value, "=", "=3D"),
		strings.ReplaceAll(value, "&", `\u0026`),
		base64.RawStdEncoding.EncodeToString(bytes),
		base64.RawURLEncoding.EncodeToString(bytes),
		hex.EncodeToString(bytes),
		strings.ToUpper(hex.EncodeToString(bytes)),
	}
	// Wherever the value stands in what was encoded: the characters that are its alone.
	for offset := range 3 {
		shifted := append(make([]byte, offset), bytes...)
		for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if own := alphabet.EncodeToString(shifted)[(offset*8+5)/6 : len(shifted)*8/6]; len(own) >= minValue {
				forms = append(forms, own)
			}
		}
	}
	slices.Sort(forms)
	return slices.Compact(forms)
}

// secretsOf gives what must not be told of settings.
func secretsOf(settings sdk.Settings) []string {
	var values []string
	for _, secret := range settings.Secrets {
		values = append(values, secret.Reveal())
	}
	return long(values)
}

// valuesOf gives what must not be told of a request: its secrets; of a mail its link with
// the token in it, and its recipient; of an event what may be a token or an address in it.
func valuesOf(request sdk.SendRequest) []string {
	values := secretsOf(request.Settings)
	if request.Event != nil {
		return append(values, textsOf(request.Event.Body)...)
	}
	if request.Mail == nil {
		return values
	}
	link := request.Mail.Facts.Link.Reveal()
	values = append(values, link, request.Mail.To.Address)
	for _, piece := range strings.FieldsFunc(link, func(r rune) bool {
		return strings.ContainsRune("/?#&=.:", r)
	}) {
		if len(piece) >= minPiece {
			values = append(values, piece)
		}
	}
	return long(values)
}

// textsOf gives the strings of a JSON document that are as long as a token or hold an
// address, also those of a document that is a string in it: at most maxTexts. What is
// no JSON has none.
func textsOf(document []byte) (texts []string) {
	var root any
	if json.Unmarshal(document, &root) != nil {
		return nil
	}
	open := []any{root}
	for len(open) > 0 && len(texts) < maxTexts {
		next := open[len(open)-1]
		open = open[:len(open)-1]
		switch value := next.(type) {
		case map[string]any:
			open = slices.AppendSeq(open, maps.Values(value))
		case []any:
			open = append(open, value...)
		case string:
			if strings.HasPrefix(value, "{") {
				texts = append(texts, textsOf([]byte(value))...)
			} else if len(value) >= minPiece || strings.Contains(value, "@") {
				texts = append(texts, value)
			}
		}
	}
	return long(texts)
}

func long(values []string) []string {
	return slices.DeleteFunc(values, func(value string) bool { return len(value) < minValue })
}
