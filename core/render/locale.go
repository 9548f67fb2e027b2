package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/passmend/passmend/core"
)

// fallback is the language of last resort; its file must exist.
const fallback = "en"

// locale is one file of phrases. A phrase is plain text; words in {braces} are
// filled in, a name that is filled in is not looked at again.
type locale struct {
	Tag       string `json:"tag"`       // BCP 47, the same as the file's name
	Direction string `json:"direction"` // "ltr" or "rtl"

	Greeting        phrase `json:"greeting"`        // {name}
	GreetingNeutral phrase `json:"greetingNeutral"` // nobody's name
	LinkHint        phrase `json:"linkHint"`        // above the written-out link
	Support         phrase `json:"support"`         // {support}
	Origin          phrase `json:"origin"`          // {product}; why this mail came

	Moment          phrase    `json:"moment"`          // {day} {month} {year} {hour} {minute}, in UTC
	Months          []string  `json:"months"`          // twelve, as they stand in a date
	Hours           countable `json:"hours"`           // {n}
	Minutes         countable `json:"minutes"`         // {n}
	HoursAndMinutes phrase    `json:"hoursAndMinutes"` // {hours} {minutes}

	Mails map[string]wording `json:"mails"` // by template
}

// wording is what one of the four mails says. "Aside" is for the reader who
// asked for nothing.
type wording struct {
	Subject    phrase `json:"subject"`
	Preview    phrase `json:"preview"` // the line a mailbox shows beside the subject
	Heading    phrase `json:"heading"`
	Lead       phrase `json:"lead"`
	Note       phrase `json:"note"` // {life} {until}; in "changed": nothing to do; in "accounts": what to do
	AsideTitle phrase `json:"asideTitle"`
	Aside      phrase `json:"aside"`
	// AsideAlone replaces Aside in "changed" when there is no link to begin again.
	AsideAlone phrase `json:"asideAlone"`
	Button     phrase `json:"button"`
	// More, in "accounts", says that the list is of the first {n} only.
	More phrase `json:"more"`
}

// countable maps a number, in digits, to its phrase; "other" is for the rest.
// Languages with more plural forms list the numbers that need another one.
type countable map[string]phrase

func (c countable) of(n int) string {
	digits := strconv.Itoa(n)
	chosen, exact := c[digits]
	if !exact {
		chosen = c["other"]
	}
	return chosen.fill("n", digits)
}

type phrase string

// fill replaces {key} by its value, pairs given one after the other. What is in no
// pair stays.
func (p phrase) fill(pairs ...string) string {
	var filled strings.Builder
	rest := string(p)
	for {
		before, after, _ := strings.Cut(rest, "{")
		key, behind, braced := strings.Cut(after, "}")
		if !braced {
			filled.WriteString(rest)
			return filled.String()
		}
		filled.WriteString(before)
		value := "{" + key + "}"
		for pair := range slices.Chunk(pairs, 2) {
			if pair[0] == key {
				value = pair[1]
			}
		}
		filled.WriteString(value)
		rest = behind
	}
}

// life gives a duration in whole minutes, at least one: "1 hour and 30 minutes".
func (l locale) life(d time.Duration) string {
	total := max(int(d/time.Minute), 1)
	hours, minutes := total/60, total%60
	switch {
	case hours == 0:
		return l.Minutes.of(minutes)
	case minutes == 0:
		return l.Hours.of(hours)
	default:
		return l.HoursAndMinutes.fill("hours", l.Hours.of(hours), "minutes", l.Minutes.of(minutes))
	}
}

// moment gives a time to the minute, in UTC: nobody's zone is known here. Seconds
// are dropped, so that a link never lives shorter than its mail says.
func (l locale) moment(t time.Time) string {
	t = t.UTC()
	return l.Moment.fill(
		"day", strconv.Itoa(t.Day()),
		"month", l.Months[t.Month()-1],
		"year", strconv.Itoa(t.Year()),
		"hour", t.Format("15"),
		"minute", t.Format("04"),
	)
}

// nearest looks tag up, then tag without its last subtag, and so on.
func (r *Renderer) nearest(tag string) locale {
	if !wellFormedTag(tag) {
		return r.locales[fallback]
	}
	for tag = strings.ToLower(tag); tag != ""; {
		if found, ok := r.locales[tag]; ok {
			return found
		}
		cut := max(strings.LastIndexByte(tag, '-'), 0)
		tag = tag[:cut]
	}
	return r.locales[fallback]
}

func wellFormedTag(tag string) bool {
	if len(tag) > 35 {
		return false
	}
	for subtag := range strings.SplitSeq(tag, "-") {
		if subtag == "" || len(subtag) > 8 || strings.ContainsFunc(subtag, func(r rune) bool { return !asciiAlphanumeric(r) }) {
			return false
		}
	}
	return true
}

// readLocales reads every file of locales/, keyed by lower-case tag.
func readLocales(from fs.FS) (map[string]locale, error) {
	names, err := fs.Glob(from, "locales/*.json")
	if err != nil {
		return nil, fmt.Errorf("list locales: %w", err)
	}
	locales := make(map[string]locale, len(names))
	for _, name := range names {
		read, err := readLocale(from, name)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		locales[strings.ToLower(read.Tag)] = read
	}
	if _, ok := locales[fallback]; !ok {
		return nil, errors.New("read locales: no " + fallback + ".json")
	}
	return locales, nil
}

func readLocale(from fs.FS, name string) (locale, error) {
	file, err := from.Open(name)
	if err != nil {
		return locale{}, err
	}
	defer file.Close()
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	var read locale
	if err := decoder.Decode(&read); err != nil {
		return locale{}, err
	}
	if read.Tag+".json" != path.Base(name) || !wellFormedTag(read.Tag) {
		return locale{}, fmt.Errorf("tag %q is not the file's name", read.Tag)
	}
	return read, read.validate()
}

// validate holds every phrase to the placeholders it must have, all of them and
// no other: a translation that lost the expiry is found at start, not by a reader.
func (l locale) validate() error {
	if l.Direction != "ltr" && l.Direction != "rtl" {
		return fmt.Errorf("direction %q: accepted are ltr and rtl", l.Direction)
	}
	if len(l.Months) != 12 || slices.Contains(l.Months, "") {
		return errors.New("months: twelve are needed")
	}
	faults := []error{
		needs("greeting", l.Greeting, "name"),
		needs("greetingNeutral", l.GreetingNeutral),
		needs("linkHint", l.LinkHint),
		needs("support", l.Support, "support"),
		needs("origin", l.Origin, "product"),
		needs("moment", l.Moment, "day", "hour", "minute", "month", "year"),
		needs("hoursAndMinutes", l.HoursAndMinutes, "hours", "minutes"),
		needs("hours.other", l.Hours["other"], "n"),
		needs("minutes.other", l.Minutes["other"], "n"),
	}
	for _, template := range []string{core.MailReset, core.MailInvite, core.MailChanged, core.MailAccounts} {
		faults = append(faults, l.Mails[template].validate(template))
	}
	return errors.Join(faults...)
}

func (w wording) validate(template string) error {
	faults := []error{
		needs(template+".subject", w.Subject, "product"),
		needs(template+".heading", w.Heading),
		needs(template+".asideTitle", w.AsideTitle),
		needs(template+".aside", w.Aside),
	}
	switch template {
	case core.MailChanged:
		faults = append(faults,
			needs(template+".button", w.Button),
			needs(template+".preview", w.Preview, "changed"),
			needs(template+".lead", w.Lead, "changed", "product"),
			needs(template+".note", w.Note),
			needs(template+".asideAlone", w.AsideAlone, "product"))
	case core.MailAccounts:
		faults = append(faults,
			needs(template+".preview", w.Preview),
			needs(template+".lead", w.Lead, "product"),
			needs(template+".note", w.Note),
			needs(template+".more", w.More, "n"))
	default:
		faults = append(faults,
			needs(template+".button", w.Button),
			needs(template+".preview", w.Preview, "life"),
			needs(template+".lead", w.Lead, "product"),
			needs(template+".note", w.Note, "life", "until"))
	}
	return errors.Join(faults...)
}

var placeholder = regexp.MustCompile(`\{[^}]*\}?`)

func needs(name string, p phrase, keys ...string) error {
	if strings.TrimSpace(string(p)) == "" {
		return fmt.Errorf("%s: missing", name)
	}
	found := map[string]bool{}
	for _, match := range placeholder.FindAllString(string(p), -1) {
		found[strings.Trim(match, "{}")] = true
	}
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, keys) {
		return fmt.Errorf("%s: placeholders are %q, must be %q", name, got, keys)
	}
	return nil
}
