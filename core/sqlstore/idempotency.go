package sqlstore

import (
	"context"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

var _ core.IdempotentCalls = (*Store)(nil)

type callRow struct {
	Key    []byte `bun:"key"`
	Call   []byte `bun:"call"`
	Answer []byte `bun:"answer"`
}

// BeginCall implements core.IdempotentCalls. A row that is past its life, or that
// the same call left without an answer long ago, is begun anew.
func (s *Store) BeginCall(ctx context.Context, account tenants.AccountID, call core.IdempotentCall) (found core.IdempotentCall, fresh bool, err error) {
	err = s.change(ctx, "begin_call", false, func(ctx context.Context, tx session) error {
		result, err := tx.exec(ctx, `
			INSERT INTO idempotent_calls (account_id, key, call, answer, began_at) VALUES (?, ?, ?, NULL, ?now)
			ON CONFLICT (account_id, key) DO UPDATE SET call = excluded.call, answer = NULL, began_at = excluded.began_at
			WHERE idempotent_calls.began_at <= ?now - ?int OR (
				idempotent_calls.answer IS NULL AND idempotent_calls.call = excluded.call AND idempotent_calls.began_at <= ?now - ?int)`,
			string(account), call.Key, call.Call, core.IdempotencyLife.Microseconds(), core.IdempotencyWait.Microseconds())
		if err != nil {
			return err
		}
		rows, err := result.RowsAffected()
		if fresh = rows > 0; err != nil || fresh {
			found = call
			return err
		}
		var row callRow
		err = tx.row(ctx, &row, `SELECT key, call, answer FROM idempotent_calls WHERE account_id = ? AND key = ?`, string(account), call.Key)
		found = core.IdempotentCall{Key: row.Key, Call: row.Call, Answer: row.Answer}
		return err
	})
	return found, fresh, err
}

// EndCall implements core.IdempotentCalls.
func (s *Store) EndCall(ctx context.Context, account tenants.AccountID, call core.IdempotentCall) error {
	return s.change(ctx, "end_call", false, func(ctx context.Context, tx session) error {
		if call.Answer == nil {
			_, err := tx.exec(ctx, `DELETE FROM idempotent_calls WHERE account_id = ? AND key = ? AND call = ? AND answer IS NULL`,
				string(account), call.Key, call.Call)
			return err
		}
		_, err := tx.exec(ctx, `UPDATE idempotent_calls SET answer = ? WHERE account_id = ? AND key = ? AND call = ? AND answer IS NULL`,
			call.Answer, string(account), call.Key, call.Call)
		return err
	})
}

// removeCalls removes at most batch calls that are past their life.
func removeCalls(ctx context.Context, tx session, batch int) (int64, error) {
	result, err := tx.exec(ctx, `
		DELETE FROM idempotent_calls WHERE began_at <= ?now - ?int AND (account_id, key) IN (
			SELECT account_id, key FROM idempotent_calls WHERE began_at <= ?now - ?int ORDER BY began_at LIMIT ? ?skipping)`,
		core.IdempotencyLife.Microseconds(), core.IdempotencyLife.Microseconds(), batch)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
