package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Hold is a hold as it is shown.
type Hold struct {
	What, State string // as "account acme", "draining 50/s"
	Since       time.Time
	Waiting     int
}

// View is all that a frame shows.
type View struct {
	Replica string // its address
	Before  Scrape // the zero Scrape: there is none yet
	Now     Scrape
	Failed  string // why the last scrape failed; empty: it did not
	// Holds and Names, of accounts by id, are the database's; Unasked says why they are
	// not known.
	Holds   []Hold
	Names   map[string]string
	Unasked string

	Width, Height int
	Colour        bool
}

const (
	ansiReset  = "\x1b[0m"
	ansiBold   = "\x1b[1m"
	ansiDim    = "\x1b[2m"
	ansiRed    = "\x1b[31m"
	ansiYellow = "\x1b[33m"
)

// page collects lines that fit.
type page struct {
	view  View
	lines []string
}

// line adds one, cut to the width; code is for the whole of it.
func (p *page) line(code, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if utf8.RuneCountInString(text) > p.view.Width {
		text = string([]rune(text)[:p.view.Width-1]) + "…"
	}
	if text = strings.TrimRight(text, " "); p.view.Colour && code != "" && text != "" {
		text = code + text + ansiReset
	}
	p.lines = append(p.lines, text)
}

// left is how many lines are free above the last one.
func (p *page) left() int { return p.view.Height - 1 - len(p.lines) }

// Frame draws a view: at most Height lines of at most Width characters.
func (v View) Frame() string {
	v.Width, v.Height = max(v.Width, 60), max(v.Height, 16)
	p := &page{view: v}
	both := pair{v.Before, v.Now}
	p.head(both)
	p.lanes(both)
	p.plugins(both)
	p.holds()
	p.accounts(both)
	for p.left() > 0 {
		p.lines = append(p.lines, "")
	}
	p.line(ansiDim, "q quits; rates and plugins are this replica's, the queue is everybody's")
	return strings.Join(p.lines, "\n") + "\n"
}

func (p *page) head(both pair) {
	build := "?"
	if versions := both.now.values("build_info", "version"); len(versions) > 0 {
		build = versions[0]
	}
	p.line(ansiBold, "Passmend %s at %s, %s", build, p.view.Replica, both.now.At.UTC().Format("15:04:05 UTC"))
	switch imbalance := both.now.sum("ledger_imbalance"); {
	case p.view.Failed != "":
		p.line(ansiRed, "NO ANSWER: %s; what follows is old", p.view.Failed)
	case imbalance != 0:
		p.line(ansiRed, "LEDGER OFF BY %.0f: docs/runbooks/ledger-imbalance.md", imbalance)
	case len(both.now.Samples["ledger_imbalance"]) == 0:
		p.line(ansiYellow, "ledger: not told yet")
	default:
		p.line("", "ledger balanced")
	}
	p.line("", "accepted %s/s   sent %s/s   redeemed %s/s   rejected %s/s   limited %s/s",
		number(both.rate("requests_accepted_total")), number(both.rate("requests_terminal_total", "state", "sent")),
		number(both.rate("fulfilments_total", "result", "ok")), number(both.rate("requests_rejected_total")), number(both.rate("rate_limited_total")))
	p.line("", "")
}

func (p *page) lanes(both pair) {
	p.line(ansiBold, "%-10s %8s %8s %8s %8s %9s %9s %9s", "LANE", "READY", "LATER", "LEASED", "OLDEST", "OK/S", "RETRY/S", "FAILED/S")
	for _, lane := range []string{"reset", "notice", "webhook"} {
		depth := func(state string) string {
			return count(both.now.sum("queue_depth", "lane", lane, "state", state))
		}
		age := both.now.sum("queue_oldest_age_seconds", "lane", lane)
		code := ""
		switch {
		case age > 60: // PassmendQueueOldestAge
			code = ansiRed
		case age > 5:
			code = ansiYellow
		}
		jobs := func(outcomes ...string) (total float64) {
			for _, outcome := range outcomes {
				total += both.rate("jobs_total", "lane", lane, "outcome", outcome)
			}
			return total
		}
		p.line(code, "%-10s %8s %8s %8s %8s %9s %9s %9s", lane, depth("ready"), depth("later"), depth("leased"), seconds(age),
			number(jobs("ok")), number(jobs("retry", "snoozed")), number(jobs("permanent", "unknown", "fenced")))
	}
	p.line("", "")
}

var breakerWords = map[float64]string{0: "closed", 1: "half open", 2: "OPEN"}

func (p *page) plugins(both pair) {
	p.line(ansiBold, "%-14s %-5s %8s %12s %9s %9s %10s", "PLUGIN", "UP", "RESTARTS", "MESSAGES/S", "ERRORS", "MEAN", "MEMORY")
	names := both.now.values("plugin_info", "plugin")
	slices.Sort(names)
	for i, name := range names {
		if i == 4 && len(names) > 5 {
			p.line("", "and %d more", len(names)-i)
			break
		}
		up, code := "yes", ""
		if both.now.sum("plugin_up", "plugin", name) == 0 {
			up, code = "NO", ansiRed
		}
		attempts := both.rate("delivery_attempts_total", "provider", name)
		errors, mean := "-", "-"
		if attempts > 0 {
			good := both.rate("delivery_attempts_total", "provider", name, "result", "accepted")
			errors = fmt.Sprintf("%.0f %%", 100*(attempts-min(good, attempts))/attempts)
		}
		if calls := both.rate("delivery_duration_seconds_count", "provider", name); calls > 0 {
			mean = seconds(both.rate("delivery_duration_seconds_sum", "provider", name) / calls)
		}
		p.line(code, "%-14s %-5s %8s %12s %9s %9s %10s", name, up, count(both.now.sum("plugin_restarts_total", "plugin", name)),
			number(attempts), errors, mean, fmt.Sprintf("%.0f MiB", both.now.sum("plugin_resident_memory_bytes", "plugin", name)/(1<<20)))
	}
	if len(names) == 0 {
		p.line("", "none: this replica delivers nothing")
	}
	var closed, other []string
	for _, name := range both.now.values("plugin_breaker_state", "plugin") {
		switch state := both.now.sum("plugin_breaker_state", "plugin", name); state {
		case 0:
			closed = append(closed, name)
		default:
			other = append(other, name+" "+breakerWords[state])
		}
	}
	slices.Sort(other)
	switch {
	case len(other) > 0:
		p.line(ansiRed, "breakers: %s; %d closed", strings.Join(other, ", "), len(closed))
	case len(closed) > 0:
		p.line("", "breakers: all %d closed", len(closed))
	}
	p.line("", "")
}

func (p *page) holds() {
	switch {
	case p.view.Unasked != "":
		p.line(ansiYellow, "holds: not known: %s", p.view.Unasked)
	case len(p.view.Holds) == 0:
		p.line("", "holds: none")
	default:
		for i, hold := range p.view.Holds {
			if i == 3 && len(p.view.Holds) > 4 {
				p.line(ansiYellow, "and %d more: passmend hold list", len(p.view.Holds)-i)
				break
			}
			p.line(ansiYellow, "HELD %s: %s since %s, %s wait", hold.What, hold.State, hold.Since.UTC().Format("Jan 2 15:04 UTC"), count(float64(hold.Waiting)))
		}
	}
}

// busy is an account and what it does.
type busy struct {
	name           string
	accepted, load float64
}

func (p *page) accounts(both pair) {
	if p.left() < 3 {
		return
	}
	p.line("", "")
	p.line(ansiBold, "%-38s %12s %12s", "BUSIEST ACCOUNTS", "ACCEPTED/S", "QUEUED")
	ids := append(both.now.values("requests_accepted_total", "account"), both.now.values("queue_depth", "account")...)
	slices.Sort(ids)
	var list []busy
	for _, id := range slices.Compact(ids) {
		name := id
		switch known := p.view.Names[id]; {
		case id == "_other":
			name = "(all others)"
		case known != "":
			name = known
		}
		b := busy{name, both.rate("requests_accepted_total", "account", id), both.now.sum("queue_depth", "account", id)}
		if b.accepted > 0 || b.load > 0 {
			list = append(list, b)
		}
	}
	slices.SortFunc(list, func(a, b busy) int {
		return cmp.Or(cmp.Compare(b.accepted, a.accepted), cmp.Compare(b.load, a.load), cmp.Compare(a.name, b.name))
	})
	if len(list) == 0 {
		p.line("", "none: nobody asks, and nothing waits")
	}
	for _, b := range list[:min(len(list), p.left())] {
		p.line("", "%-38s %12s %12s", b.name, number(b.accepted), count(b.load))
	}
}

// number writes a rate with as many digits as tell something.
func number(n float64) string {
	switch {
	case n == 0:
		return "0"
	case n < 10:
		return fmt.Sprintf("%.1f", n)
	default:
		return count(n)
	}
}

// count writes a number with a space every three digits.
func count(n float64) string {
	digits := fmt.Sprintf("%.0f", n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + " " + digits[i:]
	}
	return digits
}

// seconds writes a time with two or three digits.
func seconds(s float64) string {
	switch {
	case s == 0:
		return "0"
	case s < 1:
		return fmt.Sprintf("%.0f ms", max(1, 1000*s))
	case s < 10:
		return fmt.Sprintf("%.1f s", s)
	case s < 120:
		return fmt.Sprintf("%.0f s", s)
	case s < 2*3600:
		return fmt.Sprintf("%.0f min", s/60)
	}
	return fmt.Sprintf("%.0f h", s/3600)
}
