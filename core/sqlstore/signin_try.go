package sqlstore

import (
	"context"
	"fmt"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// waitingTries is how long, in microseconds, the key of a row has to wait after its
// last try: core.TryDelay, in SQL.
var waitingTries = fmt.Sprintf(`
	CASE WHEN sign_in_tries.tries < %d THEN 0
	WHEN sign_in_tries.tries >= %d THEN %d
	ELSE %d << (sign_in_tries.tries - %d) END`,
	core.FreeTries, core.FreeTries+delayDoublings, core.MaxTryDelay.Microseconds(), core.FirstTryDelay.Microseconds(), core.FreeTries)

// delayDoublings is how often the first delay doubles before it is the longest.
const delayDoublings = 7

// TakeTry implements core.Tries. The row decides under its lock, so that of many at
// once as many are counted. A row that is past its life begins anew.
func (s *Store) TakeTry(ctx context.Context, account tenants.AccountID, key []byte) (taken bool, err error) {
	err = s.change(ctx, "take_try", false, func(ctx context.Context, tx session) error {
		result, err := tx.exec(ctx, takeTryQuery, string(account), key,
			core.TryLife.Microseconds(), core.TryLife.Microseconds())
		if err != nil {
			return err
		}
		rows, err := result.RowsAffected()
		taken = rows == 1
		return err
	})
	return taken, err
}

var takeTryQuery = fmt.Sprintf(`
	INSERT INTO sign_in_tries (account_id, key, tries, tried_at) VALUES (?, ?, 1, ?now)
	ON CONFLICT (account_id, key) DO UPDATE SET
		tries = CASE WHEN sign_in_tries.tries < %[1]d AND sign_in_tries.tried_at <= ?now - ?int THEN 1 ELSE sign_in_tries.tries + 1 END,
		tried_at = excluded.tried_at
	WHERE sign_in_tries.tries < %[1]d AND (
		sign_in_tries.tried_at <= ?now - ?int OR sign_in_tries.tried_at <= ?now - (%[2]s))`, core.MaxTries, waitingTries)

// ReturnTry implements core.Tries.
func (s *Store) ReturnTry(ctx context.Context, account tenants.AccountID, key []byte) error {
	return s.change(ctx, "return_try", false, func(ctx context.Context, tx session) error {
		_, err := tx.exec(ctx, `UPDATE sign_in_tries SET tries = tries - 1 WHERE account_id = ? AND key = ? AND tries > 0`, string(account), key)
		return err
	})
}

// ClearTries implements core.Tries.
func (s *Store) ClearTries(ctx context.Context, account tenants.AccountID, key []byte) error {
	return s.change(ctx, "clear_tries", false, func(ctx context.Context, tx session) error {
		return clearTries(ctx, tx, account, key)
	})
}

func clearTries(ctx context.Context, tx session, account tenants.AccountID, key []byte) error {
	if key == nil {
		return nil
	}
	_, err := tx.exec(ctx, `DELETE FROM sign_in_tries WHERE account_id = ? AND key = ?`, string(account), key)
	return err
}

// removeTries removes at most batch rows that are past their life.
func removeTries(ctx context.Context, tx session, batch int) (int64, error) {
	const past = `tried_at <= ?now - CASE WHEN tries < ?int THEN ?int ELSE ?int END`
	life := []any{core.MaxTries, core.TryLife.Microseconds(), core.StoppedTryLife.Microseconds()}
	args := append(append(append([]any{}, life...), core.TryLife.Microseconds()), append(life, batch)...)
	result, err := tx.exec(ctx, `
		DELETE FROM sign_in_tries WHERE `+past+` AND (account_id, key) IN (
			SELECT account_id, key FROM sign_in_tries WHERE tried_at <= ?now - ?int AND `+past+` ORDER BY tried_at LIMIT ? ?skipping)`,
		args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
