package observability

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/passmend/passmend/tenants"
)

// AccountLabel says which accounts metrics tell apart.
type AccountLabel string

// The closed list.
const (
	// AccountsOff tells none apart.
	AccountsOff AccountLabel = "off"
	// AccountsTop tells those apart that had the most requests in about a day. The default.
	AccountsTop AccountLabel = "top"
	// AccountsAll tells every account apart, and a scrape is then as large as there
	// are accounts.
	AccountsAll AccountLabel = "all"
)

const (
	// volumeTime is after how long a request counts for 1/e in an account's volume.
	volumeTime = 24 * time.Hour
	rankEvery  = time.Minute
	// shownBonus keeps accounts of about the same volume from taking turns: a series
	// that comes and goes is worth little.
	shownBonus = 1.25
	// maxRanked bounds the accounts whose volume is known.
	maxRanked = 20_000
	// leastVolume is forgotten: of one request after about four days.
	leastVolume = 0.02
)

// ranking knows which accounts have a name in metrics. Safe for many goroutines.
type ranking struct {
	label AccountLabel
	now   func() time.Time

	mu     sync.RWMutex
	volume map[tenants.AccountID]float64
	shown  map[tenants.AccountID]bool
	ranked time.Time
}

func newRanking(label AccountLabel, now func() time.Time) (*ranking, error) {
	if label == "" {
		label = AccountsTop
	}
	if label != AccountsOff && label != AccountsTop && label != AccountsAll {
		return nil, fmt.Errorf("account label %q is not one of %s, %s, %s", label, AccountsOff, AccountsTop, AccountsAll)
	}
	return &ranking{
		label: label, now: now, ranked: now(),
		volume: make(map[tenants.AccountID]float64), shown: make(map[tenants.AccountID]bool),
	}, nil
}

// count adds a request to an account's volume and gives its label. While there are
// names left a new account has one at once.
func (r *ranking) count(id tenants.AccountID) string {
	if r.label == AccountsTop && isUUID(string(id)) && !id.Own() {
		r.mu.Lock()
		if _, known := r.volume[id]; known || len(r.volume) < maxRanked {
			r.volume[id]++
		}
		if len(r.shown) < maxNamed {
			r.shown[id] = true
		}
		r.mu.Unlock()
	}
	return r.of(id)
}

// of gives the label of an account. Those of the service's own have no name: they
// would stand among tenants.
func (r *ranking) of(id tenants.AccountID) string {
	if r.label == AccountsOff || !isUUID(string(id)) || id.Own() {
		return otherAccount
	}
	if r.label == AccountsAll {
		return string(id)
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.shown[id] {
		return string(id)
	}
	return otherAccount
}

// rank finds the accounts with the most requests anew, at most once a minute, and
// gives those that lost their name.
func (r *ranking) rank() (lost []tenants.AccountID) {
	if r.label != AccountsTop {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	passed := now.Sub(r.ranked)
	if passed < rankEvery {
		return nil
	}
	r.ranked = now
	keep := math.Exp(-passed.Seconds() / volumeTime.Seconds())
	best := make([]tenants.AccountID, 0, len(r.volume))
	for id := range r.volume {
		if r.volume[id] *= keep; r.volume[id] < leastVolume {
			delete(r.volume, id)
			continue
		}
		best = append(best, id)
	}
	score := func(id tenants.AccountID) float64 {
		if r.shown[id] {
			return shownBonus * r.volume[id]
		}
		return r.volume[id]
	}
	slices.SortFunc(best, func(a, b tenants.AccountID) int {
		switch x, y := score(a), score(b); {
		case x > y:
			return -1
		case x < y:
			return 1
		default:
			return 0
		}
	})
	top := make(map[tenants.AccountID]bool, maxNamed)
	for _, id := range best[:min(len(best), maxNamed)] {
		top[id] = true
	}
	for id := range r.shown {
		if !top[id] {
			lost = append(lost, id)
		}
	}
	r.shown = top
	return lost
}

// isUUID says whether s has the shape of a UUID in canonical form. Nothing else
// becomes an account's label.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, b := range []byte(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (b == '-') || !dash && !('0' <= b && b <= '9' || 'a' <= b && b <= 'f') {
			return false
		}
	}
	return true
}
