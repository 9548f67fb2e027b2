package host

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/plugins/sdk"
)

func TestWaits(t *testing.T) {
	t.Parallel()
	h, err := New(Config{Dir: "x"})
	if err != nil {
		t.Fatal(err)
	}
	p := newPlugin("x", "/x", h)
	for _, c := range []struct {
		ends  int
		wasUp bool
		want  time.Duration
	}{
		{0, true, 0}, // the first end of a plugin that was up
		{1, true, 500 * time.Millisecond},
		{2, true, time.Second},
		{0, false, 500 * time.Millisecond},
		{1, false, time.Second},
		{5, false, 16 * time.Second},
		{7, false, time.Minute},
		{1000, false, time.Minute},
	} {
		for range 50 {
			if got := p.wait(c.ends, c.wasUp); got > c.want || got < c.want-c.want/10 {
				t.Errorf("wait(%d, %v) = %s, want %s less a tenth", c.ends, c.wasUp, got, c.want)
			}
		}
	}
}

func TestGapsSayWhyAndWhatToDo(t *testing.T) {
	t.Parallel()
	old := func(name string) Layer { return Layer{Name: name, Reason: "too old"} }
	open := Layer{Name: layerPorts, Reason: "development"}
	for _, c := range []struct {
		config         Config
		gaps           []Layer
		reason, remedy string
	}{
		{Config{Helper: "h"}, []Layer{old(layerUnix), old(layerUDP)}, "too old", "none is needed; a newer kernel"},
		{Config{Helper: "h", AnyPort: true}, []Layer{open, old(layerUDP)}, "landlock_ports: development; landlock_udp: too old", "none is needed for development"},
		{Config{Helper: "h", AnyPort: true}, []Layer{open, old(layerScope)}, "landlock_ports: development; landlock_scope: too old", "run it on a kernel"},
		{Config{Helper: "h"}, []Layer{old(layerSeccomp)}, "too old", "run it on a kernel"},
		{Config{}, uncaged("no helper"), "no helper", "run plugins on Linux"},
		{Config{Sandbox: SandboxOff}, uncaged("off"), "off", "PASSMEND_PLUGIN_SANDBOX=best-effort or required"},
	} {
		if got := reasonOf(c.gaps); got != c.reason {
			t.Errorf("%s: reason %q, want %q", namesOf(c.gaps), got, c.reason)
		}
		if got := c.config.remedy(c.gaps); !strings.HasPrefix(got, c.remedy) {
			t.Errorf("%s: remedy %q, want %q", namesOf(c.gaps), got, c.remedy)
		}
	}
	layers := append(uncaged("x"), Layer{Name: "there", Active: true})
	if got := gapsOf(layers); len(got) != len(LayerNames()) || !layers[len(layers)-1].Active {
		t.Errorf("gaps are %+v of %+v", got, layers)
	}
}

func TestScrub(t *testing.T) {
	t.Parallel()
	r := newRedactor()
	values := valuesOf(request("{}"))
	plainText := "to " + canaryAddress + " token " + canaryToken
	if got := r.scrub(plainText, false); got != plainText {
		t.Errorf("before the call: %q", got)
	}
	release := r.hold(values)
	for name, text := range map[string]string{
		"link":                canaryLink,
		"token":               canaryToken,
		"address":             canaryAddress,
		"address, upper case": strings.ToUpper(canaryAddress),
		"password":            canaryPassword,
		"link, escaped":       url.QueryEscape(canaryLink),
		"password, escaped":   url.QueryEscape(canaryPassword),
		"password, path":      url.PathEscape(canaryPassword),
		"password, quoted":    strings.ReplaceAll(canaryPassword, "=", "=3D"),
		"password, HTML":      strings.ReplaceAll(canaryPassword, "&", "&amp;"),
		"link, base64":        base64.StdEncoding.EncodeToString([]byte(canaryLink)),
		"password, hex":       hex.EncodeToString([]byte(canaryPassword)),
	} {
		got := r.scrub("a "+text+" b", false)
		if want := strings.TrimRight("a "+redacted, "=") + " b"; strings.ReplaceAll(got, "=", "") != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	release()
	if got := r.scrub(plainText, false); strings.Contains(got, canaryToken) {
		t.Errorf("just after the call: %q", got)
	}
	r.mu.Lock()
	for _, held := range r.held {
		held.until = time.Now().Add(-time.Second)
	}
	r.mu.Unlock()
	if got := r.scrub(plainText, false); got != plainText || len(r.held) != 0 {
		t.Errorf("long after the call: %q, %d held", got, len(r.held))
	}
}

// Two calls with one secret: the end of the first must not free the value.
func TestAValueIsHeldByEveryCall(t *testing.T) {
	t.Parallel()
	r := newRedactor()
	first, second := r.hold([]string{"value"}), r.hold([]string{"value"})
	first()
	r.mu.Lock()
	r.held["value"].until = time.Now().Add(-time.Second)
	r.mu.Unlock()
	if got := r.scrub("a value", false); got != "a [redacted]" {
		t.Errorf("scrub = %q", got)
	}
	second()
}

// A line that was cut may end in the first half of a secret.
func TestTheEndOfACutLineIsNotTold(t *testing.T) {
	t.Parallel()
	values := []string{canaryLink}
	line := strings.Repeat("y", 1000) + canaryLink[:len(canaryLink)-1]
	if got := scrub(line, values, true); strings.Contains(got, "https") {
		t.Errorf("scrub = %q", got[900:])
	}
	if got := scrub(line, values, false); !strings.Contains(got, "https") { // the control
		t.Error("the half link was not there")
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		writes []string
		want   []string
	}{
		{"one", []string{"a\n"}, []string{"a"}},
		{"in pieces", []string{"a", "b", "c\nd", "\n"}, []string{"abc", "d"}},
		{"without an end", []string{"a\nb"}, []string{"a", "b"}},
		{"empty ones are left out", []string{"\n\r\n\na\r\n"}, []string{"a"}},
		{"not UTF-8", []string{"a\xffb\n"}, []string{"a?b"}},
		{"a long one and the next", []string{strings.Repeat("x", 1<<20), "\nnext\n"}, []string{strings.Repeat("x", maxShown), "next"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out := &buffer{}
			lines := newLineLog(slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{ReplaceAttr: onlyLine})), newRedactor(), 100, func(bool) {})
			w := lines.writer("stdout")
			for _, text := range c.writes {
				if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
					t.Fatalf("Write = %d, %v", n, err)
				}
			}
			w.flush()
			if diff := cmp.Diff(c.want, strings.Fields(strings.ReplaceAll(out.String(), "line=", ""))); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

func onlyLine(_ []string, a slog.Attr) slog.Attr {
	if a.Key == "line" {
		return a
	}
	return slog.Attr{}
}

func TestLinesAreBoundedByRate(t *testing.T) {
	t.Parallel()
	out, dropped := &buffer{}, 0
	lines := newLineLog(slog.New(slog.NewTextHandler(out, nil)), newRedactor(), 10, func(drop bool) {
		if drop {
			dropped++
		}
	})
	w := lines.writer("stderr")
	for range 1000 {
		fmt.Fprintln(w, "again")
	}
	lines.flush()
	if n := count(out.String(), "again"); n+dropped != 1000 {
		t.Errorf("of 1000 lines %d were logged and %d told of as dropped", n, dropped)
	}
	if n := count(out.String(), "again"); n < 20 || n > 40 {
		t.Errorf("%d lines, want 20 and what a moment adds", n)
	}
	if !strings.Contains(out.String(), "plugin lines dropped") {
		t.Error("nothing tells of the rest")
	}
}

func TestHandshakeLines(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"a line":          {"1|1|unix\nmore\n", "1|1|unix"},
		"carriage return": {"1|1\r\n", "1|1"},
		"no line":         {"1|1", ""},
		"nothing":         {"", ""},
	} {
		got, err := readHandshake(bufio.NewReaderSize(strings.NewReader(c.text), 16))
		if got != c.want || (c.want == "") != errors.Is(err, io.EOF) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	_, err := readHandshake(bufio.NewReader(strings.NewReader(strings.Repeat("x", maxHandshake+1))))
	var end *endError
	if !errors.As(err, &end) || end.reason != reasonHandshake {
		t.Errorf("too long: %v", err)
	}
}

func FuzzHandshake(f *testing.F) {
	for _, seed := range []string{
		"1|1|unix|/tmp/d/s|grpc|" + strings.Repeat("A", 60), "1|1|tcp|127.0.0.1:1|grpc|x", "||||||", "1|1|unix|/tmp/d/../s|grpc|", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if socket, err := checkHandshake(line, "/nonexistent/dir"); err == nil {
			t.Errorf("took %q for a socket", socket)
		}
	})
}

func TestValuesOf(t *testing.T) {
	t.Parallel()
	r := request("{}")
	r.Settings.Secrets["short"] = sdk.NewSecret("ab")
	got := valuesOf(r)
	want := map[string]bool{canaryLink: true, canaryToken: true, canaryAddress: true, canaryPassword: true}
	for _, value := range got {
		if !want[value] {
			t.Errorf("holds %q", value)
		}
		delete(want, value)
	}
	if len(want) != 0 {
		t.Errorf("does not hold %v", want)
	}
}

// What an event's receiver is told is no plugin's to print either, where it stands in
// the document or in one that is a string in it.
func TestValuesOfAnEvent(t *testing.T) {
	t.Parallel()
	inner, err := json.Marshal(map[string]any{"data": map[string]any{"attributes": map[string]any{"email": canaryAddress, "role": "user"}}, "meta": []any{canaryToken, 1}})
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"data": map[string]any{"attributes": map[string]any{"event": "user.created", "payload": string(inner)}}})
	if err != nil {
		t.Fatal(err)
	}
	got := valuesOf(sdk.SendRequest{Event: &sdk.Event{URL: "https://a.example", Body: body}})
	slices.Sort(got)
	want := []string{canaryToken, canaryAddress}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("holds %q, want %q", got, want)
	}
	for name, body := range map[string]string{"no JSON": canaryToken, "nothing": ""} {
		if got := valuesOf(sdk.SendRequest{Event: &sdk.Event{Body: []byte(body)}}); len(got) != 0 {
			t.Errorf("%s: holds %q", name, got)
		}
	}
	many, err := json.Marshal(slices.Repeat([]string{canaryToken}, 10*maxTexts))
	if err != nil {
		t.Fatal(err)
	}
	if got := valuesOf(sdk.SendRequest{Event: &sdk.Event{Body: many}}); len(got) != maxTexts {
		t.Errorf("holds %d texts, want %d", len(got), maxTexts)
	}
}
