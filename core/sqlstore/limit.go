package sqlstore

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/passmend/passmend/core"
)

// spending is a rate of a budget as its rows count it, in microseconds.
//
// A rate without a burst is a window: it has Count rows, each of which lets one
// through in the time Per, so that no stretch of that length sees more than Count. A
// rate with a burst is one row that runs ahead of the clock (GCRA).
type spending struct {
	key      []byte
	rate     int   // which of the budget's rates
	places   int   // how many rows it has
	place    int   // the row that was tried last, or that gave
	interval int64 // how far the row moves for each
	slack    int64 // how far ahead of the clock the row may be for one more
}

// row is the place's number within the key.
func (s spending) row() int { return s.rate + s.place*core.MaxRates }

// spendBudgets takes one of every budget of an entry, or of none: it ends the
// request for the first that is used up. A rate is asked of its first row by one
// statement for all, of its second for those who found that taken, and so on, each
// decided by the rows as they are when the statement has them, so that replicas that
// spend at the same time spend no more than there is. What an earlier rate gave goes back
// when a later one refuses; until the transaction ends nobody else sees or changes
// those rows.
func (r *resolving) spendBudgets(ctx context.Context, tx session) error {
	spent := make(map[*entry[resolution]][]spending)
	var back []spending
	for budget, rate := range r.rates() {
		asked := make(map[*entry[resolution]]spending, len(r.entries))
		for _, e := range r.entries {
			budgets := e.value.plan.Budgets
			if budget >= len(budgets) || rate >= len(budgets[budget].Rates) {
				continue
			}
			s, err := spendingOf(budgets[budget], rate)
			if err != nil {
				return err
			}
			asked[e] = s
		}
		given, err := take(ctx, tx, slices.Collect(maps.Values(asked)))
		if err != nil {
			return err
		}
		r.keep(func(e *entry[resolution]) bool {
			s, did := asked[e]
			from, ok := given[string(s.key)]
			switch {
			case !did:
			case ok:
				spent[e] = append(spent[e], from)
			default:
				back = append(back, spent[e]...)
				r.end(e, core.StateSuppressed, e.value.plan.Budgets[budget].Reason)
				return false
			}
			return true
		})
	}
	return giveBack(ctx, tx, back)
}

// rates gives the places of every budget and rate that an entry has, in order.
func (r *resolving) rates() iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		for budget := 0; ; budget++ {
			rates := -1
			for _, e := range r.entries {
				if budgets := e.value.plan.Budgets; budget < len(budgets) {
					rates = max(rates, len(budgets[budget].Rates))
				}
			}
			if rates < 0 {
				return
			}
			for rate := range rates {
				if !yield(budget, rate) {
					return
				}
			}
		}
	}
}

func spendingOf(budget core.Budget, index int) (spending, error) {
	rate := budget.Rates[index]
	if rate.Count < 1 || rate.Burst < 0 || rate.Per < time.Microsecond || index >= core.MaxRates {
		return spending{}, fmt.Errorf("rate %d of a budget lets nothing through", index)
	}
	if rate.Burst == 0 {
		if rate.Count > core.MaxWindow {
			return spending{}, fmt.Errorf("rate %d of a budget has no burst and counts beyond %d", index, core.MaxWindow)
		}
		return spending{key: budget.Key, rate: index, places: rate.Count, interval: rate.Per.Microseconds()}, nil
	}
	count := int64(rate.Count)
	interval := (rate.Per.Microseconds() + count - 1) / count // rounded up: never more than Count
	return spending{key: budget.Key, rate: index, places: 1, interval: interval, slack: int64(rate.Burst-1) * interval}, nil
}

// take gives what was left, by key. All are of one rate, the keys differ; rows are
// always locked place by place, and of one place in the order of their keys.
func take(ctx context.Context, tx session, asked []spending) (given map[string]spending, err error) {
	given = make(map[string]spending, len(asked))
	for place := 0; len(asked) > 0; place++ {
		for i := range asked {
			asked[i].place = place
		}
		keys, err := takePlace(ctx, tx, asked)
		if err != nil {
			return nil, err
		}
		asked = slices.DeleteFunc(asked, func(s spending) bool {
			if keys[string(s.key)] {
				given[string(s.key)] = s
				return true
			}
			return s.place+1 == s.places
		})
	}
	return given, nil
}

// takePlace takes from one row of each.
func takePlace(ctx context.Context, tx session, asked []spending) (given map[string]bool, err error) {
	slices.SortFunc(asked, func(a, b spending) int {
		return cmp.Or(cmp.Compare(a.interval, b.interval), cmp.Compare(a.slack, b.slack), bytes.Compare(a.key, b.key))
	})
	given = make(map[string]bool, len(asked))
	for len(asked) > 0 {
		first := asked[0]
		end := slices.IndexFunc(asked, func(s spending) bool { return s.interval != first.interval || s.slack != first.slack })
		if end < 0 {
			end = len(asked)
		}
		keys, err := takeRows(ctx, tx, asked[:end])
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			given[string(key)] = true
		}
		asked = asked[end:]
	}
	return given, nil
}

var spendingShape = shapeOf("key bytes, rate int, life int")

// takeRows takes from rows of one interval and slack.
func takeRows(ctx context.Context, tx session, asked []spending) (given [][]byte, err error) {
	list := newList(spendingShape, len(asked))
	for _, s := range asked {
		list.add(s.key, s.row(), s.interval)
	}
	// WHERE TRUE: or SQLite takes ON for the beginning of a join.
	return rowsOfList[[]byte](ctx, tx, list, `
		INSERT INTO limits (key, rate, tat) SELECT key, rate, ?now + life FROM s WHERE TRUE
		ON CONFLICT (key, rate) DO UPDATE SET
			tat = CASE WHEN limits.tat > ?now THEN limits.tat ELSE ?now END + ?int
		WHERE limits.tat <= ?now + ?int
		RETURNING key`, asked[0].interval, asked[0].slack)
}

// giveBack undoes take in the transaction that took. A row that had been behind
// the clock stands at the clock afterwards, which is as good as new.
func giveBack(ctx context.Context, tx session, spent []spending) error {
	for _, s := range spent {
		if _, err := tx.exec(ctx, giveBackQuery, s.interval, s.key, s.row()); err != nil {
			return err
		}
	}
	return nil
}

const giveBackQuery = `UPDATE limits SET tat = tat - ? WHERE key = ? AND rate = ?`
