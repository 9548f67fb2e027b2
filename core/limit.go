package core

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Limit is what one key may do in a time. The zero value stands for a default.
type Limit struct {
	Off   bool
	Rates []Rate // every one of them holds
}

// Rate lets Count through in the time Per, and Burst at once; 0 means Count. Of a
// Budget, a rate without a burst is a window: no stretch of Per sees more than
// Count, which is then at most MaxWindow. With one, and at the edge, Burst may be
// used up at once and comes back evenly.
type Rate struct {
	Count int
	Per   time.Duration
	Burst int
}

// NoLimit lets everything through.
func NoLimit() Limit { return Limit{Off: true} }

// Or gives the limit, or standard for the zero value.
func (l Limit) Or(standard Limit) Limit {
	if l.Rates == nil && !l.Off {
		return standard
	}
	return l
}

// Bounds of a limit's parts.
const (
	// MaxRates is how many rates hold together.
	MaxRates = 4
	// MaxWindow is the longest count of a Budget's rate without a burst: each of it is
	// a row.
	MaxWindow = 64

	maxLimitCount = 1_000_000
	maxLimitTime  = 31 * 24 * time.Hour
)

// ParseLimit reads "off" or RATE/UNIT[:BURST][,...], where RATE and BURST are 1
// to 1,000,000 and UNIT is s, m, h or d with perhaps a number before it, at most 31
// days: 5/h, 5/10m, 20/m:10,200/d. Several, at most 4, hold together. A fixed
// window takes no BURST; without one a rate lets RATE through at once.
func ParseLimit(text string) (Limit, error) {
	text = strings.TrimSpace(text)
	if text == "off" {
		return NoLimit(), nil
	}
	refused := fmt.Errorf("limit %q: want RATE/UNIT[:BURST][,...] or off, as 5/10m or 20/m:10,200/d", text)
	parts := strings.Split(text, ",")
	if len(parts) > MaxRates {
		return Limit{}, refused
	}
	var limit Limit
	for _, part := range parts {
		r, ok := parseRate(strings.TrimSpace(part))
		if !ok {
			return Limit{}, refused
		}
		limit.Rates = append(limit.Rates, r)
	}
	return limit, nil
}

func parseRate(text string) (r Rate, ok bool) {
	text, burst, hasBurst := strings.Cut(text, ":")
	count, unit, ok := strings.Cut(text, "/")
	if !ok || unit == "" {
		return Rate{}, false
	}
	if r.Count, ok = parseCount(count); !ok {
		return Rate{}, false
	}
	if hasBurst {
		if r.Burst, ok = parseCount(burst); !ok {
			return Rate{}, false
		}
	}
	times, name := 1, unit[len(unit)-1]
	if digits := unit[:len(unit)-1]; digits != "" {
		if times, ok = parseCount(digits); !ok {
			return Rate{}, false
		}
	}
	length, known := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[name]
	if !known || time.Duration(times) > maxLimitTime/length {
		return Rate{}, false
	}
	r.Per = time.Duration(times) * length
	return r, true
}

func parseCount(text string) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return int(n), err == nil && n >= 1 && n <= maxLimitCount
}

// String gives the form that ParseLimit reads; the zero value gives "default".
func (l Limit) String() string {
	if l.Off {
		return "off"
	}
	if l.Rates == nil {
		return "default"
	}
	parts := make([]string, len(l.Rates))
	for i, r := range l.Rates {
		parts[i] = fmt.Sprintf("%d/%s", r.Count, unitOf(r.Per))
		if r.Burst != 0 {
			parts[i] += fmt.Sprintf(":%d", r.Burst)
		}
	}
	return strings.Join(parts, ",")
}

func unitOf(per time.Duration) string {
	for _, unit := range []struct {
		name   string
		length time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		switch {
		case per == unit.length:
			return unit.name
		case per%unit.length == 0:
			return fmt.Sprintf("%d%s", per/unit.length, unit.name)
		}
	}
	return per.String()
}
