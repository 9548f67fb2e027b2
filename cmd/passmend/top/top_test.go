package top

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func scrape(t *testing.T, name string, at time.Time) Scrape {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	read, err := Read(file, at)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// busyView is a replica with everything on it.
func busyView(t *testing.T) View {
	t.Helper()
	begun := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	return View{
		Replica: "127.0.0.1:9090", Width: 80, Height: 24,
		Before: scrape(t, "before.prom", begun), Now: scrape(t, "now.prom", begun.Add(2*time.Second)),
		Holds: []Hold{
			{What: "account acme", State: "held", Since: begun.Add(-time.Hour), Waiting: 12345},
			{What: "provider backup", State: "draining 50/s", Since: begun.Add(-24 * time.Hour), Waiting: 7},
		},
		Names: map[string]string{"0199f3a2-0000-7000-8000-000000000001": "acme", "0199f3a2-0000-7000-8000-000000000002": "globex"},
	}
}

func TestFrames(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*View){
		"busy": func(*View) {},
		"first-look": func(v *View) {
			v.Now, v.Before, v.Holds = v.Before, Scrape{}, nil
		},
		"no-answer": func(v *View) {
			v.Failed, v.Unasked, v.Holds = "dial tcp 127.0.0.1:9090: connect: connection refused", "there is no database where the settings say", nil
		},
		"nothing-yet": func(v *View) { v.Now, v.Before, v.Holds = Scrape{At: v.Now.At}, Scrape{}, nil },
		"small":       func(v *View) { v.Width, v.Height = 60, 20 },
		"colour":      func(v *View) { v.Colour = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			view := busyView(t)
			change(&view)
			got := view.Frame()
			lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
			if len(lines) > view.Height {
				t.Errorf("%d lines, want at most %d", len(lines), view.Height)
			}
			for _, line := range lines {
				if n := utf8.RuneCountInString(line); n > view.Width && !view.Colour {
					t.Errorf("%d characters, want at most %d: %s", n, view.Width, line)
				}
			}
			golden := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-golden +frame (-update writes it):\n%s", diff)
			}
		})
	}
}

// What colour says, words say too.
func TestColourSaysNothingAlone(t *testing.T) {
	t.Parallel()
	view := busyView(t)
	plain := view.Frame()
	view.Colour = true
	bare := view.Frame()
	for _, code := range []string{ansiReset, ansiBold, ansiDim, ansiRed, ansiYellow} {
		bare = strings.ReplaceAll(bare, code, "")
	}
	if bare != plain {
		t.Errorf("without its colours the frame is another:\n%s", cmp.Diff(plain, bare))
	}
}

func TestReadRefusesWhatIsNoMetric(t *testing.T) {
	t.Parallel()
	got, err := Read(strings.NewReader(`# HELP passmend_x y
go_goroutines 5
passmend_a{b="c \"d\" \\ }",e="f"} 1e3 1234
passmend_plain 2
`), time.Time{})
	want := map[string][]Sample{"a": {{map[string]string{"b": `c "d" \ }`, "e": "f"}, 1000}}, "plain": {{map[string]string{}, 2}}}
	if diff := cmp.Diff(want, got.Samples); diff != "" || err != nil {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	for _, bad := range []string{"passmend_a", `passmend_a{b="c} 1`, "passmend_a{b} 1", "passmend_a x"} {
		if _, err := Read(strings.NewReader(bad+"\n"), time.Time{}); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`passmend_a{b="c"} 1`)
	f.Add(`passmend_a{b="c\`)
	f.Fuzz(func(_ *testing.T, text string) {
		read, _ := Read(strings.NewReader(text), time.Time{}) // it must not panic
		_ = View{Now: read, Width: 80, Height: 24}.Frame()
	})
}

func TestNumbersAreShort(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		number(0): "0", number(0.26): "0.3", number(1234.5): "1 234", count(1234567): "1 234 567",
		seconds(0): "0", seconds(0.0123): "12 ms", seconds(3.21): "3.2 s", seconds(75): "75 s", seconds(600): "10 min", seconds(10000): "3 h",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
