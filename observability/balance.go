package observability

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/passmend/passmend/core"
)

const (
	// balanceAge is how long one sum serves: several scrapers, or an impatient one,
	// must not become a load on the database.
	balanceAge = 30 * time.Second
	// balanceTime bounds the query, so that a scrape answers while the database hangs.
	balanceTime = 2 * time.Second
)

// Balance shows the ledger's sum, counted by read when it is scraped, at most
// every 30 s. While read fails there are no such series: an alert on their absence
// is honest, a stale zero is not. Call it once.
func (m *Metrics) Balance(read func(ctx context.Context) (core.Balance, error)) {
	m.registry.MustRegister(newBalance(read, time.Now))
}

type balance struct {
	read             func(ctx context.Context) (core.Balance, error)
	now              func() time.Time
	states, mismatch *prometheus.Desc

	mu   sync.Mutex
	at   time.Time
	last core.Balance
	err  error
}

func newBalance(read func(ctx context.Context) (core.Balance, error), now func() time.Time) *balance {
	return &balance{
		read: read, now: now,
		states:   prometheus.NewDesc(namespace+"_ledger_requests", "Recovery requests in the ledger.", []string{"state"}, nil),
		mismatch: prometheus.NewDesc(namespace+"_ledger_imbalance", "Requests accepted less the sum of the states; anything but 0 is a loss.", nil, nil),
	}
}

// Describe is of prometheus.Collector.
func (b *balance) Describe(out chan<- *prometheus.Desc) {
	out <- b.states
	out <- b.mismatch
}

// Collect is of prometheus.Collector.
func (b *balance) Collect(out chan<- prometheus.Metric) {
	sum, err := b.current()
	if err != nil {
		return
	}
	rest := sum.Accepted
	counts := make(map[string]int64, len(requestStates)+1)
	for _, state := range requestStates {
		counts[state] = 0
	}
	for state, n := range sum.States {
		counts[requestStates.of(string(state))] += n
		rest -= n
	}
	for state, n := range counts {
		out <- prometheus.MustNewConstMetric(b.states, prometheus.GaugeValue, float64(n), state)
	}
	out <- prometheus.MustNewConstMetric(b.mismatch, prometheus.GaugeValue, float64(rest))
}

func (b *balance) current() (core.Balance, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := b.now(); b.at.IsZero() || now.Sub(b.at) >= balanceAge {
		// Collect has no context: this bounds what a scrape may cost.
		ctx, cancel := context.WithTimeout(context.Background(), balanceTime)
		b.last, b.err = b.read(ctx)
		cancel()
		b.at = now
	}
	return b.last, b.err
}
