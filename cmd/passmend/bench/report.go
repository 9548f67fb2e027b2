package bench

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"
	"time"
)

// Report is everything that a run came to.
type Report struct {
	Version string    `json:"version"`
	Began   time.Time `json:"began"`
	Took    float64   `json:"tookSeconds"`
	Machine Machine   `json:"machine"`
	Engine  string    `json:"engine"` // with version and durability
	Disk    string    `json:"disk"`   // file system of the database's directory, or where the database is
	Command string    `json:"command"`
	Repeats int       `json:"repeats"`
	Seconds float64   `json:"seconds"` // of one repeat
	Limits  []*Figure `json:"limits"`
	Figures []*Figure `json:"figures"`
}

// Figure is one row: a value for each repeat, and what it should be.
type Figure struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit"`
	Values []float64 `json:"values"`
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Goal   *Goal     `json:"goal,omitempty"`
	// Met says whether the median reaches the goal; nil: there is none.
	Met     *bool  `json:"met,omitempty"`
	Note    string `json:"note,omitempty"`
	Skipped string `json:"skipped,omitempty"` // why there are no values
}

// Goal is a bound.
type Goal struct {
	Least *float64 `json:"least,omitempty"`
	Most  *float64 `json:"most,omitempty"`
}

func atLeast(bound float64) *Goal { return &Goal{Least: &bound} }
func atMost(bound float64) *Goal  { return &Goal{Most: &bound} }

// add takes the value of one repeat.
func (f *Figure) add(value float64) {
	f.Values = append(f.Values, value)
	f.Median = median(f.Values)
	f.Min, f.Max = f.Values[0], f.Values[0]
	for _, v := range f.Values {
		f.Min, f.Max = math.Min(f.Min, v), math.Max(f.Max, v)
	}
	if f.Goal != nil {
		met := f.Goal.missedBy(f.Median) <= 0
		f.Met = &met
	}
}

// missedBy is the distance from the goal as a share of it, positive when missed.
func (g *Goal) missedBy(value float64) float64 {
	if g.Least != nil {
		return (*g.Least - value) / *g.Least
	}
	return (value - *g.Most) / *g.Most
}

func (g *Goal) String() string {
	switch {
	case g == nil:
		return ""
	case g.Least != nil:
		return ">= " + number(*g.Least)
	default:
		return "<= " + number(*g.Most)
	}
}

// count prints a whole number, thousands apart.
func count(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return number(float64(n))
}

// verdict says in a word how the figure stands to its goal.
func (f *Figure) verdict() string {
	switch {
	case f.Met == nil:
		return ""
	case *f.Met:
		return "met"
	default:
		return fmt.Sprintf("missed by %.0f %%", 100*f.Goal.missedBy(f.Median))
	}
}

// number prints three significant digits, and thousands apart.
func number(v float64) string {
	switch size := math.Abs(v); {
	case size >= 1000:
		digits := strconv.FormatFloat(v, 'f', 0, 64)
		for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
			digits = digits[:i] + "," + digits[i:]
		}
		return digits
	case size >= 100 || v == 0:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case size >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case size >= 0.1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
}

// Print writes the report as text.
func (r *Report) Print(w io.Writer) error {
	m := r.Machine
	fmt.Fprintf(w, "passmend bench %s, %s\n\n", r.Version, r.Began.UTC().Format(time.RFC3339))
	machine := fmt.Sprintf("%d cores, %s, %.1f GiB, %s, %s", m.Cores, orUnknown(m.CPU), float64(m.Memory)/(1<<30), m.System, m.Go)
	if m.Busy >= 0 {
		machine += fmt.Sprintf("; others used %.2f cores just before", m.Busy)
	}
	head := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintf(head, "machine\t%s\n", machine)
	fmt.Fprintf(head, "engine\t%s; %s\n", r.Engine, r.Disk)
	fmt.Fprintf(head, "run\t%d repeats of %s s, %s s in all; load, server, plugin, database and sink on this machine; limits and coalescing off, log level info\n",
		r.Repeats, number(r.Seconds), number(r.Took))
	fmt.Fprintf(head, "again\t%s\n", r.Command)
	if err := head.Flush(); err != nil {
		return err
	}
	for _, part := range []struct {
		title   string
		figures []*Figure
	}{{"LIMITS OF THE MACHINE", r.Limits}, {"FIGURES", r.Figures}} {
		if err := printFigures(w, part.title, part.figures); err != nil {
			return err
		}
	}
	return nil
}

func printFigures(w io.Writer, title string, figures []*Figure) error {
	if len(figures) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintf(table, "%s\tUNIT\tMEDIAN\tMIN .. MAX\tGOAL\t\n", title)
	for _, f := range figures {
		if len(f.Values) == 0 {
			why := "not measured"
			if f.Skipped != "" {
				why = "skipped"
			}
			fmt.Fprintf(table, "%s\t\t%s\t\t%s\t\n", f.Name, why, f.Goal)
			continue
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s .. %s\t%s\t%s\n", f.Name, f.Unit, number(f.Median), number(f.Min), number(f.Max), f.Goal, f.verdict())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	blank := false
	for _, f := range figures {
		for _, text := range []string{f.Note, f.Skipped} {
			if text == "" {
				continue
			}
			if !blank {
				fmt.Fprintln(w)
				blank = true
			}
			fmt.Fprintf(w, "%s: %s\n", f.Name, text)
		}
	}
	return nil
}

func orUnknown(text string) string {
	if text == "" {
		return "unknown processor"
	}
	return text
}
