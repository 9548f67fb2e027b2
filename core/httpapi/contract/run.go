package contract

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// caseLimit bounds a case, and what it cleans up after itself.
const (
	caseLimit  = 5 * time.Minute
	cleanLimit = 2 * time.Minute
)

// suite is a run of the cases on one target.
type suite struct {
	Target
	ctx    context.Context //nolint:containedctx // of this run, which is one call
	client *http.Client
	word   string // stands in every name that this run makes
	number int    // of the last name
	keys   map[string]string
}

func newSuite(ctx context.Context, target Target) *suite {
	target.URL = strings.TrimRight(target.URL, "/")
	if target.MaxWait == 0 {
		target.MaxWait = 75 * time.Second
	}
	s := &suite{Target: target, ctx: ctx, client: target.Client, word: randomWord()}
	if s.client == nil {
		s.client = &http.Client{
			Timeout:       30 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return s
}

// run is one case being run.
type run struct {
	*suite
	ctx    context.Context //nolint:containedctx // of this case, which is one call
	result Result
	undo   []func() // in reverse, when the case has ended
	hears  string   // the URL of the endpoint that the case made last
}

type stop struct{}

var stopped any = stop{}

func (s *suite) try(c Case) (result Result) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(s.ctx, caseLimit)
	defer cancel()
	r := &run{suite: s, ctx: ctx, result: Result{Case: c.Name, Ruling: c.Ruling, Verdict: Held}}
	if missing := s.missing(c.needs); missing != "" {
		r.result.Verdict, r.result.Reasons = Skipped, []string{"it needs " + missing}
		return r.result
	}
	r.catch(func() { c.run(r) })
	clean, stopCleaning := context.WithTimeout(context.WithoutCancel(s.ctx), cleanLimit)
	defer stopCleaning()
	r.ctx = clean
	for i := len(r.undo) - 1; i >= 0; i-- {
		r.catch(r.undo[i])
	}
	if r.result.Verdict == Failed && c.Ruling != "" && s.Upstream {
		r.result.Verdict = Ruled
	}
	r.result.Seconds = time.Since(began).Seconds()
	return r.result
}

// catch runs what may end the case.
func (r *run) catch(f func()) {
	defer func() {
		if caught := recover(); caught != nil && caught != stopped {
			panic(caught)
		}
	}()
	f()
}

// missing names what the target lacks; "" for nothing.
func (s *suite) missing(need needs) string {
	for _, each := range needsText {
		if need&each.is != 0 && !s.has(each.is) {
			return each.text
		}
	}
	return ""
}

func (s *suite) has(need needs) bool {
	switch need {
	case admin:
		return s.AdminToken != ""
	case operator:
		return s.OperatorToken != ""
	case mail:
		return s.Mail != nil
	case receiver:
		return s.Receiver != nil
	case clock:
		return s.Expire != nil
	case ownHost:
		return s.Host != ""
	default:
		return !s.LimitsOff
	}
}

func (r *run) errorf(format string, args ...any) {
	r.result.Verdict = Failed
	r.result.Reasons = append(r.result.Reasons, fmt.Sprintf(format, args...))
}

// fatalf ends the case.
func (r *run) fatalf(format string, args ...any) {
	r.errorf(format, args...)
	panic(stopped)
}

// skipf ends the case, which could not be tried; what failed before stays failed.
func (r *run) skipf(format string, args ...any) {
	if r.result.Verdict != Failed {
		r.result.Verdict = Skipped
		r.result.Reasons = append(r.result.Reasons, fmt.Sprintf(format, args...))
	}
	panic(stopped)
}

// check fails the case when something is not as it must be, and goes on.
func (r *run) check(ok bool, format string, args ...any) {
	if !ok {
		r.errorf(format, args...)
	}
}
