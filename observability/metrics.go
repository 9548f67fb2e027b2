package observability

import (
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
	plugins   *names // started plugins, with their versions
	storeOps  *names // operations of the store that failed
	providers *names

	httpRequests *prometheus.CounterVec
	httpDuration *prometheus.HistogramVec
	httpInflight *prometheus.GaugeVec

	accepted    *prometheus.CounterVec
	rejected    *prometheus.CounterVec
	rateLimited *prometheus.CounterVec
	terminal    *prometheus.CounterVec

	queueWait *prometheus.HistogramVec
	jobs      *prometheus.CounterVec
	rescued   *prometheus.CounterVec

	acceptToAck      *prometheus.HistogramVec
	deliveryAttempts *prometheus.CounterVec
	failovers        *prometheus.CounterVec
	deliveryDuration *prometheus.HistogramVec

	pluginUp       *prometheus.GaugeVec
	pluginInfo     *prometheus.GaugeVec
	pluginRestarts *prometheus.CounterVec
	breakerState   *prometheus.GaugeVec
	rpcDuration    *prometheus.HistogramVec
	rpcErrors      *prometheus.CounterVec

	hashDuration *prometheus.HistogramVec
	hashRejected prometheus.Counter

	poolWait   prometheus.Histogram
	txDuration *prometheus.HistogramVec
	dbErrors   *prometheus.CounterVec

	redactions   *prometheus.CounterVec
	spansDropped prometheus.Counter
}

// Edges of the histograms, in seconds. Those of an objective (operability.md,
// SLOs) are edges here, so that the objective is a ratio of two counters.
var (
	httpBuckets   = []float64{.001, .0025, .005, .01, .02, .05, .1, .25, .5, 1, 2.5}
	ackBuckets    = []float64{.1, .25, .5, 1, 2, 5, 10, 30, 60, 300, 1800}
	callBuckets   = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	txBuckets     = []float64{.0005, .001, .0025, .005, .01, .02, .05, .1, .25, .5, 1, 2.5}
	hashBuckets   = []float64{.01, .02, .03, .05, .075, .1, .2, .5, 1, 2}
	queueBuckets  = []float64{.005, .01, .02, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800}
	pluginLabels  = []string{"plugin", "version", "protocol"}
	accountLabels = []string{"account"}
)

const maxPlugins, maxStoreOps = 32, 64

// NewMetrics gives the families of operability.md that the service has so far,
// those with a closed list of labels at zero.
func NewMetrics(version, commit string) *Metrics {
	r := families{prometheus.NewRegistry()}
	m := &Metrics{
		registry:  r.Registry,
		plugins:   newNames(maxPlugins),
		storeOps:  newNames(maxStoreOps),
		providers: newNames(maxPlugins),

		httpRequests: r.counter("http_requests_total", "HTTP requests answered.", "route", "method", "code"),
		httpDuration: r.nativeHistogram("http_request_duration_seconds", "Time from the first byte of a request's header to the end of its answer.", httpBuckets, "route", "method"),
		httpInflight: r.gauge("http_inflight_requests", "HTTP requests being answered.", "listener"),

		accepted:    r.counter("requests_accepted_total", "Recovery requests stored.", accountLabels...),
		rejected:    r.counter("requests_rejected_total", "Recovery requests refused before they were stored.", "reason"),
		rateLimited: r.counter("rate_limited_total", "Calls that met a limit.", "scope", "action"),
		terminal:    r.counter("requests_terminal_total", "Recovery requests that reached an end; redeemed follows another end.", "state", "reason", "account"),

		queueWait: r.histogram("queue_wait_seconds", "Time from a delivery's queueing to its first claim, by the database's clock.", queueBuckets, "lane"),
		jobs:      r.counter("jobs_total", "Attempts at a delivery.", "lane", "outcome"),
		rescued:   r.counter("jobs_rescued_total", "Leases that lapsed without a result and were freed.", "lane"),

		acceptToAck:      r.histogram("accept_to_ack_seconds", "Time from accepting a recovery request to a provider's acknowledgement of its mail.", ackBuckets, "provider"),
		deliveryAttempts: r.counter("delivery_attempts_total", "Messages handed to a provider.", "provider", "result", "account"),
		failovers:        r.counter("delivery_failovers_total", "Deliveries that went on to another provider, by how the attempt before ended.", "result"),
		deliveryDuration: r.histogram("delivery_duration_seconds", "Time a provider took over one message.", callBuckets, "provider"),

		pluginUp:       r.gauge("plugin_up", "1 while the plugin's process serves.", pluginLabels...),
		pluginInfo:     r.gauge("plugin_info", "Always 1: the plugin that was last started.", pluginLabels...),
		pluginRestarts: r.counter("plugin_restarts_total", "Ends of a plugin's process that nobody asked for; each leads to a restart.", "plugin", "reason"),
		breakerState:   r.gauge("plugin_breaker_state", "The worst of a provider's breakers over all accounts: 0 closed, 1 half open, 2 open.", "plugin"),
		rpcDuration:    r.histogram("plugin_rpc_duration_seconds", "Time of one call to a plugin.", callBuckets, "plugin", "method"),
		rpcErrors:      r.counter("plugin_rpc_errors_total", "Calls to a plugin that did not end well.", "plugin", "method", "code"),

		hashDuration: r.histogram("hash_duration_seconds", "Time of one password hash, its turn not included.", hashBuckets, "algorithm"),
		hashRejected: r.single("hash_rejected_total", "Hashes refused because too many were waiting."),

		poolWait:   r.plainHistogram("db_pool_wait_seconds", "Time that work waited for a connection that writes.", txBuckets),
		txDuration: r.histogram("db_tx_duration_seconds", "Time of one write transaction.", txBuckets, "op"),
		dbErrors:   r.counter("db_errors_total", "Operations that the database failed.", "class"),

		redactions:   r.counter("redactions_total", "Patterns that were stopped by the last filter of a sink; each is a defect further up.", "sink"),
		spansDropped: r.single("trace_spans_dropped_total", "Spans lost because the collector was slow, away or refused them."),
	}
	r.gauge("build_info", "Always 1: what is running.", "version", "commit", "goversion").
		WithLabelValues(versionLabel(version), commitLabel(commit), runtime.Version()).Set(1)
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.begin()
	return m
}

// begin shows the closed families at zero: a rate is blind to a counter's first
// appearance.
func (m *Metrics) begin() {
	m.accepted.WithLabelValues(otherAccount)
	for _, reason := range rejections {
		m.rejected.WithLabelValues(reason)
	}
	for _, lane := range lanes {
		for _, outcome := range outcomes {
			m.jobs.WithLabelValues(lane, outcome)
		}
	}
	for _, result := range results {
		m.failovers.WithLabelValues(result)
	}
	for _, sink := range sinks {
		m.redactions.WithLabelValues(sink)
	}
	for _, listener := range listeners {
		m.httpInflight.WithLabelValues(listener)
	}
}

// MetricsHandler answers a scrape, in the OpenMetrics format when it is asked for. It is
// for the operations port only. Answers are not compressed: the state of a
// compressor would be a fortieth of an idle process's memory.
func (m *Metrics) MetricsHandler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		DisableCompression:  true,
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
	})
}

// Redacted gives a function that counts redactions of a sink, log or plugin.
func (m *Metrics) Redacted(sink string) func(n int) {
	counter := m.redactions.WithLabelValues(sinks.of(sink))
	return func(n int) { counter.Add(float64(n)) }
}

// families makes and registers the families with their prefix. A name that comes
// twice is a mistake of this package and panics.
type families struct{ *prometheus.Registry }

const namespace = "passmend"

func (r families) counter(name, help string, labels ...string) *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	r.MustRegister(vec)
	return vec
}

func (r families) single(name, help string) prometheus.Counter {
	counter := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
	r.MustRegister(counter)
	return counter
}

func (r families) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
	r.MustRegister(vec)
	return vec
}

func (r families) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return r.histogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
}

// nativeHistogram has exponential buckets beside the plain ones, for scrapers that
// take them.
func (r families) nativeHistogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return r.histogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
	}, labels)
}

func (r families) histogramVec(opts prometheus.HistogramOpts, labels []string) *prometheus.HistogramVec {
	vec := prometheus.NewHistogramVec(opts, labels)
	r.MustRegister(vec)
	return vec
}

func (r families) plainHistogram(name, help string, buckets []float64) prometheus.Histogram {
	histogram := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets})
	r.MustRegister(histogram)
	return histogram
}
