package render

import (
	"encoding/json"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

func TestLifeIsSpokenInWholeMinutes(t *testing.T) {
	t.Parallel()
	english := english(t)
	for life, want := range map[time.Duration]string{
		time.Second:                     "1 minute",
		time.Minute:                     "1 minute",
		10 * time.Minute:                "10 minutes",
		59*time.Minute + 59*time.Second: "59 minutes",
		time.Hour:                       "1 hour",
		61 * time.Minute:                "1 hour and 1 minute",
		90 * time.Minute:                "1 hour and 30 minutes",
		24 * time.Hour:                  "24 hours",
	} {
		if got := english.life(life); got != want {
			t.Errorf("%s: %q, want %q", life, got, want)
		}
	}
}

func TestMomentsAreUTCAndNeverLate(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("+05:30", 5*3600+1800)
	got := english(t).moment(time.Date(2027, 1, 1, 4, 9, 59, 999, zone))
	if want := "31 December 2026, 22:39 UTC"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A language is a file: nothing else has to change.
func TestLanguageIsAddedAsData(t *testing.T) {
	t.Parallel()
	translated := english(t)
	translated.Tag, translated.Direction = "fa", "rtl"
	translated.Greeting = "{name} سلام،"
	r, err := load(Config{From: sdk.Mailbox{Address: "a@b.example"}, Locale: "fa-IR"}, with(t, "locales/fa.json", translated))
	if err != nil {
		t.Fatal(err)
	}
	address, _ := core.ParseAddress("ada@example.com")
	mail, err := r.Mail(t.Context(), core.MailFacts{
		Template: core.MailReset, Account: tenants.New("x", "acme", "Acme"),
		To: core.User{Address: address, FirstName: "آدا"}, MessageID: "a@b",
		Link: tenants.NewSecret("https://a.example/r/x"), Life: time.Hour, Expires: time.Unix(0, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	if mail.Facts.Locale != "fa" || !strings.HasPrefix(mail.Text, "آدا سلام،\n") || !strings.Contains(mail.HTML, `lang="fa" dir="rtl"`) {
		t.Errorf("not in the language asked for: %q", mail.Facts.Locale)
	}
}

func TestBrokenLocaleIsRefusedAtStart(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*locale){
		"reset.note": func(l *locale) { l.Mails["reset"] = change(l.Mails["reset"], func(w *wording) { w.Note = "Soon." }) },
		"reset.subject": func(l *locale) {
			l.Mails["reset"] = change(l.Mails["reset"], func(w *wording) { w.Subject = "{product} {link}" })
		},
		"changed.lead":  func(l *locale) { l.Mails["changed"] = change(l.Mails["changed"], func(w *wording) { w.Lead = "" }) },
		"invite.button": func(l *locale) { delete(l.Mails, "invite") },
		"greeting":      func(l *locale) { l.Greeting = "Hello {nom}," },
		"support":       func(l *locale) { l.Support = "Write to {support" + ", {support}." },
		"months":        func(l *locale) { l.Months = l.Months[:11] },
		"direction":     func(l *locale) { l.Direction = "" },
		"hours.other":   func(l *locale) { l.Hours = countable{"1": "one hour"} },
		"tag":           func(l *locale) { l.Tag = "fr" },
	}
	for field, breakIt := range tests {
		broken := english(t)
		broken.Tag = "de"
		breakIt(&broken)
		_, err := load(Config{}, with(t, "locales/de.json", broken))
		if err == nil || !strings.Contains(err.Error(), field) || !strings.Contains(err.Error(), "de.json") {
			t.Errorf("%s: error %v does not name field and file", field, err)
		}
	}
	sound := english(t)
	sound.Tag = "de"
	if _, err := load(Config{}, with(t, "locales/de.json", sound)); err != nil {
		t.Errorf("an unbroken locale is refused: %v", err)
	}
}

func TestEnglishMustBeThere(t *testing.T) {
	t.Parallel()
	if _, err := load(Config{}, fstest.MapFS{}); err == nil {
		t.Error("a renderer without words was made")
	}
}

func change(w wording, alter func(*wording)) wording { alter(&w); return w }

// english gives a copy of the English locale that a test may alter.
func english(t *testing.T) locale {
	t.Helper()
	read, err := readLocale(files, "locales/en.json")
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// with gives the embedded files and one locale more.
func with(t *testing.T, name string, added locale) fs.FS {
	t.Helper()
	encoded, err := json.Marshal(added)
	if err != nil {
		t.Fatal(err)
	}
	overlay := fstest.MapFS{name: {Data: encoded}}
	err = fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			data, _ := fs.ReadFile(files, path)
			overlay[path] = &fstest.MapFile{Data: data}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return overlay
}
