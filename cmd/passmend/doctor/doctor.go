// Package doctor holds a deployment against what it needs: each check is a function of
// what was found, and gives a line that is green, amber or red with what to do about it.
//
// Limits first. A check looks and changes nothing: no file is made, no schema migrated,
// no mail sent. It sees what the machine it runs on sees: DNS by the system's resolver,
// certificates by the system's roots. What cannot be asked is amber, never green. It
// does not know what the mail service in front signs or sends from.
package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// State of what was checked.
type State string

// The closed list: green, amber and red. The words stand beside every colour.
const (
	OK   State = "OK"
	Warn State = "WARN"
	Fail State = "FAIL"
)

// Line is the result of a check.
type Line struct {
	Area   string `json:"area"` // as keys or plugins
	Name   string `json:"name"`
	State  State  `json:"state"`
	Found  string `json:"found"`
	Remedy string `json:"remedy,omitempty"` // what to do; empty where there is nothing
	// Details are for machines, and for people where the line is not green.
	Details []string `json:"details,omitempty"`
}

// Bad gives a line that is amber or red.
func Bad(state State, area, name, remedy, found string, args ...any) Line {
	return Line{Area: area, Name: name, State: state, Remedy: remedy, Found: fmt.Sprintf(found, args...)}
}

// Good gives a green line.
func Good(area, name, found string, args ...any) Line {
	return Line{Area: area, Name: name, State: OK, Found: fmt.Sprintf(found, args...)}
}

// Report is every line, area by area.
type Report struct {
	Version string `json:"version"`
	OK      int    `json:"ok"`
	Warn    int    `json:"warn"`
	Fail    int    `json:"fail"`
	Lines   []Line `json:"lines"`
}

// NewReport counts the lines.
func NewReport(version string, lines []Line) Report {
	r := Report{Version: version, Lines: lines}
	for _, line := range lines {
		switch line.State {
		case OK:
			r.OK++
		case Warn:
			r.Warn++
		default:
			r.Fail++
		}
	}
	return r
}

// WriteJSON writes the report for machines.
func (r Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(r)
}

const (
	ansiReset = "\x1b[0m"
	ansiBold  = "\x1b[1m"
)

var ansi = map[State]string{OK: "\x1b[32m", Warn: "\x1b[33m", Fail: "\x1b[31m"}

// WriteText writes the report for people. Colour repeats what a word says.
func (r Report) WriteText(w io.Writer, colour bool) error {
	paint := func(code, text string) string {
		if !colour {
			return text
		}
		return code + text + ansiReset
	}
	width := 0
	for _, line := range r.Lines {
		width = max(width, len(line.Name))
	}
	width = min(width, 32)
	var text strings.Builder
	area := ""
	for _, line := range r.Lines {
		if line.Area != area {
			area = line.Area
			text.WriteString(paint(ansiBold, area) + "\n")
		}
		fmt.Fprintf(&text, "  %s%s %-*s  %s\n", paint(ansi[line.State], string(line.State)), strings.Repeat(" ", 5-len(line.State)), width, line.Name, line.Found)
		indent := strings.Repeat(" ", 8+width+2)
		if line.State != OK {
			for _, detail := range line.Details {
				text.WriteString(indent + detail + "\n")
			}
		}
		if line.Remedy != "" {
			text.WriteString(indent + "-> " + line.Remedy + "\n")
		}
	}
	fmt.Fprintf(&text, "\n%d OK, %d WARN, %d FAIL\n", r.OK, r.Warn, r.Fail)
	_, err := io.WriteString(w, text.String())
	return err
}

// sorted gives values once each, in order.
func sorted(values []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(values)))
}
