package observability

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scraped is families that are read when a scrape asks for them.
type scraped struct {
	descs map[string]*prometheus.Desc
	kinds map[string]prometheus.ValueType
	read  func(show func(name string, value float64, labels ...string))
}

// atScrape registers families of the catalogue whose values read shows at each
// scrape. What it does not show is not there: an alert on its absence is honest, a
// stale zero is not.
func (m *Metrics) atScrape(names []string, read func(show func(name string, value float64, labels ...string))) {
	s := &scraped{descs: map[string]*prometheus.Desc{}, kinds: map[string]prometheus.ValueType{}, read: read}
	for _, name := range names {
		is, value := gauge, prometheus.GaugeValue
		if len(name) > 6 && name[len(name)-6:] == "_total" {
			is, value = counter, prometheus.CounterValue
		}
		s.descs[name], s.kinds[name] = familyOf(name, is).desc(), value
	}
	m.registry.MustRegister(s)
}

// Describe is of prometheus.Collector.
func (s *scraped) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range s.descs {
		out <- desc
	}
}

// Collect is of prometheus.Collector.
func (s *scraped) Collect(out chan<- prometheus.Metric) {
	s.read(func(name string, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(s.descs[name], s.kinds[name], value, labels...)
	})
}

const (
	// sumAge is how long one reading of the database serves: several scrapers, or an
	// impatient one, must not become a load on it.
	sumAge   = 30 * time.Second
	depthAge = 10 * time.Second
	// readTime bounds a reading, so that a scrape answers while the database hangs.
	readTime = 2 * time.Second
)

// remembered is a reading of the database that serves for a while.
type remembered[T any] struct {
	read func(ctx context.Context) (T, error)
	age  time.Duration
	now  func() time.Time

	mu   sync.Mutex
	at   time.Time
	last T
	err  error
}

func (r *remembered[T]) value() (T, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now(); r.at.IsZero() || now.Sub(r.at) >= r.age {
		// A collector has no context: this bounds what a scrape may cost.
		ctx, cancel := context.WithTimeout(context.Background(), readTime)
		r.last, r.err = r.read(ctx)
		cancel()
		r.at = now
	}
	return r.last, r.err
}
