package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

// How often progress is shown: a bar is drawn anew on a terminal, and lines go by
// anywhere else.
const (
	barEvery  = 100 * time.Millisecond
	lineEvery = 5 * time.Second
)

// progress shows how far an import is: a bar on a terminal, else a line now and then.
type progress struct {
	w        io.Writer
	width    int // columns of the terminal; 0: none
	size     int64
	read     *countingReader
	began    time.Time
	shown    time.Time
	onScreen bool
}

func newProgress(w io.Writer, size int64, read *countingReader) *progress {
	now := time.Now()
	p := &progress{w: w, size: size, read: read, began: now, shown: now}
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) && os.Getenv("TERM") != "dumb" {
		p.width = widthWithoutTerminal
		if columns, _, err := term.GetSize(int(file.Fd())); err == nil && columns > 0 {
			p.width = max(columns, narrowest)
		}
	}
	return p
}

// show draws, if it is time to.
func (p *progress) show(r *importRun) {
	every := lineEvery
	if p.width > 0 {
		every = barEvery
	}
	if now := time.Now(); now.Sub(p.shown) >= every {
		p.shown = now
		p.draw(r, now)
	}
}

func (p *progress) draw(r *importRun, now time.Time) {
	took := now.Sub(p.began)
	text := fmt.Sprintf("%d lines, %d created, %d there already, %d refused, %.0f/s",
		r.read, r.created, r.present, r.refused, float64(r.read)/took.Seconds())
	if p.width == 0 {
		fmt.Fprintf(p.w, "passmend: %s%s\n", p.percent(), text)
		return
	}
	line := p.percent() + text
	if bar := min(p.width-len(line)-4, 30); p.size > 0 && bar >= 10 {
		full := int(float64(bar) * p.part())
		line = "[" + strings.Repeat("#", full) + strings.Repeat(".", bar-full) + "] " + line
	}
	p.clear()
	fmt.Fprint(p.w, line[:min(len(line), p.width-1)])
	p.onScreen = true
}

// clear takes the bar away, so that a line can stand in its place.
func (p *progress) clear() {
	if p.onScreen {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.onScreen = false
	}
}

// end leaves the last state on a terminal.
func (p *progress) end(r *importRun) {
	if p.width > 0 {
		p.draw(r, time.Now())
		fmt.Fprintln(p.w)
		p.onScreen = false
	}
}

func (p *progress) part() float64 {
	return min(float64(p.read.n.Load())/float64(max(p.size, 1)), 1)
}

func (p *progress) percent() string {
	if p.size == 0 {
		return ""
	}
	return fmt.Sprintf("%3.0f%%  ", 100*p.part())
}

// countingReader knows how much was read.
type countingReader struct {
	io.Reader
	n atomic.Int64
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}
