package observability

import (
	"context"
	"time"

	"github.com/passmend/passmend/core"
)

// Balance shows the ledger's sum, counted by read when it is scraped, at most
// every 30 s. While read fails there are no such series. Call it once.
func (m *Metrics) Balance(read func(ctx context.Context) (core.Balance, error)) {
	m.balance(read, time.Now)
}

func (m *Metrics) balance(read func(ctx context.Context) (core.Balance, error), now func() time.Time) {
	sum := &remembered[core.Balance]{read: read, age: sumAge, now: now}
	m.atScrape([]string{"ledger_requests", "ledger_imbalance"}, func(show func(string, float64, ...string)) {
		balance, err := sum.value()
		if err != nil {
			return
		}
		rest := balance.Accepted
		counts := make(map[string]int64, len(requestStates)+1)
		for _, state := range requestStates {
			counts[state] = 0
		}
		for state, n := range balance.States {
			counts[requestStates.of(string(state))] += n
			rest -= n
		}
		for state, n := range counts {
			show("ledger_requests", float64(n), state)
		}
		show("ledger_imbalance", float64(rest))
	})
}
