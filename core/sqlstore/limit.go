package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/passmend/passmend/core"
)

// spending is a rate of a budget as its row counts it, in microseconds.
type spending struct {
	key      []byte
	rate     int   // which of the budget's rates
	interval int64 // between two, were they spread evenly
	slack    int64 // how far ahead of the clock the row may be for one more
}

// spendBudgets takes one of every budget, or of none: it gives the reason of the
// first that is used up. Each rate is one statement, decided by the row as it is
// when the statement has it, so that replicas that spend at the same time spend
// no more than there is. What an earlier rate gave goes back when a later one
// refuses; until the transaction ends nobody else sees or changes those rows.
func spendBudgets(ctx context.Context, tx bun.Tx, budgets []core.Budget) (core.Reason, error) {
	var spent []spending
	for _, budget := range budgets {
		for i, rate := range budget.Rates {
			s, err := spendingOf(budget.Key, i, rate)
			if err != nil {
				return "", err
			}
			ok, err := s.take(ctx, tx)
			if err != nil {
				return "", err
			}
			if !ok {
				return budget.Reason, giveBack(ctx, tx, spent)
			}
			spent = append(spent, s)
		}
	}
	return "", nil
}

func spendingOf(key []byte, index int, rate core.Rate) (spending, error) {
	burst := rate.Burst
	if burst == 0 {
		burst = rate.Count
	}
	if rate.Count < 1 || burst < 1 || rate.Per < time.Microsecond {
		return spending{}, fmt.Errorf("rate %d of a budget lets nothing through", index)
	}
	count := int64(rate.Count)
	interval := (rate.Per.Microseconds() + count - 1) / count // rounded up: never more than Count
	return spending{key: key, rate: index, interval: interval, slack: int64(burst-1) * interval}, nil
}

// take says whether there was one left.
func (s spending) take(ctx context.Context, tx bun.Tx) (bool, error) {
	var tat int64
	err := tx.NewRaw(takeQuery, s.key, s.rate, s.interval, s.interval, s.slack).Scan(ctx, &tat)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

const takeQuery = `
	INSERT INTO limits (key, rate, tat) VALUES (?, ?, ?now + ?)
	ON CONFLICT (key, rate) DO UPDATE SET
		tat = CASE WHEN limits.tat > ?now THEN limits.tat ELSE ?now END + ?
	WHERE limits.tat <= ?now + ?
	RETURNING tat`

// giveBack undoes take in the transaction that took. A row that had been behind
// the clock stands at the clock afterwards, which is as good as new.
func giveBack(ctx context.Context, tx bun.Tx, spent []spending) error {
	for _, s := range spent {
		if _, err := tx.ExecContext(ctx, giveBackQuery, s.interval, s.key, s.rate); err != nil {
			return err
		}
	}
	return nil
}

const giveBackQuery = `UPDATE limits SET tat = tat - ? WHERE key = ? AND rate = ?`
