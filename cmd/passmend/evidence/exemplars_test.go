package evidence

import (
	"fmt"
	"regexp"
	"slices"
)

// exemplars gives the trace ids that a scrape in OpenMetrics shows with each
// histogram.
func (s *site) exemplars() map[string][]string {
	s.t.Helper()
	scrape := (&site{t: s.t, base: s.admin}).send("GET", "/metrics", "", "Accept", "application/openmetrics-text; version=1.0.0").body
	all := make(map[string][]string)
	for _, found := range regexp.MustCompile(`(?m)^passmend_(\w+)_bucket\{.*# \{(\w+)="([^"]*)"\}`).FindAllStringSubmatch(scrape, -1) {
		if found[2] != "trace_id" {
			s.t.Errorf("%s has an exemplar with %s", found[1], found[2])
		}
		all[found[1]] = append(all[found[1]], found[3])
	}
	return all
}

// creating is a call without a span of its own for the statement.
const creating = "POST /v1/accounts/{account}/users"

// leads are the histograms whose exemplars lead to a trace, each with the span in it
// that shows the time.
var leads = map[string][]string{
	"http_request_duration_seconds": {accepting, resetting, creating, "GET /v1/ping"},
	"accept_to_ack_seconds":         {"passmend.provider.v1.Provider/Send"},
	"delivery_duration_seconds":     {"passmend.provider.v1.Provider/Send"},
	"plugin_rpc_duration_seconds":   {"passmend.provider.v1.Provider/Send"},
	"hash_duration_seconds":         {"hash password"},
	"queue_wait_seconds":            {"process reset", "process notice"},
	"queue_claim_duration_seconds":  {"claim deliveries"},
	"db_tx_duration_seconds":        {"INSERT requests", "UPDATE requests", "UPDATE deliveries", creating},
}

// faultsOfExemplars follows each to its trace.
func (c *collector) faultsOfExemplars(exemplars map[string][]string) (faults []string) {
	for histogram, spans := range leads {
		if len(exemplars[histogram]) == 0 {
			faults = append(faults, fmt.Sprintf("%s has no exemplar", histogram))
		}
		for _, trace := range exemplars[histogram] {
			shows := c.which(func(s span) bool { return s.trace == trace && slices.Contains(spans, s.name) })
			if len(shows) == 0 {
				faults = append(faults, fmt.Sprintf("%s leads to trace %q, which has none of %q", histogram, trace, spans))
			}
		}
	}
	return faults
}
