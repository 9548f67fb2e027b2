package core

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ typed, want string }{
		{"ada@example.com", "ada@example.com"},
		{"  Ada@Example.COM \t", "ada@example.com"},
		{"ADA+News@EXAMPLE.com\n", "ada+news@example.com"},
		{"foo", "foo"},
		{"", ""},
		{"   ", ""},
		{"ada@bücher.example", "ada@xn--bcher-kva.example"},
		{"ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"},
		{"ädä@example.com", "ädä@example.com"},
		{"ÄDÄ@example.com", "ÄdÄ@example.com"}, // nothing beyond ASCII is folded
		{"a@b@Example.com", "a@b@example.com"},
		{"ada@ex ample", "ada@ex ample"},
	} {
		got, err := ParseAddress(c.typed)
		if err != nil || got.Reveal() != c.want {
			t.Errorf("%q: got %q, %v, want %q", c.typed, got.Reveal(), err, c.want)
		}
	}
}

func TestParseAddressRefusesControls(t *testing.T) {
	t.Parallel()
	for _, typed := range []string{"a\x00@example.com", "a@exam\nple.com", "a\r\nBcc: b@example.com", "a\x7f@x", "a\u0085@x", "a\u2028@x", "\xff@x"} {
		if _, err := ParseAddress(typed); !errors.Is(err, ErrAddressEncoding) {
			t.Errorf("%q: got %v, want ErrAddressEncoding", typed, err)
		}
	}
}

// T07: spellings that some system would fold into one another stay apart. The
// control is foldEverything, which joins them all.
func TestLookAlikesStayApart(t *testing.T) {
	t.Parallel()
	pairs := [][2]string{
		{"\u212aate@example.com", "kate@example.com"},            // KELVIN SIGN
		{"mi\u212ae@example.com", "mike@example.com"},            //
		{"\u017fam@example.com", "sam@example.com"},              // LONG S
		{"m\u0131ke@example.com", "mike@example.com"},            // dotless i
		{"m\u0130ke@example.com", "mike@example.com"},            // dotted capital I
		{"stra\u00dfe@example.com", "strasse@example.com"},       // sharp s
		{"\ufb01n@example.com", "fin@example.com"},               // ligature fi
		{"\uff41da@example.com", "ada@example.com"},              // full-width a
		{"ada\uff20example.com", "ada@example.com"},              // full-width @
		{"ada@\u212aelvin.example", "ada@kelvin.example"},        //
		{"ada@\uff45xample.com", "ada@example.com"},              //
		{"ada@\ufb01n.example", "ada@fin.example"},               //
		{"ada@example\u3002com", "ada@example.com"},              // ideographic full stop
		{"ada@ex\u00adample.com", "ada@example.com"},             // soft hyphen
		{"ada@exam\u200bple.com", "ada@example.com"},             // zero-width space
		{"e\u0301va@example.com", "\u00e9va@example.com"},        // composition
		{"ada\u00a0@example.com", "ada@example.com"},             // no-break space
		{"\u0430da@example.com", "ada@example.com"},              // Cyrillic a
		{"ada@\u0435xample.com", "ada@example.com"},              // Cyrillic e
		{"ada@stra\u00dfe.example", "ada@strasse.example"},       //
		{"ada@\u03c3\u03c2.example", "ada@\u03c3\u03c3.example"}, // final sigma
	}
	joined := 0
	for _, pair := range pairs {
		a, errA := ParseAddress(pair[0])
		b, errB := ParseAddress(pair[1])
		if errA == nil && errB == nil && a == b {
			t.Errorf("%+q and %+q are one address", pair[0], pair[1])
		}
		if foldEverything(pair[0]) == foldEverything(pair[1]) {
			joined++
		}
	}
	if joined == 0 {
		t.Error("the control joins none of the pairs: they prove nothing")
	}
}

func foldEverything(s string) string {
	mapped := strings.ToLower(strings.ToUpper(s))
	return strings.NewReplacer("\u212a", "k", "\u017f", "s", "\u0131", "i", "\u00df", "ss", "\ufb01", "fi", "\u3002", ".", "\uff20", "@").Replace(mapped)
}

func TestParseUserAddress(t *testing.T) {
	t.Parallel()
	for _, typed := range []string{"Ada@Example.com", "a.b+c@sub.example.com", "ädä@example.com", "root@localhost", "ada@bücher.example"} {
		if _, err := ParseUserAddress(typed); err != nil {
			t.Errorf("%q: %v", typed, err)
		}
	}
	for _, typed := range []string{
		"", "foo", "@example.com", "ada@", "a@b@example.com", "a,b@example.com", `"a b"@example.com`, "a b@example.com",
		".a@example.com", "a..b@example.com", "a@-example.com", "a@example.com.", "a@[127.0.0.1]", "a\n@example.com",
		strings.Repeat("a", 65) + "@example.com", "ada@" + strings.Repeat("a", 300) + ".com",
	} {
		if _, err := ParseUserAddress(typed); !errors.Is(err, ErrAddressInvalid) {
			t.Errorf("%q: got %v, want ErrAddressInvalid", typed, err)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"ada@example.com", " A@B ", "a@bücher.example", "a\x00b", "a@xn--", "@", "a@.", "\u212a@\u212a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		once, err := ParseAddress(typed)
		if err != nil {
			return
		}
		if !utf8.ValidString(once.Reveal()) || strings.ContainsAny(once.Reveal(), "\x00\r\n") {
			t.Fatalf("%q became %q", typed, once.Reveal())
		}
		twice, err := ParseAddress(once.Reveal())
		if err != nil || twice != once {
			t.Fatalf("%q: the canonical form %q is not its own: %q, %v", typed, once.Reveal(), twice.Reveal(), err)
		}
	})
}
