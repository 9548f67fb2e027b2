package httpapi

import (
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// LinkGuesses counts, in this process's memory, what is tried with one link
// (threats.md, Abuse limits). After ten wrong tags with a selector it is frozen for
// ten minutes; a link that was proved takes twenty passwords that the policy refuses.
type LinkGuesses struct {
	limits    *limits
	tags      []*rateLimit
	passwords []*rateLimit
	observer  Observer
}

var _ core.LinkGuesses = (*LinkGuesses)(nil)

// NewLinkGuesses gives an empty one. observer may be nil, and so may now.
func NewLinkGuesses(observer Observer, now func() time.Time) *LinkGuesses {
	if observer == nil {
		observer = nobody{}
	}
	if now == nil {
		now = time.Now
	}
	return &LinkGuesses{
		limits: newLimits(Limits{}, now), observer: observer,
		tags:      newRates(limit(core.Rate{Count: 1, Per: 10 * time.Minute, Burst: 10})),
		passwords: newRates(limit(core.Rate{Count: 1, Per: tenants.MaxLinkLife, Burst: 20})),
	}
}

// Frozen implements core.LinkGuesses. What is frozen answers as what does not exist.
func (g *LinkGuesses) Frozen(account tenants.AccountID, selector core.Selector) bool {
	_, _, ok := g.limits.lookShares(g.tags, g.shares(account, selector))
	if !ok {
		g.observer.RateLimited("token", "suppress")
	}
	return !ok
}

// WrongTag implements core.LinkGuesses.
func (g *LinkGuesses) WrongTag(account tenants.AccountID, selector core.Selector) {
	g.limits.takeShares(g.tags, g.shares(account, selector))
}

// BadPassword implements core.LinkGuesses.
func (g *LinkGuesses) BadPassword(account tenants.AccountID, selector core.Selector) bool {
	_, _, ok := g.limits.takeShares(g.passwords, g.shares(account, selector))
	if !ok {
		g.observer.RateLimited("token", "reject")
	}
	return ok
}

func (g *LinkGuesses) shares(account tenants.AccountID, selector core.Selector) []share {
	return []share{{g.limits.key("link", string(account), string(selector[:])), 1}}
}
