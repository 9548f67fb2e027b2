package observability

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Filter is the last line of defence of a log: it redacts in each line what
// should never have come so far. A hit means that a rule further up was broken,
// and is counted.
//
// It understands the lines of slog's JSON and text handlers: quoted strings are
// taken out of their quotes, redacted and put back, so that an escape cannot hide
// a pattern and JSON stays JSON. Control characters that JSON lets through (DEL and
// C1) are escaped. Every Write must be one or more whole lines.
type Filter struct {
	out io.Writer
	hit func(n int)
}

// NewFilter gives a Filter in front of out; hit may be nil. Safe for many
// goroutines when out is.
func NewFilter(out io.Writer, hit func(n int)) *Filter {
	if hit == nil {
		hit = func(int) {}
	}
	return &Filter{out: out, hit: hit}
}

// Write gives the number of bytes taken, which are not those written.
func (f *Filter) Write(line []byte) (int, error) {
	clean := line
	if suspicious(line) {
		var hits int
		if clean, hits = redactLine(line); hits > 0 {
			f.hit(hits)
		}
	}
	if _, err := f.out.Write(clean); err != nil {
		return 0, fmt.Errorf("write log line: %w", err)
	}
	return len(line), nil
}

// redactLine redacts quoted strings and what lies between them. A string after a
// key such as "Authorization" is redacted whatever it is.
func redactLine(line []byte) (clean []byte, hits int) {
	var out strings.Builder
	rest := string(line)
	secret := false // the strings that follow belong to such a key
	for rest != "" {
		start := strings.IndexByte(rest, '"')
		if start < 0 {
			start = len(rest)
		}
		bare, n := redactAll(rest[:start])
		hits += n
		out.WriteString(bare)
		if rest = rest[start:]; rest == "" {
			break
		}
		length := quotedLength(rest)
		quoted, after := rest[:length], rest[length:]
		text, ok := unquote(quoted)
		switch key := strings.HasPrefix(after, ":"); {
		case key:
			secret = secretKey(text)
		case secretAssignment(bare):
			secret = true
		case strings.Contains(bare, "="):
			secret = false
		}
		if secret && !strings.HasPrefix(after, ":") && text != "" && text != redacted {
			text, n, ok = redacted, 1, true
		} else {
			text, n = redactAll(text)
		}
		hits += n
		if n > 0 || !ok {
			quoted = quote(text)
		}
		out.WriteString(quoted)
		rest = after
	}
	return escapeControls([]byte(out.String())), hits
}

// quotedLength is the length of the quoted string that text begins with, or of
// all of text when it does not end.
func quotedLength(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// unquote reads a string of the JSON handler or of the text handler. What is
// neither is given as it is.
func unquote(quoted string) (text string, ok bool) {
	if json.Unmarshal([]byte(quoted), &text) == nil {
		return text, true
	}
	if text, err := strconv.Unquote(quoted); err == nil {
		return text, true
	}
	return strings.Trim(quoted, `"`), false
}

func quote(text string) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(text) != nil {
		return `"` + redacted + `"`
	}
	return strings.TrimSuffix(out.String(), "\n")
}

func secretKey(key string) bool {
	switch strings.ToLower(key) {
	case "authorization", "proxy-authorization", "cookie", "set-cookie":
		return true
	}
	return false
}

// secretAssignment says whether bare text ends in a secret key of the text handler.
func secretAssignment(bare string) bool {
	if !strings.HasSuffix(bare, "=") {
		return false
	}
	key := bare[strings.LastIndexAny(bare, " \n")+1:]
	return secretKey(strings.TrimSuffix(key, "="))
}

// escapeControls writes DEL and the C1 controls as JSON escapes: a terminal that
// shows the log must not obey them.
func escapeControls(line []byte) []byte {
	if !bytes.ContainsFunc(line, isControl) {
		return line
	}
	var out bytes.Buffer
	for _, r := range string(line) {
		if isControl(r) {
			fmt.Fprintf(&out, `\u%04x`, r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.Bytes()
}

func isControl(r rune) bool { return r >= 0x7f && r < 0xa0 }
