package httpapi

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Limits are those of the edge; each is counted by this process alone. The zero
// value of a field means its default.
type Limits struct {
	Rstpwd Limit // a window per account, client and address on POST passwords; default 5/h
	Mutpwd Limit // a window per account, client and user on actions/reset-password; default 5/10m
	Auth   Limit // a window per account, client and address on POST tokens; default 5/m
	IP     Limit // per client on POST passwords and the hosted form; default 20/m:10,200/d
}

// DefaultLimits are those of contract.md, G, and threats.md, "Abuse limits".
func DefaultLimits() Limits {
	return Limits{
		Rstpwd: Limit{rules: []rule{{count: 5, per: time.Hour}}},
		Mutpwd: Limit{rules: []rule{{count: 5, per: 10 * time.Minute}}},
		Auth:   Limit{rules: []rule{{count: 5, per: time.Minute}}},
		IP:     Limit{rules: []rule{{count: 20, per: time.Minute, burst: 10}, {count: 200, per: 24 * time.Hour}}},
	}
}

// validate puts the defaults in and refuses a burst where it means nothing.
func (l *Limits) validate() error {
	standard := DefaultLimits()
	for _, each := range []struct {
		name     string
		limit    *Limit
		standard Limit
		window   bool
	}{
		{"Rstpwd", &l.Rstpwd, standard.Rstpwd, true},
		{"Mutpwd", &l.Mutpwd, standard.Mutpwd, true},
		{"Auth", &l.Auth, standard.Auth, true},
		{"IP", &l.IP, standard.IP, false},
	} {
		if each.limit.rules == nil && !each.limit.off {
			*each.limit = each.standard
		}
		for _, r := range each.limit.rules {
			if each.window && r.burst != 0 {
				return fmt.Errorf("http edge: limit %s: a fixed window takes no burst; write it as %s", each.name, each.standard)
			}
		}
	}
	return nil
}

// Limit is what one key may do in a time. The zero value stands for a default.
type Limit struct {
	off   bool
	rules []rule // every one of them holds
}

type rule struct {
	count int
	per   time.Duration
	burst int // 0: count
}

// Off is no limit at all.
func Off() Limit { return Limit{off: true} }

// Bounds of a limit's parts.
const (
	maxLimitCount = 1_000_000
	maxLimitRules = 4
	maxLimitTime  = 31 * 24 * time.Hour
)

// ParseLimit reads "off" or RATE/UNIT[:BURST][,...], where RATE and BURST are 1
// to 1,000,000 and UNIT is s, m, h or d with perhaps a number before it, at most 31
// days: 5/h, 5/10m, 20/m:10,200/d. Several, at most 4, hold together. A fixed
// window takes no BURST; without one a rate lets RATE through at once.
func ParseLimit(text string) (Limit, error) {
	text = strings.TrimSpace(text)
	if text == "off" {
		return Off(), nil
	}
	refused := fmt.Errorf("limit %q: want RATE/UNIT[:BURST][,...] or off, as 5/10m or 20/m:10,200/d", text)
	parts := strings.Split(text, ",")
	if len(parts) > maxLimitRules {
		return Limit{}, refused
	}
	var limit Limit
	for _, part := range parts {
		r, ok := parseRule(strings.TrimSpace(part))
		if !ok {
			return Limit{}, refused
		}
		limit.rules = append(limit.rules, r)
	}
	return limit, nil
}

func parseRule(text string) (r rule, ok bool) {
	text, burst, hasBurst := strings.Cut(text, ":")
	count, unit, ok := strings.Cut(text, "/")
	if !ok || unit == "" {
		return rule{}, false
	}
	if r.count, ok = parseCount(count); !ok {
		return rule{}, false
	}
	if hasBurst {
		if r.burst, ok = parseCount(burst); !ok {
			return rule{}, false
		}
	}
	times, name := 1, unit[len(unit)-1]
	if digits := unit[:len(unit)-1]; digits != "" {
		if times, ok = parseCount(digits); !ok {
			return rule{}, false
		}
	}
	length, known := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[name]
	if !known || time.Duration(times) > maxLimitTime/length {
		return rule{}, false
	}
	r.per = time.Duration(times) * length
	return r, true
}

func parseCount(text string) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return int(n), err == nil && n >= 1 && n <= maxLimitCount
}

// String gives the form that ParseLimit reads; the zero value gives "default".
func (l Limit) String() string {
	if l.off {
		return "off"
	}
	if l.rules == nil {
		return "default"
	}
	parts := make([]string, len(l.rules))
	for i, r := range l.rules {
		parts[i] = fmt.Sprintf("%d/%s", r.count, unitOf(r.per))
		if r.burst != 0 {
			parts[i] += fmt.Sprintf(":%d", r.burst)
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
