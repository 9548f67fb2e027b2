package observability

import (
	"fmt"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics is every series of the process, in a registry of its own.
type Metrics struct {
	registry  *prometheus.Registry
	ranking   *ranking
	plugins   *names // started plugins, with their versions
	storeOps  *names // operations of the store that failed
	providers *names

	httpRequests *table[prometheus.Counter]
	httpDuration *table[prometheus.Observer]
	httpInflight *table[prometheus.Gauge]

	accepted    *table[prometheus.Counter]
	rejected    *table[prometheus.Counter]
	rateLimited *table[prometheus.Counter]
	terminal    *table[prometheus.Counter]

	queueWait     *table[prometheus.Observer]
	claimDuration *table[prometheus.Observer]
	jobs          *table[prometheus.Counter]
	rescued       *table[prometheus.Counter]
	quarantined   *table[prometheus.Counter]

	acceptToAck      *table[prometheus.Observer]
	deliveryAttempts *table[prometheus.Counter]
	failovers        *table[prometheus.Counter]
	providerEvents   *table[prometheus.Counter]
	deliveryDuration *table[prometheus.Observer]

	pluginUp         *table[prometheus.Gauge]
	pluginInfo       *table[prometheus.Gauge]
	pluginRestarts   *table[prometheus.Counter]
	breakerState     *table[prometheus.Gauge]
	rpcDuration      *table[prometheus.Observer]
	rpcErrors        *table[prometheus.Counter]
	pluginSandbox    *table[prometheus.Gauge]
	pluginLogLines   *table[prometheus.Counter]
	pluginLogDropped *table[prometheus.Counter]

	linksIssued *table[prometheus.Counter]
	formViews   *table[prometheus.Counter]
	fulfilments *table[prometheus.Counter]

	hashDuration *table[prometheus.Observer]
	hashRejected *table[prometheus.Counter]
	hashUpgraded *table[prometheus.Counter]

	webhookAttempts *table[prometheus.Counter]
	webhookDuration *table[prometheus.Observer]
	webhookBlocked  *table[prometheus.Counter]

	poolWait   *table[prometheus.Observer]
	txDuration *table[prometheus.Observer]
	dbErrors   *table[prometheus.Counter]

	leader          *table[prometheus.Gauge]
	maintenanceDone *table[prometheus.Gauge]
	certExpiry      *table[prometheus.Gauge]
	canarySuccess   *table[prometheus.Gauge]
	canaryDuration  *table[prometheus.Observer]
	canaryIntact    *table[prometheus.Gauge]

	redactions   *table[prometheus.Counter]
	spansDropped *table[prometheus.Counter]
}

// Exponential buckets: ten percent apart, at most a hundred, begun anew after an
// hour at the earliest when there are more.
const (
	nativeFactor  = 1.1
	nativeBuckets = 100
	nativeReset   = time.Hour
)

// NewMetrics gives every family of the catalogue that the process itself counts,
// those with a closed list of labels at zero. What is read elsewhere at a scrape is
// added by Balance, Queue and the like.
func NewMetrics(c MetricsConfig) (*Metrics, error) {
	ranking, err := newRanking(c.Accounts, time.Now)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	r := families{prometheus.NewRegistry()}
	m := &Metrics{
		registry:  r.Registry,
		ranking:   ranking,
		plugins:   newNames(maxPlugins),
		storeOps:  newNames(maxStoreOps),
		providers: newNames(maxProviders),

		httpRequests: r.counter("http_requests_total"),
		httpDuration: r.histogram("http_request_duration_seconds"),
		httpInflight: r.gauge("http_inflight_requests"),

		accepted:    r.counter("requests_accepted_total"),
		rejected:    r.counter("requests_rejected_total"),
		rateLimited: r.counter("rate_limited_total"),
		terminal:    r.counter("requests_terminal_total"),

		queueWait:     r.histogram("queue_wait_seconds"),
		claimDuration: r.histogram("queue_claim_duration_seconds"),
		jobs:          r.counter("jobs_total"),
		rescued:       r.counter("jobs_rescued_total"),
		quarantined:   r.counter("jobs_quarantined_total"),

		acceptToAck:      r.histogram("accept_to_ack_seconds"),
		deliveryAttempts: r.counter("delivery_attempts_total"),
		failovers:        r.counter("delivery_failovers_total"),
		providerEvents:   r.counter("provider_events_total"),
		deliveryDuration: r.histogram("delivery_duration_seconds"),

		pluginUp:         r.gauge("plugin_up"),
		pluginInfo:       r.gauge("plugin_info"),
		pluginRestarts:   r.counter("plugin_restarts_total"),
		breakerState:     r.gauge("plugin_breaker_state"),
		rpcDuration:      r.histogram("plugin_rpc_duration_seconds"),
		rpcErrors:        r.counter("plugin_rpc_errors_total"),
		pluginSandbox:    r.gauge("plugin_sandbox"),
		pluginLogLines:   r.counter("plugin_log_lines_total"),
		pluginLogDropped: r.counter("plugin_log_dropped_total"),

		linksIssued: r.counter("links_issued_total"),
		formViews:   r.counter("form_views_total"),
		fulfilments: r.counter("fulfilments_total"),

		hashDuration: r.histogram("hash_duration_seconds"),
		hashRejected: r.counter("hash_rejected_total"),
		hashUpgraded: r.counter("hash_upgraded_total"),

		webhookAttempts: r.counter("webhook_attempts_total"),
		webhookDuration: r.histogram("webhook_duration_seconds"),
		webhookBlocked:  r.counter("webhook_blocked_total"),

		poolWait:   r.histogram("db_pool_wait_seconds"),
		txDuration: r.histogram("db_tx_duration_seconds"),
		dbErrors:   r.counter("db_errors_total"),

		leader:          r.gauge("leader"),
		maintenanceDone: r.gauge("maintenance_last_success_timestamp_seconds"),
		certExpiry:      r.gauge("tls_cert_expiry_timestamp_seconds"),
		canarySuccess:   r.gauge("canary_last_success_timestamp_seconds"),
		canaryDuration:  r.histogram("canary_duration_seconds"),
		canaryIntact:    r.gauge("canary_link_intact"),

		redactions:   r.counter("redactions_total"),
		spansDropped: r.counter("trace_spans_dropped_total"),
	}
	r.gauge("build_info").with(versionLabel(c.Version), commitLabel(c.Commit), runtime.Version()).Set(1)
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.begin()
	return m, nil
}

// MetricsConfig is what Metrics are made from.
type MetricsConfig struct {
	Version, Commit string       // of the build
	Accounts        AccountLabel // empty: AccountsTop
}

// begin shows the closed families at zero: a rate is blind to a counter's first
// appearance.
func (m *Metrics) begin() {
	for _, unlabelled := range []*table[prometheus.Counter]{m.hashRejected, m.spansDropped} {
		unlabelled.with()
	}
	m.poolWait.with()
	m.accepted.with(otherAccount)
	for _, lane := range lanes {
		for _, outcome := range outcomes {
			m.jobs.with(lane, outcome)
		}
	}
	for _, kind := range eventKinds {
		for _, result := range eventResults {
			m.providerEvents.with(kind, result)
		}
	}
	for _, closed := range []struct {
		family *table[prometheus.Counter]
		values enum
	}{
		{m.rejected, rejections}, {m.rescued, lanes}, {m.quarantined, lanes}, {m.failovers, results},
		{m.linksIssued, linkResults}, {m.formViews, viewResults}, {m.fulfilments, fulfilmentResults},
		{m.hashUpgraded, hashOrigins}, {m.webhookAttempts, results}, {m.webhookBlocked, webhookBlocks},
		{m.redactions, sinks},
	} {
		for _, value := range closed.values {
			closed.family.with(value)
		}
	}
	for _, listener := range listeners {
		m.httpInflight.with(listener)
	}
}

// MetricsHandler answers a scrape, in the OpenMetrics format when it is asked for. It is
// for the operations port only. Answers are not compressed: the state of a
// compressor would be a fortieth of an idle process's memory.
func (m *Metrics) MetricsHandler() http.Handler {
	answer := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		DisableCompression:  true,
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, account := range m.ranking.rank() {
			for _, family := range []interface{ forgetAccount(string) }{m.accepted, m.terminal, m.deliveryAttempts} {
				family.forgetAccount(string(account))
			}
		}
		answer.ServeHTTP(w, r)
	})
}

// Redacted gives a function that counts redactions of a sink, log or plugin.
func (m *Metrics) Redacted(sink string) func(n int) {
	counter := m.redactions.with(sinks.of(sink))
	return func(n int) { counter.Add(float64(n)) }
}
