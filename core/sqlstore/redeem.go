package sqlstore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Redeem implements core.Redemptions. A request that had failed or expired is
// redeemed all the same: the person who holds its link shows that it arrived.
func (s *Store) Redeem(ctx context.Context, account tenants.AccountID, redemption core.Redemption) (core.User, error) {
	var user core.User
	err := s.change(ctx, "redeem", redemption.Notice != "", func(ctx context.Context, tx session) error {
		if err := spend(ctx, tx, account, redemption); err != nil {
			return err
		}
		var err error
		if user, err = setPassword(ctx, tx, account, redemption); err != nil {
			return err
		}
		ended, err := wrote(tx.exec(ctx, `DELETE FROM api_tokens WHERE account_id = ? AND user_id = ?`,
			string(account), string(redemption.User)))
		if err != nil {
			return err
		}
		tx.note(account, core.PasswordAudit(core.AuditPasswordReset, redemption.User, ended))
		if err := clearTries(ctx, tx, account, redemption.ClearTries); err != nil {
			return err
		}
		if err := insertNotice(ctx, tx, account, redemption); err != nil {
			return err
		}
		return insertEvent(ctx, tx, account, redemption.Event)
	})
	if err != nil {
		return core.User{}, err
	}
	return user, nil
}

// Dispute implements core.Redemptions.
func (s *Store) Dispute(ctx context.Context, account tenants.AccountID, dispute core.Dispute) error {
	return s.change(ctx, "dispute", false, func(ctx context.Context, tx session) error {
		result, err := tx.exec(ctx, `
			UPDATE requests SET disputed_at = ?now, selector = NULL, seed = NULL
			WHERE `+liveLink,
			string(account), string(dispute.Request), string(dispute.User), dispute.CredentialVersion)
		if ended, err := wrote(result, err); err != nil || !ended {
			return whyNot(ctx, tx, account, dispute.Request, dispute.User, err)
		}
		var version int64
		err = tx.row(ctx, &version, `SELECT credential_version FROM users WHERE account_id = ? AND id = ? ?locking`,
			string(account), string(dispute.User))
		if errors.Is(err, sql.ErrNoRows) || err == nil && version != dispute.CredentialVersion {
			return core.ErrUnknownLink
		}
		if err != nil {
			return err
		}
		tx.note(account, core.DisputeAudit(dispute.User))
		return insertEvent(ctx, tx, account, dispute.Event)
	})
}

// liveLink holds for a request whose own link is unspent, unexpired, and was made for
// the user and the credential that are named.
const liveLink = `account_id = ? AND id = ? AND user_id = ? AND credential_version = ?
			AND seed IS NOT NULL AND spent_at IS NULL AND expires_at > ?now`

// spend is the first guard: the link is unspent, unexpired, and was made for the
// credential that is named.
func spend(ctx context.Context, tx session, account tenants.AccountID, redemption core.Redemption) error {
	result, err := tx.exec(ctx, `
		UPDATE requests SET
			state = 'redeemed', reason = '', spent_at = ?now, selector = NULL, seed = NULL, address_sealed = NULL
		WHERE `+liveLink,
		string(account), string(redemption.Request), string(redemption.User), redemption.CredentialVersion)
	if spent, err := wrote(result, err); err != nil || !spent {
		return whyNot(ctx, tx, account, redemption.Request, redemption.User, err)
	}
	return nil
}

// whyNot tells what is wrong with a link that could not be ended; err comes first.
func whyNot(ctx context.Context, tx session, account tenants.AccountID, request core.RequestID, user core.UserID, err error) error {
	if err != nil {
		return err
	}
	var expired int
	err = tx.row(ctx, &expired, `
		SELECT count(*) FROM requests
		WHERE account_id = ? AND id = ? AND user_id = ? AND seed IS NOT NULL AND spent_at IS NULL
			AND expires_at <= ?now`,
		string(account), string(request), string(user))
	switch {
	case err != nil:
		return err
	case expired == 1:
		return core.ErrExpiredLink
	default:
		return core.ErrUnknownLink
	}
}

// setPassword is the second guard: the user still has the credential that the
// link was made for.
func setPassword(ctx context.Context, tx session, account tenants.AccountID, redemption core.Redemption) (core.User, error) {
	var row userRow
	err := tx.row(ctx, &row, `
		UPDATE users SET password_hash = ?, hash_cost = '', credential_version = credential_version + 1, updated_at = ?now
		WHERE account_id = ? AND id = ? AND credential_version = ?
		RETURNING `+userColumns,
		blob(redemption.PasswordHash), string(account), string(redemption.User), redemption.CredentialVersion)
	if errors.Is(err, sql.ErrNoRows) {
		return core.User{}, core.ErrUnknownLink
	}
	return row.user(), err
}

// insertNotice queues the notice, unless no mail goes to the request's address.
func insertNotice(ctx context.Context, tx session, account tenants.AccountID, redemption core.Redemption) error {
	if redemption.Notice == "" {
		return nil
	}
	_, err := tx.exec(ctx, `
		INSERT INTO deliveries (account_id, id, request_id, user_id, kind, state, ready, run_at, not_after, queued_at)
		SELECT s.account_id, ?text, s.id, ?text, 'notice', 'queued', TRUE, ?now, ?now + ?int, ?now
		FROM (SELECT account_id, id, address_digest AS digest FROM requests WHERE account_id = ? AND id = ?) AS s
		WHERE NOT `+isSuppressed,
		string(redemption.Notice), string(redemption.User), redemption.NoticeLife.Microseconds(),
		string(account), string(redemption.Request))
	return err
}
