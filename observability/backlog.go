package observability

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Backlog shows what waits in the queue, read when it is scraped, at most every
// 10 s. While read fails there are no such series. Call it once.
func (m *Metrics) Backlog(read func(ctx context.Context) ([]core.Backlog, error)) {
	m.backlog(read, time.Now)
}

func (m *Metrics) backlog(read func(ctx context.Context) ([]core.Backlog, error), now func() time.Time) {
	rows := &remembered[[]core.Backlog]{read: read, age: depthAge, now: now}
	most := familyOf("queue_depth", gauge).named
	m.atScrape([]string{"queue_depth", "queue_oldest_age_seconds", "queue_active_tenants"}, func(show func(string, float64, ...string)) {
		backlog, err := rows.value()
		if err != nil {
			return
		}
		depths, oldest, active := m.depths(backlog, most)
		for set, n := range depths {
			show("queue_depth", float64(n), set[0], set[1], set[2])
		}
		for lane, age := range oldest {
			show("queue_oldest_age_seconds", age.Seconds(), lane)
		}
		show("queue_active_tenants", float64(active))
	})
}

// Holds shows the holds by scope and state, zeros included, counted by read when they
// are scraped, at most every 10 s. While read fails there are no such series. Call it
// once.
func (m *Metrics) Holds(read func(ctx context.Context) ([]core.HoldCount, error)) {
	rows := &remembered[[]core.HoldCount]{read: read, age: depthAge, now: time.Now}
	m.atScrape([]string{"holds"}, func(show func(string, float64, ...string)) {
		counts, err := rows.value()
		if err != nil {
			return
		}
		shown := make(map[labelSet]int64)
		for _, scope := range holdScopes {
			for _, state := range holdStates {
				shown[labelSet{scope, state}] = 0
			}
		}
		for _, row := range counts {
			shown[labelSet{holdScopes.of(row.Scope), holdStates.of(row.State)}] += row.Holds
		}
		for set, n := range shown {
			show("holds", float64(n), set[0], set[1])
		}
	})
}

// depths adds the backlog up by lane, state and account. The longest queues have
// their account's name, at most so many; each lane and state is there without one.
func (m *Metrics) depths(backlog []core.Backlog, named int) (depths map[labelSet]int64, oldest map[string]time.Duration, active int) {
	depths, oldest = make(map[labelSet]int64), make(map[string]time.Duration)
	for _, lane := range lanes {
		oldest[lane] = 0
		for _, state := range queueStates {
			depths[labelSet{lane, state, otherAccount}] = 0
		}
	}
	if m.ranking.label == AccountsAll {
		named = len(backlog)
	}
	backlog = slices.SortedFunc(slices.Values(backlog), func(a, b core.Backlog) int { return cmp.Compare(b.Deliveries, a.Deliveries) })
	busy := make(map[tenants.AccountID]bool)
	for _, row := range backlog {
		lane, account := laneOf(row.Kind), m.ranking.of(row.Account)
		set := labelSet{lane, queueStates.of(row.State), account}
		if _, there := depths[set]; account != otherAccount && !there {
			if named--; named < 0 {
				set[2] = otherAccount
			}
		}
		depths[set] += row.Deliveries
		if row.State != core.BacklogLater {
			busy[row.Account] = true
		}
		if row.State == core.BacklogReady {
			oldest[lane] = max(oldest[lane], row.Oldest)
		}
	}
	return depths, oldest, len(busy)
}
