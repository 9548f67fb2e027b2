package smtp

import (
	"bytes"
	"fmt"
	"mime"
	netmail "net/mail"
	"strings"
	"testing"

	"github.com/passmend/passmend/plugins/sdk"
)

func TestHeaderFieldsAreWrittenInTheirOrder(t *testing.T) {
	t.Parallel()
	m := testMail()
	m.Headers = []sdk.Header{
		{Name: "X-B", Value: "second  of  two, " + strings.Repeat("word ", 40) + "end"},
		{Name: "X-B", Value: ""},
		{Name: "X-A", Value: "Grüße " + strings.Repeat("ü", 100)},
		{Name: "X-Long", Value: strings.Repeat("x", 200)},
	}
	built, err := build(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := bytes.Cut(built.data, []byte("\r\n\r\n"))
	var names []string
	for line := range strings.SplitSeq(string(head), "\r\n") {
		if len(line) > 78 && !strings.Contains(line, m.Headers[3].Value) || strings.TrimSpace(line) == "" {
			t.Errorf("line %q", line)
		}
		if name, _, _ := strings.Cut(line, ":"); strings.HasPrefix(name, "X-") {
			names = append(names, name)
		}
	}
	if got := fmt.Sprint(names); got != "[X-B X-B X-A X-Long]" {
		t.Errorf("fields %s", got)
	}
	parsed, err := netmail.ReadMessage(bytes.NewReader(built.data))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{m.Headers[0].Value, m.Headers[2].Value, m.Headers[3].Value} {
		// An unfolding parser keeps every space.
		raw := parsed.Header.Get([]string{"X-B", "X-A", "X-Long"}[i])
		got, err := new(mime.WordDecoder).DecodeHeader(raw)
		if err != nil || strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
			t.Errorf("field %d = %q, %v", i, got, err)
		}
	}
}

// Servers disagree on a line break that is half of one, so it is never said.
func TestNoBareLineBreakGoesOverTheWire(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text, want string // want is empty: refused
	}{
		{"plain", "A: b\r\n\r\nc\r\n", "A: b\r\n\r\nc\r\n.\r\n"},
		{"dots", "A: b\r\n\r\n.\r\n..\r\n.c\r\n", "A: b\r\n\r\n..\r\n...\r\n..c\r\n.\r\n"},
		{"a line feed", "A: b\r\n\r\nc\n.\r\n", ""},
		{"a carriage return", "A: b\r\n\r\nc\r.\r\n", ""},
		{"the other way round", "A: b\r\n\r\nc\n\r.\r\n", ""},
	} {
		got, err := overTheWire([]byte(c.text))
		if (err == nil) != (c.want != "") || string(got) != c.want {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}

// Whatever line breaks the bodies hold, the message has whole ones only.
func TestEveryLineBreakOfABodyBecomesAWholeOne(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"a\nb", "a\r\nb", "a\rb", "a\n\rb", "\n.\n", "a\r", "\r\n.\r\nMAIL FROM:<eve@evil.example>\r\n"} {
		for _, html := range []string{"", text} {
			m := testMail()
			m.Text, m.HTML = text, html
			m.Inline = nil
			built, err := build(m, nil)
			if err != nil {
				t.Errorf("%q: %v", text, err)
				continue
			}
			if end := bytes.Index(built.data, []byte("\r\n.\r\n")); end != len(built.data)-5 {
				t.Errorf("%q: the message ends at %d of %d", text, end, len(built.data))
			}
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	m := benchMail()
	for _, kind := range []string{"unsigned", "rsa", "ed25519"} {
		b.Run(kind, func(b *testing.B) {
			var s *signer
			if kind != "unsigned" {
				var err error
				if s, err = newSigner("acme.example", "s1", newKey(b, kind).private); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := build(m, s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
