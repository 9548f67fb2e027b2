package top

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Sample is one series of a scrape.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Scrape is what /metrics said at a time, by name without passmend_.
type Scrape struct {
	At      time.Time
	Samples map[string][]Sample
}

// maxScrape is more than a scrape ever has (docs/metrics.md).
const maxScrape = 8 << 20

// Read reads Prometheus's text format, version 0.0.4: what is not a metric of this
// service is passed over, what is no sample an error.
func Read(r io.Reader, at time.Time) (Scrape, error) {
	scrape := Scrape{At: at, Samples: make(map[string][]Sample)}
	lines := bufio.NewScanner(io.LimitReader(r, maxScrape))
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		line, ours := strings.CutPrefix(lines.Text(), "passmend_")
		if !ours {
			continue
		}
		name, sample, err := readSample(line)
		if err != nil {
			return scrape, fmt.Errorf("read metrics: %w", err)
		}
		scrape.Samples[name] = append(scrape.Samples[name], sample)
	}
	return scrape, lines.Err()
}

func readSample(line string) (name string, sample Sample, err error) {
	end := strings.IndexAny(line, "{ ")
	if end < 0 {
		return "", sample, fmt.Errorf("no value after %q", line)
	}
	name, rest := line[:end], line[end:]
	sample.Labels = make(map[string]string)
	if rest[0] == '{' {
		if rest, err = readLabels(rest[1:], sample.Labels); err != nil {
			return name, sample, fmt.Errorf("%s: %w", name, err)
		}
	}
	value, _, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	if sample.Value, err = strconv.ParseFloat(value, 64); err != nil {
		return name, sample, fmt.Errorf("%s: %q is no number", name, value)
	}
	return name, sample, nil
}

// readLabels reads name="value" pairs up to the closing bracket and gives what follows.
func readLabels(rest string, into map[string]string) (string, error) {
	for {
		if after, closed := strings.CutPrefix(rest, "}"); closed {
			return after, nil
		}
		name, after, found := strings.Cut(rest, `="`)
		if !found {
			return "", fmt.Errorf("labels end in %q", rest)
		}
		var value strings.Builder
		i := 0
		for ; i < len(after) && after[i] != '"'; i++ {
			if after[i] == '\\' && i+1 < len(after) {
				i++
				if after[i] == 'n' {
					value.WriteByte('\n')
					continue
				}
			}
			value.WriteByte(after[i])
		}
		if i >= len(after) {
			return "", fmt.Errorf("label %s has no end", name)
		}
		into[name] = value.String()
		rest = strings.TrimPrefix(after[i+1:], ",")
	}
}

// sum adds the samples of a family whose labels are as given, in pairs.
func (s Scrape) sum(name string, labels ...string) (total float64) {
	for _, sample := range s.Samples[name] {
		if sample.has(labels) {
			total += sample.Value
		}
	}
	return total
}

func (s Sample) has(labels []string) bool {
	for i := 0; i+1 < len(labels); i += 2 {
		if s.Labels[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}

// values gives the values that a label has in a family.
func (s Scrape) values(name, label string) (list []string) {
	seen := make(map[string]bool)
	for _, sample := range s.Samples[name] {
		if value := sample.Labels[label]; value != "" && !seen[value] {
			seen[value] = true
			list = append(list, value)
		}
	}
	return list
}

// pair is two scrapes of one replica.
type pair struct{ before, now Scrape }

// rate is by how much a counter grew in a second; a replica that restarted begins at 0.
func (p pair) rate(name string, labels ...string) float64 {
	seconds := p.now.At.Sub(p.before.At).Seconds()
	grown := p.now.sum(name, labels...) - p.before.sum(name, labels...)
	if seconds <= 0 || grown < 0 {
		return 0
	}
	return grown / seconds
}
