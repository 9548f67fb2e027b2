package core

import (
	"context"
	"errors"
	"fmt"

	"github.com/passmend/passmend/tenants"
)

// AccountAdmin makes, changes and deletes accounts. Whoever asks has been allowed to.
type AccountAdmin struct {
	System   AccountSystem
	Accounts Accounts
	// Changed is called before what changed is given back: whoever changed an account
	// finds it so, here at once and on other replicas when they hear of it.
	Changed func()
	NewID   func() string
}

// AccountSystem is what of System it needs.
type AccountSystem interface {
	AccountByID(ctx context.Context, id tenants.AccountID) (tenants.Account, error)
	CreateAccount(ctx context.Context, account tenants.Account) (tenants.Account, error)
	DeleteAccount(ctx context.Context, account tenants.AccountID) error
	ListAccounts(ctx context.Context, after tenants.AccountID, limit int) ([]tenants.Account, error)
}

// accountTries bounds how often a change is made anew because somebody else changed
// the account meanwhile.
const accountTries = 5

// Create makes an account of the defaults and what describe changes in them.
// *tenants.FieldError, ErrSlugTaken, and what describe gives.
func (a *AccountAdmin) Create(ctx context.Context, describe func(*tenants.Account) error) (tenants.Account, error) {
	account := tenants.New(tenants.AccountID(a.NewID()), "", "")
	if err := changeAccount(&account, describe); err != nil {
		return tenants.Account{}, err
	}
	created, err := a.System.CreateAccount(ctx, account)
	if err != nil {
		return tenants.Account{}, fmt.Errorf("create account: %w", err)
	}
	a.Changed()
	return created, nil
}

// Change changes an account as it is now; change may be called more than once.
// Errors as of Create; tenants.ErrUnknown; ErrOutdated where others do not let it be.
func (a *AccountAdmin) Change(ctx context.Context, id tenants.AccountID, change func(*tenants.Account) error) (changed tenants.Account, err error) {
	for range accountTries {
		var account tenants.Account
		if account, err = a.System.AccountByID(ctx, id); err != nil {
			return tenants.Account{}, err
		}
		if err = changeAccount(&account, change); err != nil {
			return tenants.Account{}, err
		}
		if changed, err = a.Accounts.UpdateAccount(ctx, id, account); !errors.Is(err, ErrOutdated) {
			break
		}
	}
	if err != nil {
		return tenants.Account{}, fmt.Errorf("change account %s: %w", id, err)
	}
	a.Changed()
	return changed, nil
}

func changeAccount(account *tenants.Account, change func(*tenants.Account) error) error {
	if err := change(account); err != nil {
		return err
	}
	return account.Validate()
}

// Delete ends an account and all that it has; tenants.ErrUnknown.
func (a *AccountAdmin) Delete(ctx context.Context, id tenants.AccountID) error {
	if err := a.System.DeleteAccount(ctx, id); err != nil {
		return fmt.Errorf("delete account %s: %w", id, err)
	}
	a.Changed()
	return nil
}

// List lists by id from after (exclusive).
func (a *AccountAdmin) List(ctx context.Context, after tenants.AccountID, limit int) ([]tenants.Account, error) {
	return a.System.ListAccounts(ctx, after, limit)
}
