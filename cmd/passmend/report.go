package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// report prints the steps of a journey. On a terminal it uses its width and, if
// NO_COLOR is not set, a little colour; anywhere else it is plain text.
type report struct {
	w       io.Writer
	width   int // columns
	colour  bool
	details []string
}

const (
	widthWithoutTerminal = 80
	narrowest            = 30
	ansiReset            = "\x1b[0m"
	ansiBold             = "\x1b[1m"
	ansiDim              = "\x1b[2m"
	ansiGreen            = "\x1b[32m"
	ansiRed              = "\x1b[31m"
)

func newReport(w io.Writer) *report {
	r := &report{w: w, width: widthWithoutTerminal}
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		if columns, _, err := term.GetSize(int(file.Fd())); err == nil && columns > 0 {
			r.width = max(columns, narrowest)
		}
		// https://no-color.org: any value but the empty one.
		r.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return r
}

func (r *report) title(text string) {
	fmt.Fprintln(r.w, r.paint(ansiBold, text))
}

// run runs a step, then prints its number, name, time and details.
func (r *report) run(ctx context.Context, number int, s step, j *journey) error {
	r.details = nil
	begun := time.Now()
	err := s.run(j, ctx)
	took := milliseconds(time.Since(begun))
	mark, colour := "ok", ansiGreen
	if err != nil {
		mark, colour = "FAILED", ansiRed
	}
	head := fmt.Sprintf("%d  %s", number, s.name)
	tail := took + "  " + mark
	fmt.Fprintln(r.w)
	if gap := r.width - len(head) - len(tail); gap >= 2 {
		fmt.Fprintf(r.w, "%s%s%s  %s\n", head, strings.Repeat(" ", gap), r.paint(ansiDim, took), r.paint(colour, mark))
	} else {
		r.wrap(s.name, fmt.Sprintf("%d  ", number), "   ")
		fmt.Fprintf(r.w, "   %s  %s\n", r.paint(ansiDim, took), r.paint(colour, mark))
	}
	for _, detail := range r.details {
		fmt.Fprintln(r.w, detail)
	}
	return err
}

// detail keeps a line for the step under way. A value that does not fit beside
// its name has lines of its own, unbroken where it is a link to be copied.
func (r *report) detail(name, value string) {
	const indent = "   "
	if line := fmt.Sprintf("%s%-12s  %s", indent, name, value); len(line) <= r.width {
		r.details = append(r.details, line)
		return
	}
	r.details = append(r.details, indent+name, indent+"  "+value)
}

// command keeps a line to be pasted, whole.
func (r *report) command(line string) {
	r.details = append(r.details, "   "+r.paint(ansiDim, "$ ")+line)
}

func (r *report) end(text string) {
	fmt.Fprintln(r.w)
	r.wrap(text, "", "")
}

// wrap prints text in lines of at most the width, broken between words.
func (r *report) wrap(text, first, rest string) {
	line := first
	empty := true
	for _, word := range strings.Fields(text) {
		if !empty && len(line)+1+len(word) > r.width {
			fmt.Fprintln(r.w, line)
			line, empty = rest, true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	fmt.Fprintln(r.w, line)
}

func (r *report) paint(colour, text string) string {
	if !r.colour {
		return text
	}
	return colour + text + ansiReset
}

// milliseconds prints a duration in the unit that the journey is judged by.
func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
