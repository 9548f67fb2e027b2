package core

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/passmend/passmend/tenants"
)

// decoyLife is how long the shares of an account's hashes are taken for what they
// were, and maxDecoyAccounts of how many accounts they are kept.
const (
	decoyLife        = time.Minute
	maxDecoyAccounts = 10_000
)

// DecoyHashes makes hashes that no password matches, as package keys does.
type DecoyHashes interface {
	// Decoy gives nil when a hash of today's cost will do.
	Decoy(account tenants.AccountID, address Address, shares []HashShare) ([]byte, error)
}

// Decoys gives sign-ins of nobody something to verify that takes what a user's hash
// might: an account whose users came from elsewhere has hashes that take longer, or
// less, than ours (threats.md, Residual oracles).
type Decoys struct {
	Shares HashShares
	Hashes DecoyHashes
	Now    func() time.Time // nil: time.Now

	mu     sync.Mutex
	counts map[tenants.AccountID]countedShares
}

type countedShares struct {
	shares []HashShare
	until  time.Time
}

// For gives the decoy of an address. It is asked for at every sign-in, whether or not
// there is a user, so that asking tells nothing.
func (d *Decoys) For(ctx context.Context, account tenants.AccountID, address Address) ([]byte, error) {
	shares, err := d.shares(ctx, account)
	if err != nil {
		return nil, fmt.Errorf("hashes of account %s: %w", account, err)
	}
	return d.Hashes.Decoy(account, address, shares)
}

func (d *Decoys) shares(ctx context.Context, account tenants.AccountID) ([]HashShare, error) {
	now := time.Now
	if d.Now != nil {
		now = d.Now
	}
	d.mu.Lock()
	known, ok := d.counts[account]
	d.mu.Unlock()
	if ok && now().Before(known.until) {
		return known.shares, nil
	}
	shares, err := d.Shares.HashShares(ctx, account)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.counts == nil || len(d.counts) >= maxDecoyAccounts {
		d.counts = make(map[tenants.AccountID]countedShares)
	}
	d.counts[account] = countedShares{shares, now().Add(decoyLife)}
	return shares, nil
}
