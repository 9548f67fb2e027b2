package oncall

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// without is what a single machine truly does not have, as it stands in queries, each
// with the reason. A query that reads it is not waited for; one that has data all the
// same has lost its excuse.
var without = map[string]string{
	"passmend_tls_cert_expiry_timestamp_seconds": "TLS ends in front of the service",
}

// patience is how long queries may be without data. A machine with much else to do
// needs minutes for what takes seconds elsewhere: plugins that start again, a canary
// that sets out once a minute.
const patience = 15 * time.Minute

// Every query of a dashboard and every recorded rule has data of services under
// load, in which things go wrong.
func TestEveryQueryHasDataOfALiveService(t *testing.T) {
	t.Parallel()
	executable := program(t, "prometheus")
	deployed, developed := startDeployment(t), startDevelopment(t)
	prometheus := startPrometheus(t, executable, map[string]string{"reset": deployed.admin, "hooks": developed.admin})
	stop := load(t, deployed, developed)
	defer stop()

	queries := liveQueries(t)
	lacks := prometheus.lacking(t, queries, time.Now().Add(patience))
	if text := lacks.list(func(q query) bool { return excuse(q.expr) == "" }); text != "" {
		t.Errorf("after %s these had no data:\n%s", patience, text)
	}
	t.Logf("%d queries, %d of them have data; without, as expected:\n%s", len(queries), len(queries)-len(lacks),
		lacks.list(func(q query) bool { return excuse(q.expr) != "" }))
	for _, q := range queries {
		if _, lacks := lacks[q]; excuse(q.expr) != "" && !lacks {
			t.Errorf("%s has data: it needs no excuse", q.where)
		}
	}
	// The control: a metric that is not there has none.
	control := query{"the control", `sum(passmend_no_such_metric{namespace=~"$namespace"})`}
	if lacks := prometheus.lacking(t, []query{control}, time.Now()); len(lacks) != 1 {
		t.Errorf("a metric that is not there has data: %s", control.expr)
	}
}

// liveQueries are those of dashboards, and the names that rules record.
func liveQueries(t *testing.T) (all []query) {
	t.Helper()
	for _, board := range readDashboards(t) {
		all = append(all, board.queries()...)
	}
	for _, r := range allRules(t) {
		if q := (query{"rule", r.Record}); r.Record != "" && !slices.Contains(all, q) {
			all = append(all, q)
		}
	}
	return all
}

// lack is queries without data, each with what was answered last.
type lack map[query]string

// lacking asks until every query that is not excused had data once, or until then.
func (s *server) lacking(t *testing.T, queries []query, until time.Time) lack {
	t.Helper()
	open := make(lack)
	for _, q := range queries {
		open[q] = "never asked"
	}
	for {
		waiting := false
		for q := range open {
			n, err := s.ask(q.expr)
			switch {
			case err != nil:
				open[q] = err.Error()
			case n == 0:
				open[q] = "no series"
			default:
				delete(open, q)
				continue
			}
			waiting = waiting || excuse(q.expr) == ""
		}
		if !waiting || time.Now().After(until) {
			return open
		}
		time.Sleep(2 * time.Second)
	}
}

// list writes those down that are wanted, one a line.
func (l lack) list(wanted func(q query) bool) string {
	var lines []string
	for q, answer := range l {
		if wanted(q) {
			lines = append(lines, fmt.Sprintf("  %s: %s: %s%s", q.where, answer, q.expr, because(excuse(q.expr))))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

func excuse(expr string) string {
	for what, reason := range without {
		if strings.Contains(expr, what) {
			return reason
		}
	}
	return ""
}
