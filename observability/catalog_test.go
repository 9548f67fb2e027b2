package observability

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// contract is the list of operability.md, and beyond it what this service counts
// besides, each with its labels in the alphabet's order.
var contract = map[string]string{
	"http_requests_total":           "counter code method route",
	"http_request_duration_seconds": "histogram method route",
	"http_inflight_requests":        "gauge listener",

	"requests_accepted_total": "counter account",
	"requests_rejected_total": "counter reason",
	"rate_limited_total":      "counter action scope",
	"requests_terminal_total": "counter account reason state",
	"ledger_requests":         "gauge state",
	"ledger_imbalance":        "gauge",

	"queue_depth":                  "gauge account lane state",
	"queue_oldest_age_seconds":     "gauge lane",
	"queue_wait_seconds":           "histogram lane",
	"queue_active_tenants":         "gauge",
	"queue_claim_duration_seconds": "histogram db",
	"jobs_total":                   "counter lane outcome",
	"jobs_rescued_total":           "counter lane",
	"jobs_quarantined_total":       "counter lane",

	"accept_to_ack_seconds":     "histogram provider",
	"delivery_attempts_total":   "counter account provider result",
	"delivery_duration_seconds": "histogram provider",

	"plugin_up":                    "gauge plugin protocol version",
	"plugin_info":                  "gauge plugin protocol version",
	"plugin_restarts_total":        "counter plugin reason",
	"plugin_rpc_duration_seconds":  "histogram method plugin",
	"plugin_rpc_errors_total":      "counter code method plugin",
	"plugin_breaker_state":         "gauge plugin",
	"plugin_resident_memory_bytes": "gauge plugin",
	"plugin_open_fds":              "gauge plugin",
	"plugin_cpu_seconds_total":     "counter plugin",
	"plugin_sandbox":               "gauge feature plugin",
	"plugin_log_lines_total":       "counter level plugin",
	"plugin_log_dropped_total":     "counter level plugin",

	"links_issued_total": "counter result",
	"form_views_total":   "counter result",
	"fulfilments_total":  "counter result",

	"hash_duration_seconds": "histogram algorithm",
	"hash_inflight":         "gauge",
	"hash_waiting":          "gauge",
	"hash_rejected_total":   "counter",
	"hash_upgraded_total":   "counter from",

	"webhook_attempts_total":   "counter result",
	"webhook_duration_seconds": "histogram result",
	"webhook_blocked_total":    "counter reason",
	"webhook_endpoints":        "gauge state",

	"db_pool_connections":    "gauge state",
	"db_pool_wait_seconds":   "histogram",
	"db_tx_duration_seconds": "histogram op",
	"db_errors_total":        "counter class",
	"sqlite_wal_bytes":       "gauge",
	"disk_free_bytes":        "gauge path_role",
	"disk_free_ratio":        "gauge path_role",

	"leader": "gauge task",
	"maintenance_last_success_timestamp_seconds": "gauge task",
	"key_slot_age_seconds":                       "gauge slot",
	"tls_cert_expiry_timestamp_seconds":          "gauge listener",
	"canary_last_success_timestamp_seconds":      "gauge provider stage",
	"canary_duration_seconds":                    "histogram stage",
	"canary_link_intact":                         "gauge provider",
	"redactions_total":                           "counter sink",
	"build_info":                                 "gauge commit goversion version",

	"holds":                     "gauge scope state",
	"delivery_failovers_total":  "counter result",
	"provider_events_total":     "counter kind result",
	"trace_spans_dropped_total": "counter",
}

func TestTheCatalogueIsTheContract(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for _, f := range Families() {
		name := strings.TrimPrefix(f.Name, namespace+"_")
		if _, twice := got[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		labels := slices.Sorted(slices.Values(f.Labels))
		got[name] = strings.Join(append([]string{f.Type}, labels...), " ")
		if len(labels) > maxLabels {
			t.Errorf("%s has more than %d labels", name, maxLabels)
		}
		if named := slices.Contains(labels, accountLabel); named != slices.Contains(ofAccounts, name) {
			t.Errorf("%s: account is a label: %t", name, named)
		}
	}
	if diff := cmp.Diff(contract, got); diff != "" {
		t.Errorf("families (-contract +catalogue):\n%s", diff)
	}
}

// ofAccounts are the families that may tell accounts apart.
var ofAccounts = []string{"requests_accepted_total", "requests_terminal_total", "delivery_attempts_total", "queue_depth"}

// runtimeSeries is what Go's collector and the process's show, with room for what a
// new Go adds.
const runtimeSeries = 80

func TestAScrapeStaysBoundedWhateverHappens(t *testing.T) {
	t.Parallel()
	total := runtimeSeries
	for _, f := range Families() {
		if f.Series <= 0 {
			t.Errorf("%s has no bound", f.Name)
		}
		total += f.Series
	}
	if total > MaxSeries {
		t.Errorf("%d series at worst, want at most %d", total, MaxSeries)
	}
	t.Logf("%d series at worst", total)
}

// An objective is a ratio of two counters only where its bound is an edge.
func TestObjectivesAreEdges(t *testing.T) {
	t.Parallel()
	for name, bounds := range map[string][]float64{
		"http_request_duration_seconds": {.02, .05, .5}, // S2, S4
		"accept_to_ack_seconds":         {5, 60},        // S3
		"queue_wait_seconds":            {5},            // S5
	} {
		for _, bound := range bounds {
			if !slices.Contains(familyOf(name, histogram).buckets, bound) {
				t.Errorf("%s has no edge at %g s", name, bound)
			}
		}
	}
}
