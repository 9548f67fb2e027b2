package smtp

import (
	"strings"
	"testing"
)

func TestAddressesAreWrittenWithALabels(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ address, want string }{
		{"ada@example.com", "ada@example.com"},
		{"Ada.L+x@Example.COM", "Ada.L+x@Example.COM"},
		{"ada@exämple.com", "ada@xn--exmple-cua.com"},
		{"ada@EXÄMPLE.com", "ada@xn--exmple-cua.com"},
		{"ada@例え.テスト", "ada@xn--r8jz45g.xn--zckzah"},
		{"jörg@exämple.com", "jörg@xn--exmple-cua.com"},
		{"ada@ä..com", ""},
		{"ada@-ä.com", ""},
		{"ada@ä_b.com", ""},
		{"ada@" + strings.Repeat("ä", 70) + ".com", ""},
	} {
		if got, ok := parseAddress(c.address); ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%s: %q, %v, want %q", c.address, got, ok, c.want)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, seed := range []string{
		"ada@example.com", "a.b+c@x-y.example", `"a"@b`, "a@b\r\n", "jörg@example.com", "a@[1.2.3.4]", "a@exämple.com", "a@a。b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		written, ok := parseAddress(address)
		if ok && (strings.ContainsAny(written, "\r\n\x00 <>\"\\,;:()[]") || strings.Count(written, "@") != 1) {
			t.Errorf("took %q as %q", address, written)
		}
	})
}
