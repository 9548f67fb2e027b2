package observability

import (
	"regexp"
	"strings"
)

const redacted = "[redacted]"

// rule is one pattern that has no place in a log line.
type rule struct {
	pattern *regexp.Regexp
	// replace gives what stands for a match; ok is false when it is no secret.
	replace func(match string) (with string, ok bool)
}

// The patterns of operability.md, Log rules. They are compiled once per process
// and never changed.
var rules = []rule{
	// userinfo of a URL, postgres://user:password@ above all
	{regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>@]+(?:@[^\s"'<>@]+)*@`), func(m string) (string, bool) {
		scheme, _, _ := strings.Cut(m, "://")
		return scheme + "://" + redacted + "@", !strings.HasSuffix(m, redacted+"@")
	}},
	// Authorization: and Cookie: with their values; prose that names them is kept.
	{regexp.MustCompile(`(?i)authorization["']?\s*[:=]\s*["'\[]*[A-Za-z0-9][^"'\r\n]*`), keepName},
	{regexp.MustCompile(`(?i)cookie["']?(?:=|\s*:\s*["'\[]*[A-Za-z0-9_.!#$%&*+^|~-]+=)[^\s"'][^"'\r\n]*`), keepName},
	// API tokens
	{regexp.MustCompile(`(?:operator|admin|user|read|dev|sales|spprt)-[0-9a-f]{64}v3`), whole},
	// webhook signing keys
	{regexp.MustCompile(`wh(?:sec|sk)_[A-Za-z0-9+/=_-]+`), whole},
	// password hashes
	{regexp.MustCompile(`\$argon2[a-z]*\$[^\s"']*`), whole},
	{regexp.MustCompile(`\$2[abxy]?\$[0-9]{2}\$[./A-Za-z0-9]*`), whole},
	// the path of a hosted link; route templates go on with "{" or ":" and are kept, as
	// are the pages that have a name
	{regexp.MustCompile(`/r/[A-Za-z0-9_.~%-]+`), func(m string) (string, bool) {
		return "/r/" + redacted, m != "/r/done" && m != "/r/dispute" && m != "/r/disputed"
	}},
	// reset tokens: a run of exactly 43 that begins with version byte 1
	{regexp.MustCompile(`[A-Za-z0-9_-]{43,}`), func(m string) (string, bool) { return redacted, looksLikeToken(m) }},
	// addresses, also percent-encoded
	{regexp.MustCompile(`(?:"[^"\s]+"|[^\s"<>(),:;\\\[\]@]+)(?:@|%40)(?:\[[0-9A-Fa-f:.A-Za-z]+\]|[\pL\pN][\pL\pN.-]*)`), func(m string) (string, bool) {
		return redacted, !moduleVersion.MatchString(m)
	}},
}

// moduleVersion is how a stack trace names a Go module: path@v1.2.3.
var moduleVersion = regexp.MustCompile(`@v[0-9]+\.[0-9]+\.[0-9]+(?:-[0-9a-z.]*[0-9]{14}-[0-9a-f]{12}|-(?:alpha|beta|rc)[.0-9]*)?$`)

func whole(string) (string, bool) { return redacted, true }

// keepName redacts the value of "name: value" or "name=value".
func keepName(match string) (string, bool) {
	name := match[:strings.IndexAny(match, ":=")+1]
	value := strings.TrimLeft(match[len(name):], ` "'`)
	return name + redacted, !strings.HasPrefix(value, redacted)
}

func looksLikeToken(run string) bool {
	return len(run) == 43 && run[0] == 'A' && ('Q' <= run[1] && run[1] <= 'Z' || 'a' <= run[1] && run[1] <= 'f')
}

// Redact replaces what must not leave the process and says how often.
func Redact(text string) (clean string, hits int) {
	if !suspicious([]byte(text)) {
		return text, 0
	}
	return redactAll(text)
}

func redactAll(text string) (clean string, hits int) {
	for _, r := range rules {
		text = r.pattern.ReplaceAllStringFunc(text, func(match string) string {
			with, ok := r.replace(match)
			if !ok {
				return match
			}
			hits++
			return with
		})
	}
	return text, hits
}

// suspicious is the cheap look at every line: false means that no rule matches.
// It reads each byte once and looks closer only at the few that begin a pattern.
func suspicious(line []byte) bool {
	run := 0
	for i, b := range line {
		if wordByte[b] {
			if run++; run >= 43 {
				return true
			}
		} else {
			run = 0
		}
		switch b {
		case '@':
			return true
		case '%':
			if hasAt(line, i+1, "40") {
				return true
			}
		case '/':
			if hasAt(line, i+1, "r/") && !hasAt(line, i+3, "{") && !hasAt(line, i+3, ":") {
				return true
			}
		case '$':
			if hasAt(line, i+1, "argon2") || hasAt(line, i+1, "2") {
				return true
			}
		case '_':
			if hasAt(line, i-5, "whsec") || hasAt(line, i-4, "whsk") {
				return true
			}
		case 'z', 'Z':
			if hasAt(line, i-7, "authorization") {
				return true
			}
		case 'k', 'K':
			if hasAt(line, i-3, "cookie") {
				return true
			}
		case 'u': // an escape may hide any of these
			if hasAt(line, i-1, `\u00`) {
				return true
			}
		case 0x7f: // see escapeControls
			return true
		case 0xc2:
			if i+1 < len(line) && line[i+1] < 0xa0 {
				return true
			}
		}
	}
	return false
}

// wordByte is the alphabet of tokens.
var wordByte = func() (table [256]bool) {
	for b := range 256 {
		c := byte(b)
		table[b] = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
	}
	return table
}()

// hasAt says whether word, in lower case, stands at offset i in any letter case.
func hasAt(line []byte, i int, word string) bool {
	if i < 0 || i+len(word) > len(line) {
		return false
	}
	for j := range len(word) {
		b := line[i+j]
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		if b != word[j] {
			return false
		}
	}
	return true
}
