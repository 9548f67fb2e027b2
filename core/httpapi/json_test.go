package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want error
	}{
		{`{}`, nil}, {` [ ] `, nil}, {`"\"\\\/\b\f\n\r\t\u00e9\ud83d\uDE00"`, nil}, {`-0`, nil}, {`-0.5e+10`, nil}, {`1E-2`, nil}, {`true`, nil}, {`{"a":[1,{"b":null}]}`, nil},
		{strings.Repeat("[", 8) + strings.Repeat("]", 8), nil}, {strings.Repeat("[", 9) + strings.Repeat("]", 9), errJSON}, {strings.Repeat("[", 100000), errJSON},
		{`01`, errJSON}, {`1.`, errJSON}, {`.5`, errJSON}, {`+1`, errJSON}, {`1e`, errJSON}, {`-`, errJSON}, {`NaN`, errJSON}, {`0x1`, errJSON},
		{`{"a":1,}`, errJSON}, {`[1,]`, errJSON}, {`{a:1}`, errJSON}, {`{"a" 1}`, errJSON}, {`{"a":}`, errJSON}, {`[1 2]`, errJSON}, {`{"a":1`, errJSON}, {`"a`, errJSON}, {`"\x"`, errJSON}, {`"\`, errJSON}, {`"\u12"`, errJSON}, {`"\u12g4"`, errJSON}, {"\"\t\"", errJSON}, {`nul`, errJSON}, {`truefalse`, errJSON}, {`{} {}`, errJSON}, {"\v{}", errJSON}, {"\u00a0{}", errJSON},
		{`{"a":1,"a":1}`, errJSON}, {`{"aB":1,"a_b":1}`, errJSON}, {`{"a-b":1,"AB":1}`, errJSON}, {`{"a":{"b":1},"b":1}`, nil}, {`[{"a":1},{"a":1}]`, nil}, {`{"k":1,"` + "\u212a" + `":1}`, nil},
		{`"\ud800"`, errEncoding}, {`"\udc00"`, errEncoding}, {`"\ud800\u0041"`, errEncoding}, {`"\ud800\ud800"`, errEncoding}, {`"\u0000"`, errEncoding}, {"\"\x00\"", errEncoding}, {"\"\xed\xa0\x80\"", errEncoding}, {"\xff", errEncoding},
	} {
		if _, err := parseJSON([]byte(c.text)); !errors.Is(err, c.want) || (c.want == nil && err != nil) {
			t.Errorf("%.40q: %v, want %v", c.text, err, c.want)
		}
	}
}

func TestLowerCamel(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"foo": "foo", "FOO": "foo", "Foo": "foo", "fooBar": "fooBar", "FooBar": "fooBar", "foo_bar": "fooBar", "foo-bar": "fooBar", "FOO_BAR": "fooBar", "_foo": "foo", "": "", "__": "", "ünder_score": "ünderScore",
	} {
		if got := lowerCamel(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// FuzzDecode holds the reader against the standard library's: whatever it takes,
// that one takes too and understands the same, and it is well-formed UTF-8.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"meta":{"email":"ada@example.com","deliver":false}}`, `{"meta":{"passwordResetToken":"x","new_password":"y"}}`,
		`{"a":[1,2.5,-1e9,"\ud83d\ude00",null,true]}`, `{"a":1,"A":2}`, `"\u0000"`, `"\ud800"`, `[[[[[[[[[]]]]]]]]]`, "\xff", `{"meta":"x"} `, `1 2`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		root, err := parseJSON(body)
		if err != nil {
			if !errors.Is(err, errJSON) && !errors.Is(err, errEncoding) {
				t.Fatalf("unknown error %v", err)
			}
			return
		}
		if root == nil {
			if len(bytes.TrimSpace(body)) != 0 {
				t.Fatal("something became nothing")
			}
			return
		}
		if !json.Valid(body) {
			t.Fatalf("took what is no JSON: %q", body)
		}
		sameAs(t, *root, body)
		for _, shape := range [][]field{passwordsBody, resetBody, tokensBody} {
			if err := validate(root, shape); err != nil {
				var refused *told
				if !errors.As(err, &refused) || refused.status != 400 || refused.detail == "" || !utf8.ValidString(refused.detail+refused.source.Pointer) {
					t.Fatalf("refused as %v", err)
				}
			}
		}
	})
}

func sameAs(t *testing.T, n node, text []byte) {
	t.Helper()
	switch n.kind {
	case kindString:
		var want string
		if json.Unmarshal(text, &want) != nil || want != n.text {
			t.Fatalf("%q read as %q", text, n.text)
		}
	case kindObject:
		var want map[string]json.RawMessage
		if json.Unmarshal(text, &want) != nil || len(want) != len(n.members) {
			t.Fatalf("%q has %d members here and %d there", text, len(n.members), len(want))
		}
		for _, m := range n.members {
			sameAs(t, m.value, want[m.name])
		}
	case kindInteger, kindFloat:
		if got := strings.TrimSpace(string(text)); got != n.text {
			t.Fatalf("%q read as %q", got, n.text)
		}
	}
}
