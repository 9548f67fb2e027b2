package observability

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Family is one metric of the catalogue, as `passmend metrics` and docs/metrics.md
// show it.
type Family struct {
	Name   string // with the prefix, as it is scraped
	Type   string // counter, gauge or histogram
	Labels []string
	Help   string
	// Series is the most series that a scrape shows of it, whatever happens: beyond
	// that label values become "other", and accounts "_other". A histogram's edges,
	// its sum and its count are one each.
	Series int
}

// Families gives the catalogue: every family with the prefix passmend_ that there
// is, in the order of operability.md.
func Families() []Family {
	list := make([]Family, 0, len(catalogue))
	for _, f := range catalogue {
		list = append(list, Family{Name: namespace + "_" + f.name, Type: string(f.kind), Labels: f.labelNames(), Help: f.help, Series: f.series()})
	}
	return list
}

// The kinds of a family.
type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
)

// label is a label and how many values it can have at a time, "other" among them.
type label struct {
	name string
	most int
}

// of is a label whose values are a closed list, and "other".
func of(name string, list enum) label { return label{name, len(list) + 1} }

// family is one entry of the catalogue.
type family struct {
	name   string // without the prefix
	kind   kind
	help   string
	labels []label
	// most bounds the label sets that name no account; 0: the product of the labels.
	most int
	// named bounds, beside most, the label sets that name an account.
	named   int
	buckets []float64
	native  bool // with exponential buckets beside the plain ones, for scrapers that take them
}

func (f family) labelNames() []string {
	names := make([]string, len(f.labels))
	for i, l := range f.labels {
		names[i] = l.name
	}
	return names
}

// sets is the most label sets that name no account, the one that stands for the
// rest among them.
func (f family) sets() int {
	if f.most > 0 {
		return f.most
	}
	product := 1
	for _, l := range f.labels {
		if l.name != accountLabel {
			product *= l.most
		}
	}
	return product
}

func (f family) series() int {
	each := 1
	if f.kind == histogram {
		each = len(f.buckets) + 3 // the edge +Inf, the sum and the count
	}
	return each * (f.sets() + f.named)
}

func (f family) desc() *prometheus.Desc {
	return prometheus.NewDesc(namespace+"_"+f.name, f.help, f.labelNames(), nil)
}

// Bounds of the label sets. Together they keep a scrape under MaxSeries whatever
// happens, which a test adds up.
const (
	// MaxSeries is the most series of a scrape, Go's and the process's own included.
	MaxSeries = 5000
	// maxNamed is how many accounts are told apart: those with the most requests.
	maxNamed     = 200
	maxPlugins   = 8
	maxProviders = 24
	maxStoreOps  = 64
	maxRoutes    = 90 // route and method
)

// Edges of the histograms, in seconds. Those of an objective (operability.md,
// SLOs) are edges here, so that the objective is a ratio of two counters.
var (
	httpBuckets  = []float64{.001, .0025, .005, .01, .02, .05, .1, .25, .5, 1, 2.5}
	ackBuckets   = []float64{.1, .25, .5, 1, 2, 5, 10, 30, 60, 300, 1800}
	callBuckets  = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	txBuckets    = []float64{.0005, .001, .0025, .005, .01, .02, .05, .1, .25, .5, 1, 2.5}
	hashBuckets  = []float64{.01, .02, .03, .05, .075, .1, .2, .5, 1, 2}
	queueBuckets = []float64{.005, .01, .02, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800}
)

const accountLabel = "account"

var (
	accounts  = label{accountLabel, maxNamed + 1}
	byPlugin  = label{"plugin", maxPlugins + 1}
	providers = label{"provider", maxPlugins + 1}
	inPlugins = []label{byPlugin, {"version", 1}, {"protocol", 1}} // one version of each at a time
)

// catalogue is the list of operability.md, and what has proved to be missing in it.
var catalogue = []family{
	{name: "http_requests_total", kind: counter, help: "HTTP requests answered.",
		labels: []label{{"route", maxRoutes}, of("method", httpMethods), {"code", 60}}, most: 300},
	{name: "http_request_duration_seconds", kind: histogram, help: "Time from the first byte of a request's header to the end of its answer.",
		labels: []label{{"route", maxRoutes}, of("method", httpMethods)}, most: maxRoutes, buckets: httpBuckets, native: true},
	{name: "http_inflight_requests", kind: gauge, help: "HTTP requests being answered.",
		labels: []label{of("listener", listeners)}},

	{name: "requests_accepted_total", kind: counter, help: "Recovery requests stored.",
		labels: []label{accounts}, named: maxNamed},
	{name: "requests_rejected_total", kind: counter, help: "Recovery requests refused before they were stored.",
		labels: []label{of("reason", rejections)}},
	{name: "rate_limited_total", kind: counter, help: "Calls that met a limit.",
		labels: []label{of("scope", limitScopes), of("action", limitActions)}},
	{name: "requests_terminal_total", kind: counter, help: "Recovery requests that reached an end; redeemed follows another end.",
		labels: []label{of("state", requestStates), of("reason", reasons), accounts}, most: 40, named: 500},
	{name: "ledger_requests", kind: gauge, help: "Recovery requests in the ledger.",
		labels: []label{of("state", requestStates)}},
	{name: "ledger_imbalance", kind: gauge, help: "Requests accepted less the sum of the states; anything but 0 is a loss."},

	{name: "queue_depth", kind: gauge, help: "Deliveries that have not ended: ready to be worked on, due later, or leased to a worker.",
		labels: []label{of("lane", lanes), of("state", queueStates), accounts}, named: 400},
	{name: "queue_oldest_age_seconds", kind: gauge, help: "For how long the oldest delivery has been ready; 0 when none is.",
		labels: []label{of("lane", lanes)}},
	{name: "queue_wait_seconds", kind: histogram, help: "Time from a delivery's queueing to its first claim, by the database's clock.",
		labels: []label{of("lane", lanes)}, buckets: queueBuckets},
	{name: "queue_active_tenants", kind: gauge, help: "Accounts that have deliveries which are ready or leased."},
	{name: "queue_claim_duration_seconds", kind: histogram, help: "Time of one claim.",
		labels: []label{{"db", 2}}, buckets: txBuckets},
	{name: "holds", kind: gauge, help: "Holds by what they are about, and whether they keep everything back or drain.",
		labels: []label{of("scope", holdScopes), of("state", holdStates)}},
	{name: "jobs_total", kind: counter, help: "Attempts at a delivery.",
		labels: []label{of("lane", lanes), of("outcome", outcomes)}},
	{name: "jobs_rescued_total", kind: counter, help: "Leases that lapsed without a result and were freed.",
		labels: []label{of("lane", lanes)}},
	{name: "jobs_quarantined_total", kind: counter, help: "Deliveries put aside because three leases in a row lapsed without a result.",
		labels: []label{of("lane", lanes)}},

	{name: "accept_to_ack_seconds", kind: histogram, help: "Time from accepting a recovery request to a provider's acknowledgement of its mail.",
		labels: []label{providers}, buckets: ackBuckets},
	{name: "delivery_attempts_total", kind: counter, help: "Messages handed to a provider.",
		labels: []label{providers, of("result", results), accounts}, most: 50, named: 400},
	{name: "delivery_duration_seconds", kind: histogram, help: "Time a provider took over one message.",
		labels: []label{providers}, buckets: callBuckets},
	{name: "delivery_failovers_total", kind: counter, help: "Deliveries that went on to another provider, by how the attempt before ended.",
		labels: []label{of("result", results)}},
	{name: "provider_events_total", kind: counter, help: "What providers' services reported of earlier messages; unknown is about none of the account's.",
		labels: []label{of("kind", eventKinds), of("result", eventResults)}},

	{name: "plugin_up", kind: gauge, help: "1 while the plugin's process serves.", labels: inPlugins},
	{name: "plugin_info", kind: gauge, help: "Always 1: the plugin that was last started.", labels: inPlugins},
	{name: "plugin_restarts_total", kind: counter, help: "Ends of a plugin's process that nobody asked for; each leads to a restart.",
		labels: []label{byPlugin, of("reason", exitReasons)}, most: 36},
	{name: "plugin_rpc_duration_seconds", kind: histogram, help: "Time of one call to a plugin.",
		labels: []label{byPlugin, of("method", pluginMethods)}, most: 18, buckets: callBuckets},
	{name: "plugin_rpc_errors_total", kind: counter, help: "Calls to a plugin that did not end well.",
		labels: []label{byPlugin, of("method", pluginMethods), of("code", results)}, most: 60},
	{name: "plugin_breaker_state", kind: gauge, help: "The worst of a configured provider's breakers over all accounts: 0 closed, 1 half open, 2 open.",
		labels: []label{{"plugin", maxProviders + 1}}},
	{name: "plugin_resident_memory_bytes", kind: gauge, help: "Memory of the plugin's process that is in use.", labels: []label{byPlugin}},
	{name: "plugin_open_fds", kind: gauge, help: "Files that the plugin's process has open.", labels: []label{byPlugin}},
	{name: "plugin_cpu_seconds_total", kind: counter, help: "Processor time of the plugin's process.", labels: []label{byPlugin}},
	{name: "plugin_sandbox", kind: gauge, help: "1 where a layer of the cage round the plugin's process is active.",
		labels: []label{byPlugin, of("feature", cageLayers)}},
	{name: "plugin_log_lines_total", kind: counter, help: "Lines that the plugin wrote and that went to the log.",
		labels: []label{byPlugin, of("level", pluginLevels)}},
	{name: "plugin_log_dropped_total", kind: counter, help: "Lines that the plugin wrote beyond its rate, and that were dropped.",
		labels: []label{byPlugin, of("level", pluginLevels)}},

	{name: "links_issued_total", kind: counter, help: "Links issued for a recovery request: new ones, and earlier ones sent again.",
		labels: []label{of("result", linkResults)}},
	{name: "form_views_total", kind: counter, help: "Links that were opened on the hosted pages. Scanners open links too.",
		labels: []label{of("result", viewResults)}},
	{name: "fulfilments_total", kind: counter, help: "New passwords offered with a link.",
		labels: []label{of("result", fulfilmentResults)}},

	{name: "hash_duration_seconds", kind: histogram, help: "Time of one password hash, its turn not included.",
		labels: []label{{"algorithm", 2}}, buckets: hashBuckets},
	{name: "hash_inflight", kind: gauge, help: "Password hashes under way."},
	{name: "hash_waiting", kind: gauge, help: "Callers that wait for their turn to hash."},
	{name: "hash_rejected_total", kind: counter, help: "Hashes refused because too many were waiting."},
	{name: "hash_upgraded_total", kind: counter, help: "Stored hashes made anew because their algorithm or parameters are no longer today's.",
		labels: []label{of("from", hashOrigins)}},

	{name: "webhook_attempts_total", kind: counter, help: "Attempts to post an event to an endpoint.",
		labels: []label{of("result", results)}},
	{name: "webhook_duration_seconds", kind: histogram, help: "Time of one attempt to post an event to an endpoint.",
		labels: []label{of("result", results)}, most: 6, buckets: callBuckets},
	{name: "webhook_blocked_total", kind: counter, help: "Attempts refused before anything was sent, because of where the endpoint's URL leads.",
		labels: []label{of("reason", webhookBlocks)}},
	{name: "webhook_endpoints", kind: gauge, help: "Endpoints by whether events are sent to them.",
		labels: []label{of("state", endpointStates)}},

	{name: "db_pool_connections", kind: gauge, help: "Connections to the database; max is their bound.",
		labels: []label{of("state", poolStates)}},
	{name: "db_pool_wait_seconds", kind: histogram, help: "Time that work waited for a connection that writes.", buckets: txBuckets},
	{name: "db_tx_duration_seconds", kind: histogram, help: "Time of one write transaction.",
		labels: []label{of("op", commitKinds)}, buckets: txBuckets},
	{name: "db_errors_total", kind: counter, help: "Operations that the database failed.", labels: []label{{"class", maxStoreOps + 1}}},
	{name: "sqlite_wal_bytes", kind: gauge, help: "Size of the embedded database's write-ahead log."},
	{name: "disk_free_bytes", kind: gauge, help: "Room that is left on a disk.", labels: []label{of("path_role", pathRoles)}},
	{name: "disk_free_ratio", kind: gauge, help: "Room that is left on a disk, of the whole; 0 to 1.", labels: []label{of("path_role", pathRoles)}},

	{name: "leader", kind: gauge, help: "1 where this replica does a task of maintenance.", labels: []label{of("task", tasks)}},
	{name: "maintenance_last_success_timestamp_seconds", kind: gauge, help: "When a task of maintenance was last done by this replica.",
		labels: []label{of("task", tasks)}},
	{name: "key_slot_age_seconds", kind: gauge, help: "Age of the key in use.", labels: []label{of("slot", keySlots)}},
	{name: "tls_cert_expiry_timestamp_seconds", kind: gauge, help: "When the certificate of a listener that ends soonest ends.",
		labels: []label{of("listener", listeners)}},
	{name: "canary_last_success_timestamp_seconds", kind: gauge, help: "When the service's own reset last came through a stage; before the first, when the canary began.",
		labels: []label{of("stage", canaryStages), providers}},
	{name: "canary_duration_seconds", kind: histogram, help: "Time from the beginning of the service's own reset to the end of a stage.",
		labels: []label{of("stage", canaryStages)}, buckets: ackBuckets},
	{name: "canary_link_intact", kind: gauge, help: "1 while the canary's mail arrives with the link that was sent, 0 when it was rewritten, cut or left out.",
		labels: []label{providers}},
	{name: "redactions_total", kind: counter, help: "Patterns that were stopped by the last filter of a sink; each is a defect further up.",
		labels: []label{of("sink", sinks)}},
	{name: "trace_spans_dropped_total", kind: counter, help: "Spans lost because the collector was slow, away or refused them."},
	{name: "build_info", kind: gauge, help: "Always 1: what is running.", labels: []label{{"version", 1}, {"commit", 1}, {"goversion", 1}}, most: 2},
}

// familyOf finds an entry. A name that is not there is a mistake of this package.
func familyOf(name string, is kind) family {
	i := slices.IndexFunc(catalogue, func(f family) bool { return f.name == name })
	if i < 0 || catalogue[i].kind != is {
		panic(fmt.Sprintf("metric %s: the catalogue has no %s of that name", name, is))
	}
	return catalogue[i]
}

// Signature writes a family's name with its labels, as name{label,label}.
func (f Family) Signature() string {
	if len(f.Labels) == 0 {
		return f.Name
	}
	return f.Name + "{" + strings.Join(f.Labels, ",") + "}"
}
