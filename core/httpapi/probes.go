package httpapi

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/passmend/passmend/core"
)

// blockTime is for how long a client is turned away that looked for holes
// (contract.md, G).
const blockTime = 30 * time.Minute

// alwaysAnswered are routes for whoever watches over the service. They tell a scanner
// nothing, and behind a balancer that nobody has named their callers share an address
// with everybody.
var alwaysAnswered = []string{"/v1/ping", "/v1/accounts/:account/ping", "/v1/health", "/v1/health/webhooks"}

// sharedAddresses is carrier-grade NAT (RFC 6598).
var sharedAddresses = netip.MustParsePrefix("100.64.0.0/10")

// isProbe says whether a target that is no route of ours is one that scanners try on
// any server.
func isProbe(target *url.URL) bool {
	path := strings.ToLower(target.Path)
	query, err := url.QueryUnescape(strings.ToLower(target.RawQuery))
	if err != nil {
		query = ""
	}
	return strings.Contains(path, "/etc/passwd") || strings.Contains(query, "/etc/passwd") ||
		strings.Contains(path, "/wp-admin") || strings.HasSuffix(path, ".php") || strings.Contains(path, ".php/")
}

// canBeBlocked is false for addresses that are not public: such a client is a proxy
// that TRUSTED_PROXIES does not name, and everybody behind it would be blocked for one.
func canBeBlocked(client netip.Addr) bool {
	return client.IsGlobalUnicast() && !client.IsPrivate() && !sharedAddresses.Contains(client)
}

// probes counts, per client, what only scanners look for, and remembers whom to turn
// away.
type probes struct {
	most   int // the probe that blocks; 0: none does
	within time.Duration
	shards [limitShards]probeShard
}

type probeShard struct {
	mu      sync.Mutex
	clients map[limitKey]prober
	swept   time.Time
}

// prober is a client that probed.
type prober struct {
	count   int
	until   time.Time // when the count is over, or the block
	blocked bool
}

func newProbes(limit core.Limit) *probes {
	if len(limit.Rates) == 0 {
		return &probes{}
	}
	return &probes{most: limit.Rates[0].Count, within: limit.Rates[0].Per}
}

// blocked says whether the client is turned away.
func (p *probes) blocked(key limitKey, now time.Time) bool {
	shard := &p.shards[key[0]%limitShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	client := shard.clients[key]
	return client.blocked && now.Before(client.until)
}

// add counts a probe and says whether it is the one that blocks. A client beyond the
// bound of the memory is not counted: shared counters would block whoever shares them.
func (p *probes) add(key limitKey, now time.Time) (blocks bool) {
	shard := &p.shards[key[0]%limitShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if now.Sub(shard.swept) >= sweepEvery || shard.clients == nil {
		shard.sweep(now)
	}
	client, known := shard.clients[key]
	if !known && len(shard.clients) >= keysPerShard {
		return false
	}
	if !now.Before(client.until) {
		client = prober{until: now.Add(p.within)}
	}
	if client.count++; client.count >= p.most {
		client.blocked, client.until = true, now.Add(blockTime)
	}
	shard.clients[key] = client
	return client.blocked
}

func (s *probeShard) sweep(now time.Time) {
	kept := make(map[limitKey]prober)
	for key, client := range s.clients {
		if now.Before(client.until) {
			kept[key] = client
		}
	}
	s.clients, s.swept = kept, now
}

// probing says whether the client is to be turned away, and counts a request for what
// is no route of ours.
func (g *gate) probing(r *http.Request, noRoute bool) bool {
	client := g.c.clientIP(r)
	if g.probes.most == 0 || !canBeBlocked(client) {
		return false
	}
	key, now := g.limits.key("prober", clientPrefix(client)), g.c.Now()
	if !g.probes.blocked(key, now) && !(noRoute && isProbe(r.URL) && g.probes.add(key, now)) {
		return false
	}
	g.c.Observer.RateLimited("probe", "reject")
	return true
}

// turnAway answers those who are blocked, whatever they ask for. What is a route, as
// the page of an account that is called wp-admin, is no probe.
func (a *api) turnAway(g *gin.Context) {
	if slices.Contains(alwaysAnswered, g.FullPath()) || !a.gate.probing(g.Request, g.FullPath() == "") {
		return
	}
	g.Abort()
	c := &call{Context: g, api: a, id: g.Writer.Header().Get("X-Request-Id"), mediaType: preferredType(g.Request)}
	c.setHeaders()
	a.refuse(c, &told{refusal{status: http.StatusForbidden, title: "Forbidden", detail: "Your network is blocked for a while",
		bare: true, header: map[string]string{"X-RateLimit-Window": "blacklist"}}})
}
