package httpapi

import (
	"net/http"
	"time"

	"github.com/passmend/passmend/tenants"
)

// gate holds the limits that the API and the pages share: what one of them counted,
// the other refuses.
type gate struct {
	c      Config
	limits *limits
}

func newGate(c Config) *gate { return &gate{c: c, limits: newLimits(c.Limits, c.Now)} }

// excess is a limit that is used up.
type excess struct {
	name   string // as X-RateLimit-Window has it
	reason string // for Observer.Rejected
	wait   time.Duration
}

// asking takes one from what the client may ask for; nil: there was one left.
func (g *gate) asking(r *http.Request) *excess {
	shares := g.limits.clientShares(g.c.clientIP(r))
	for _, each := range []struct {
		name  string
		rates []*rateLimit
	}{{"ip", g.limits.ip}, {"ip_day", g.limits.ipDay}} {
		if wait, ok := g.limits.takeShares(each.rates, shares); !ok {
			return g.refused("ip", excess{each.name, "rate_ip", wait})
		}
	}
	return nil
}

// accepting takes one from what the account may be asked for by all its clients.
func (g *gate) accepting(account tenants.AccountID) *excess {
	if wait, ok := g.limits.takeShares(g.limits.account, g.limits.accountShare(string(account))); !ok {
		return g.refused("tenant", excess{"account", "rate_tenant", wait})
	}
	return nil
}

// opening says whether the client may try a link, and takes nothing: only a link
// that nobody has counts, in guessed. Links that are tried at the same time may so
// pass together; each is still one guess among 2^184.
func (g *gate) opening(r *http.Request) *excess {
	if wait, ok := g.limits.lookShares(g.limits.badToken, g.limits.clientShares(g.c.clientIP(r))); !ok {
		return g.refused("token", excess{"bad_token", "rate_ip", wait})
	}
	return nil
}

// guessed takes one from how many links that nobody has the client may try.
func (g *gate) guessed(r *http.Request) {
	g.limits.takeShares(g.limits.badToken, g.limits.clientShares(g.c.clientIP(r)))
}

func (g *gate) refused(scope string, over excess) *excess {
	g.c.Observer.RateLimited(scope, "reject")
	return &over
}
