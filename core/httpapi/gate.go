package httpapi

import (
	"net/http"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// gate holds the limits that the API and the pages share: what one of them counted,
// the other refuses.
type gate struct {
	c      Config
	limits *limits
	probes *probes
}

func newGate(c Config) *gate {
	return &gate{c: c, limits: newLimits(c.Limits, c.Now), probes: newProbes(c.Limits.Probe)}
}

// excess is a limit that is used up.
type excess struct {
	name   string // as X-RateLimit-Window has it
	rate   core.Rate
	reason string // for Observer.Rejected
	wait   time.Duration
}

// CanaryHeader carries the proof that a call is the service's own: Config.Proven.
const CanaryHeader = "Passmend-Canary"

// asking takes one from what the client may ask for; nil: there was one left. The
// service's own calls count for no client: the canary asks more often than a person.
func (g *gate) asking(r *http.Request) *excess {
	if proof := r.Header.Get(CanaryHeader); proof != "" && g.c.Proven != nil && g.c.Proven(r.URL.Path, proof) {
		return nil
	}
	shares := g.limits.clientShares(g.c.clientIP(r))
	for _, each := range []struct {
		name  string
		rates []*rateLimit
	}{{"ip", g.limits.ip}, {"ip_day", g.limits.ipDay}} {
		if rate, wait, ok := g.limits.takeShares(each.rates, shares); !ok {
			return g.refused("ip", excess{each.name, rate, "rate_ip", wait})
		}
	}
	return nil
}

// accepting takes one from what the account may be asked for by all its clients.
func (g *gate) accepting(account tenants.AccountID) *excess {
	if rate, wait, ok := g.limits.takeShares(g.limits.account, g.limits.accountShare(string(account))); !ok {
		return g.refused("tenant", excess{"account", rate, "rate_tenant", wait})
	}
	return nil
}

// opening says whether the client may try a link, and takes nothing: only a link
// that nobody has counts, in guessed. Links that are tried at the same time may so
// pass together; each is still one guess among 2^184.
func (g *gate) opening(r *http.Request) *excess {
	if rate, wait, ok := g.limits.lookShares(g.limits.badToken, g.limits.clientShares(g.c.clientIP(r))); !ok {
		return g.refused("token", excess{"bad_token", rate, "rate_ip", wait})
	}
	return nil
}

// guessed takes one from how many links that nobody has the client may try.
func (g *gate) guessed(r *http.Request) {
	g.limits.takeShares(g.limits.badToken, g.limits.clientShares(g.c.clientIP(r)))
}

// callingBack says whether the client may send the account a callback, and takes
// nothing: only one that proves nothing counts, in unproven. It counts for that
// account alone: services call back for all their customers from the same addresses.
func (g *gate) callingBack(account tenants.AccountID, r *http.Request) *excess {
	if rate, wait, ok := g.limits.lookShares(g.limits.badCallback, g.limits.clientShares(g.c.clientIP(r), string(account))); !ok {
		return g.refused("token", excess{"bad_callback", rate, "rate_ip", wait})
	}
	return nil
}

// unproven takes one from how many callbacks that prove nothing the client may send
// the account.
func (g *gate) unproven(account tenants.AccountID, r *http.Request) {
	g.limits.takeShares(g.limits.badCallback, g.limits.clientShares(g.c.clientIP(r), string(account)))
}

func (g *gate) refused(scope string, over excess) *excess {
	g.c.Observer.RateLimited(scope, "reject")
	return &over
}
