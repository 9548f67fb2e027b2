package core

import (
	"context"
	"errors"
	"time"

	"github.com/passmend/passmend/tenants"
)

// How many wrong passwords in a row an address may have (threats.md, Abuse limits;
// NIST SP 800-63B-4, section 3.2.2): after FreeTries each further one waits, from
// FirstTryDelay doubling to MaxTryDelay, and after MaxTries none is judged until the
// password is set anew.
const (
	FreeTries     = 10
	MaxTries      = 100
	FirstTryDelay = 30 * time.Second
	MaxTryDelay   = time.Hour
)

// TryLife is after how long without another a few wrong passwords are forgotten, and
// StoppedTryLife the same for so many that nothing is judged any more.
const (
	TryLife        = 24 * time.Hour
	StoppedTryLife = 90 * 24 * time.Hour
)

// ErrTooManyTries: too many wrong passwords in a row for this address, or with this
// link. It is told whether or not there is a user.
var ErrTooManyTries = errors.New("too many tries")

// Tries counts passwords that were tried in a row and not right, exactly, over
// replicas and restarts. Its keys are keyed digests: no row says whom it counts.
type Tries interface {
	// TakeTry counts one try more, before the password is judged, so that many at once
	// count as many. False, and nothing is counted, while the key has to wait.
	TakeTry(ctx context.Context, account tenants.AccountID, key []byte) (bool, error)
	// ReturnTry undoes a TakeTry whose password nobody judged.
	ReturnTry(ctx context.Context, account tenants.AccountID, key []byte) error
	// ClearTries ends the row: the password was right, or is another now.
	ClearTries(ctx context.Context, account tenants.AccountID, key []byte) error
}

// TryDelay is how long after so many tries the next one has to wait.
func TryDelay(tries int) time.Duration {
	if tries < FreeTries {
		return 0
	}
	delay := FirstTryDelay
	for range tries - FreeTries {
		if delay *= 2; delay >= MaxTryDelay {
			return MaxTryDelay
		}
	}
	return delay
}

// TryKey is what tries of an address are counted under.
func TryKey(digester Digester, account tenants.AccountID, address Address) []byte {
	return digester.Digest("sign-in tries", account, []byte(address.Reveal()))
}
