package evidence

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// canary is a value that must not be found.
type canary struct {
	name, value string
	// allowed are the columns that design.md gives it, as table.column.
	allowed []string
}

// The encodings of T19.
var encodings = map[string]func(value string) []string{
	"plain": func(v string) []string { return []string{v} },
	"URL":   func(v string) []string { return []string{url.QueryEscape(v), url.PathEscape(v)} },
	"hex":   func(v string) []string { return []string{hex.EncodeToString([]byte(v))} },
	// At whatever offset the value stands in what was encoded.
	"base64": func(v string) (forms []string) {
		for offset := range 3 {
			for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				forms = append(forms, alphabet.EncodeToString(append(make([]byte, offset), v...))[(offset*8+5)/6:(offset+len(v))*8/6])
			}
		}
		return forms
	},
	"quoted-printable": func(v string) []string {
		var every strings.Builder
		for _, b := range []byte(v) {
			fmt.Fprintf(&every, "=%02X", b)
		}
		return []string{strings.ReplaceAll(v, "=", "=3D"), strings.ReplaceAll(v, "@", "=40"), every.String()}
	},
}

// found gives the encodings in which a value is in a text. Case does not count, nor
// do the breaks that quoted-printable makes.
func found(text folded, value string) (names []string) {
	for name, encode := range encodings {
		for _, form := range encode(value) {
			if strings.Contains(string(text), strings.ToLower(form)) {
				names = append(names, name)
				break
			}
		}
	}
	slices.Sort(names)
	return names
}

// folded is a text as found reads it.
type folded string

func fold(text string) folded {
	return folded(strings.ToLower(softBreak.ReplaceAllString(text, "")))
}

func TestCanariesAreFoundInEveryEncoding(t *testing.T) {
	t.Parallel()
	const value = "Ada+canary/1@example.com"
	for name, encode := range encodings {
		for _, form := range encode(value) {
			if got := found(fold("before "+form+" after"), value); !slices.Contains(got, name) {
				t.Errorf("%s: %q is found as %q", name, form, got)
			}
		}
	}
	for offset := range 4 {
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", offset) + value + "yyy"))
		if got := found(fold(text), value); !slices.Equal(got, []string{"base64"}) {
			t.Errorf("behind %d bytes it is found as %q", offset, got)
		}
	}
	if got := found(fold("Ada=\r\n+canary/1=40exam=\nple.com"), value); !slices.Contains(got, "quoted-printable") {
		t.Errorf("over two lines it is found as %q", got)
	}
	if got := found(fold("Ada+canary/2@example.com"), value); len(got) != 0 {
		t.Errorf("what is not there is found as %q", got)
	}
}
