package sqlstore

import (
	"context"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// ImportUsers implements core.UserImports. Of two of one list that have the same
// address, the first is stored.
func (s *Store) ImportUsers(ctx context.Context, account tenants.AccountID, users []core.ImportedUser) ([]core.ImportOutcome, error) {
	var outcomes []core.ImportOutcome
	err := s.change(ctx, "import_users", false, func(ctx context.Context, tx session) error {
		created := make(map[string]bool, len(users))
		if err := insertUsers(ctx, tx, account, users, created); s.fault(err) == faultForeign {
			return tenants.ErrUnknown
		} else if err != nil {
			return err
		}
		if len(created) > 0 {
			tx.note(account, core.Audit{Name: core.AuditUsersImported, Object: core.AuditObject{Type: "accounts", ID: string(account)}})
		}
		var err error
		outcomes, err = importOutcomes(ctx, tx, account, users, created)
		return err
	})
	return outcomes, err
}

var importedShape = shapeOf("account_id text, id text, address text, first_name text, last_name text, role text, banned bool, password_hash bytes, metadata text, hash_cost text")

// insertUsers stores those that are in nobody's way and adds their ids to created.
func insertUsers(ctx context.Context, tx session, account tenants.AccountID, users []core.ImportedUser, created map[string]bool) error {
	list := newList(importedShape, len(users))
	for _, u := range users {
		list.add(string(account), string(u.ID), u.Address.Reveal(), u.FirstName, u.LastName, string(u.Role),
			u.Banned, blob(u.PasswordHash), object(u.Metadata), string(u.Hash.Cost))
	}
	// WHERE TRUE: or SQLite takes ON for the beginning of a join.
	ids, err := rowsOfList[string](ctx, tx, list, `
		INSERT INTO users (`+userColumns+`, hash_cost)
		SELECT account_id, id, address, first_name, last_name, role, banned, password_hash, 1, metadata, ?now, ?now, hash_cost
		FROM s WHERE TRUE
		ON CONFLICT DO NOTHING RETURNING id`)
	for _, id := range ids {
		created[id] = true
	}
	return err
}

// ImportOutcomes implements core.UserImports.
func (s *Store) ImportOutcomes(ctx context.Context, account tenants.AccountID, users []core.ImportedUser) ([]core.ImportOutcome, error) {
	outcomes, err := importOutcomes(ctx, s.reading(), account, users, nil)
	return outcomes, s.failed("judge_import", err)
}

// importOutcomes says what became of users: those that were created, and of the rest
// whether the address or the id was taken. With nothing created it says what would.
func importOutcomes(ctx context.Context, q session, account tenants.AccountID, users []core.ImportedUser, created map[string]bool) ([]core.ImportOutcome, error) {
	rest := newList(takenShape, len(users)-len(created))
	for _, u := range users {
		if !created[string(u.ID)] {
			rest.add(u.Address.Reveal(), string(u.ID))
		}
	}
	// Two look-ups by index for each: OR, and IN with a list as long as this, have
	// SQLite walk through the account's users.
	rows, err := rowsOfList[takenUser](ctx, q, rest, `
		SELECT u.id, u.address FROM s CROSS JOIN users u WHERE u.account_id = ? AND u.address = s.address AND ?few
		UNION ALL
		SELECT u.id, u.address FROM s CROSS JOIN users u WHERE u.account_id = ? AND u.id = s.id AND ?few`,
		string(account), string(account))
	if err != nil {
		return nil, err
	}
	addresses, ids := make(map[string]bool, len(rows)), make(map[string]bool, len(rows))
	for _, row := range rows {
		addresses[row.Address], ids[row.ID] = true, true
	}
	outcomes := make([]core.ImportOutcome, len(users))
	for i, u := range users {
		switch {
		case created[string(u.ID)]:
		case addresses[u.Address.Reveal()]:
			outcomes[i] = core.ImportPresent
		case ids[string(u.ID)]:
			outcomes[i] = core.ImportIDTaken
		}
	}
	return outcomes, nil
}

var takenShape = shapeOf("address text, id text")

type takenUser struct {
	ID      string `bun:"id"`
	Address string `bun:"address"`
}

type shareRow struct {
	Cost  string `bun:"hash_cost"`
	Users int    `bun:"users"`
}

// HashShares implements core.HashShares. Who has none but hashes of ours, as most
// accounts, is found by an index that is empty for it.
func (s *Store) HashShares(ctx context.Context, account tenants.AccountID) ([]core.HashShare, error) {
	var rows []shareRow
	err := s.reading().rows(ctx, &rows, `
		SELECT hash_cost, count(*) AS users FROM users WHERE account_id = ? AND hash_cost <> ''
		GROUP BY hash_cost ORDER BY hash_cost`, string(account))
	if err != nil || len(rows) == 0 {
		return nil, s.failed("count_hashes", err)
	}
	var all int
	err = s.reading().row(ctx, &all, `SELECT count(*) FROM users WHERE account_id = ? AND password_hash IS NOT NULL`, string(account))
	if err != nil {
		return nil, s.failed("count_hashes", err)
	}
	shares := make([]core.HashShare, 0, len(rows)+1)
	for _, row := range rows {
		shares = append(shares, core.HashShare{Cost: core.HashCost(row.Cost), Users: row.Users})
		all -= row.Users
	}
	return append(shares, core.HashShare{Users: max(all, 0)}), nil
}
