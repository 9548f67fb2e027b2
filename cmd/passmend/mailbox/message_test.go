package mailbox_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/passmend/passmend/cmd/passmend/mailbox"
)

const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

// branded is a mail as a provider sends ours: related, alternative, a logo inside.
const branded = `From: =?utf-8?q?Acme_Gr=C3=BC=C3=9Fe?= <accounts@acme.example>
To: "Ada Lovelace" <ada@example.com>
Subject: =?UTF-8?B?UmVzZXQgeW91ciBBY21lIOKcqCBwYXNz?=
 =?UTF-8?Q?word?=
MIME-Version: 1.0
Content-Type: multipart/related; boundary=outer

--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Gr=C3=BC=C3=9Fe

https://login.acme.example/r/AQx0bVb3b2dVQw5Yc1n0J7-k2mZr8T_4uGhP6sXeL=
fA

Not you? See https://acme.example/help?a=3D1&b=3D2.
--inner
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

PCFET0NUWVBFIGh0bWw+PGh0bWw+PGhlYWQ+PHRpdGxlPng8L3RpdGxlPjwvaGVhZD48Ym9keT48aW1nIHNyYz0iY2lkOmxvZ29AYWNtZSI+PGEgaHJlZj0iaHR0cHM6Ly9sb2dpbi5hY21lLmV4YW1wbGUvci9BUXgwYlZiM2IyZFZRdzVZYzFuMEo3LWsybVpyOFRfNHVHaFA2c1hlTGZBIj5HbzwvYT48YSBocmVmPSdodHRwczovL2FjbWUuZXhhbXBsZS9vbmx5LWh0bWw/eD0xJmFtcDt5PTInPkg8L2E+PGEgaHJlZj0ibWFpbHRvOmhAYWNtZS5leGFtcGxlIj5NPC9hPjwvYm9keT48L2h0bWw+
--inner--
--outer
Content-Type: image/png
Content-Disposition: inline; filename=logo.png
Content-ID: <logo@acme>
Content-Transfer-Encoding: base64

` + pixel + `
--outer--
`

func TestBrandedMailIsDecoded(t *testing.T) {
	t.Parallel()
	box := setup(t)
	send(t, box, branded)
	want := mailbox.Message{
		Number:  1,
		From:    "Acme Grüße <accounts@acme.example>",
		To:      []string{"ada@example.com"},
		Subject: "Reset your Acme ✨ password",
		Text: "Grüße\n\nhttps://login.acme.example/r/AQx0bVb3b2dVQw5Yc1n0J7-k2mZr8T_4uGhP6sXeLfA\n\n" +
			"Not you? See https://acme.example/help?a=1&b=2.",
		HTML: `<!DOCTYPE html><html><head><title>x</title></head><body><img src="cid:logo@acme">` +
			`<a href="https://login.acme.example/r/AQx0bVb3b2dVQw5Yc1n0J7-k2mZr8T_4uGhP6sXeLfA">Go</a>` +
			`<a href='https://acme.example/only-html?x=1&amp;y=2'>H</a><a href="mailto:h@acme.example">M</a></body></html>`,
		Links: []string{
			"https://login.acme.example/r/AQx0bVb3b2dVQw5Yc1n0J7-k2mZr8T_4uGhP6sXeLfA",
			"https://acme.example/help?a=1&b=2",
			"https://acme.example/only-html?x=1&y=2",
		},
		Raw: crlf(branded),
	}
	if diff := cmp.Diff(want, only(t, box), cmpopts.IgnoreUnexported(mailbox.Message{}), cmpopts.IgnoreFields(mailbox.Message{}, "Received")); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
}

func TestHeadersAndBodiesAreDecoded(t *testing.T) {
	t.Parallel()
	type view struct{ From, Subject, Text, HTML string }
	tests := []struct {
		name string
		raw  string
		want view
	}{
		{"plain", "From: ada@example.com\nSubject: hi\n\nx\n", view{"ada@example.com", "hi", "x\n", ""}},
		{"quoted name with a comma", "From: \"Doe, \\\"J\\\"\" <j@example.com>\n\nx\n", view{From: "Doe, \"J\" <j@example.com>", Text: "x\n"}},
		{"folded subject", "Subject: one\n two\n\tthree\n\nx\n", view{Subject: "one two three", Text: "x\n"}},
		{"latin-1", "Subject: =?iso-8859-1?q?caf=E9?=\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\ncaf=E9\n",
			view{Subject: "café", Text: "café\n"}},
		{"windows-1252", "Content-Type: text/plain; charset=windows-1252\nContent-Transfer-Encoding: 8bit\n\n\x80 5\n", view{Text: "€ 5\n"}},
		{"iso-2022-jp", "Subject: =?iso-2022-jp?B?GyRCRnxLXBsoQg==?=\n\nx\n", view{Subject: "日本", Text: "x\n"}},
		{"html only", "Content-Type: text/html\n\n<p>x</p>\n", view{HTML: "<p>x</p>\n"}},
		{"html in capitals", "Content-Type: TEXT/HTML; CHARSET=UTF-8\nContent-Transfer-Encoding: QUOTED-PRINTABLE\n\n<p>=C3=A9</p>\n", view{HTML: "<p>é</p>\n"}},
		{"unknown charset", "Subject: =?klingon?q?x?=\nContent-Type: text/plain; charset=klingon\n\nx\n", view{Subject: "=?klingon?q?x?=", Text: "x\n"}},
		{"unknown encoding", "Content-Transfer-Encoding: rot13\n\nuv\n", view{Text: "uv\n"}},
		{"broken UTF-8", "Subject: a\xffb\n\n\xfe\n", view{Subject: "a\ufffdb", Text: "\ufffd\n"}},
		{"broken quoted-printable", "Content-Transfer-Encoding: quoted-printable\n\nok =ZZ\n", view{Text: "ok =ZZ\n"}},
		{"broken base64", "Content-Transfer-Encoding: base64\n\nb2sg!!!!\n", view{Text: "ok "}},
		{"broken sender", "From: <<>\n\nx\n", view{From: "<<>", Text: "x\n"}},
		{"attachment is no text", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Disposition: attachment\n\nno\n--b\nContent-Type: text/plain\n\nyes\n--b--\n",
			view{Text: "yes"}},
		{"first text counts", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\n--b--\n", view{Text: "one"}},
		{"cut multipart", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhalf", view{Text: "half"}},
		{"no mail at all", "this is no header line\nnor this\n", view{Text: "this is no header line\nnor this\n"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			box := setup(t)
			send(t, box, test.raw)
			got := only(t, box)
			if diff := cmp.Diff(test.want, view{got.From, got.Subject, got.Text, got.HTML}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLinksAreWhatAReaderWouldFollow(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want []string
	}{
		{"none here, not even ftp://a.example or xhttps://b", []string{}},
		{"https://a.example/r/abc-_", []string{"https://a.example/r/abc-_"}},
		{"See https://a.example/x. And (https://b.example/y), or <https://c.example/z>!", []string{"https://a.example/x", "https://b.example/y", "https://c.example/z"}},
		{"https://a.example/w_(x)", []string{"https://a.example/w_(x)"}},
		{"HTTP://A.example/?a=1&b=%20#f twice HTTP://A.example/?a=1&b=%20#f", []string{"HTTP://A.example/?a=1&b=%20#f"}},
		{"http://[::1]:8080/r/x", []string{"http://[::1]:8080/r/x"}},
		{"http://127.0.0.1:8080/demo/r/x\nnext", []string{"http://127.0.0.1:8080/demo/r/x"}},
	}
	for _, test := range tests {
		box := setup(t)
		send(t, box, "Subject: x\n\n"+test.text+"\n")
		if diff := cmp.Diff(test.want, only(t, box).Links); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.text, diff)
		}
	}
}

// Two MiB of nesting must cost about that much, not a reader for each level.
func TestDeepNestingIsCutShort(t *testing.T) {
	t.Parallel()
	var raw strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&raw, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	box := setup(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	send(t, box, raw.String()+"\ndeep\n")
	runtime.ReadMemStats(&after)
	if got := only(t, box); got.Text != "" || len(got.Raw) < 1<<20 {
		t.Errorf("text %q, %d bytes raw", got.Text, len(got.Raw))
	}
	if spent := after.TotalAlloc - before.TotalAlloc; spent > 256<<20 {
		t.Errorf("%d MiB allocated", spent>>20)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add(branded)
	f.Add("Subject: =?x?\n\n")
	f.Add("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhttps://a.example/.\n--b--")
	f.Add("Content-Type: text/html\n\n<a href=https://a.example><head")
	f.Fuzz(func(t *testing.T, raw string) {
		got := mailbox.ParseOne([]byte(raw))
		for _, link := range got.Links {
			if !strings.HasPrefix(strings.ToLower(link), "http") {
				t.Errorf("link %q", link)
			}
		}
		_ = got.Preview()
	})
}
