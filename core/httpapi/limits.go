package httpapi

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/passmend/passmend/core"
)

// Bounds of the memory that one limit takes, about 4 MiB: keys beyond them share
// counters, so that a flood of keys counts too much and never too little.
const (
	limitShards    = 16
	keysPerShard   = 4096
	sharedPerShard = 256
)

// limitKey stands for whom a limit counts. It is a digest under a key that this
// process made and nobody else knows: memory holds no address of either kind.
type limitKey [16]byte

// limits counts. It knows nothing of users, so that no limit can tell who exists.
type limits struct {
	secret      [32]byte
	now         func() time.Time
	ip          []*rateLimit
	ipDay       []*rateLimit
	account     []*rateLimit
	badToken    []*rateLimit
	badCallback []*rateLimit
	rstpwd      []*window
	mutpwd      []*window
	auth        []*window
}

func newLimits(c Limits, now func() time.Time) *limits {
	l := &limits{
		now:         now,
		ip:          newRates(c.IP),
		ipDay:       newRates(c.IPDay),
		account:     newRates(c.Account),
		badToken:    newRates(c.BadToken),
		badCallback: newRates(c.BadCallback),
		rstpwd:      newWindows("rstpwd", c.Rstpwd),
		mutpwd:      newWindows("mutpwd", c.Mutpwd),
		auth:        newWindows("auth", c.Auth),
	}
	_, _ = rand.Read(l.secret[:]) // never fails (crypto/rand, Go 1.24)
	return l
}

// key digests parts, each with its length before it so that none runs into the next.
func (l *limits) key(parts ...string) (key limitKey) {
	mac := hmac.New(sha256.New, l.secret[:])
	for _, part := range parts {
		mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		mac.Write([]byte(part))
	}
	copy(key[:], mac.Sum(nil))
	return key
}

// slash48 is how many times the limit of an IPv6 /64 its whole /48 may use.
const slash48 = 5

// share is one of those whom a rate counts for, and how many times the rate it may
// use.
type share struct {
	key   limitKey
	times int
}

// clientShares are those that a client's requests count for: its IPv4 address, or
// its IPv6 /64 and then the /48 round it; within an account, when one is named.
func (l *limits) clientShares(address netip.Addr, within ...string) []share {
	key := func(prefix string) limitKey { return l.key(append([]string{"client", prefix}, within...)...) }
	shares := []share{{key(clientPrefix(address)), 1}}
	if address.Is6() {
		site, _ := address.Prefix(48)
		shares = append(shares, share{key(site.String()), slash48})
	}
	return shares
}

func (l *limits) accountShare(id string) []share { return []share{{l.key("account", id), 1}} }

// takeShares takes one for every share from every rate. When one is used up: false,
// which rate, and how long until the next. The /64 comes first: one client that is refused takes
// nothing from its neighbours.
func (l *limits) takeShares(rates []*rateLimit, shares []share) (over core.Rate, retryAfter time.Duration, ok bool) {
	now := l.now()
	for _, r := range rates {
		for _, s := range shares {
			if wait, ok := r.take(s.key, s.times, now); !ok {
				return r.of(s.times), wait, false
			}
		}
	}
	return core.Rate{}, 0, true
}

// lookShares is takeShares, and takes nothing.
func (l *limits) lookShares(rates []*rateLimit, shares []share) (over core.Rate, retryAfter time.Duration, ok bool) {
	now := l.now()
	for _, r := range rates {
		for _, s := range shares {
			if wait, ok := r.look(s.key, now); !ok {
				return r.of(s.times), wait, false
			}
		}
	}
	return core.Rate{}, 0, true
}

// clientPrefix is what counts as one client: a whole IPv6 /64 is usually one
// machine's to choose from.
func clientPrefix(address netip.Addr) string {
	if address.Is6() {
		prefix, _ := address.Prefix(64)
		return prefix.String()
	}
	return address.String()
}

// rateLimit lets a rate through with a burst, per key.
type rateLimit struct {
	rate   core.Rate
	shards [limitShards]rateShard
}

// of is the rate that a share may use.
func (l *rateLimit) of(times int) core.Rate {
	return core.Rate{Count: l.rate.Count * times, Per: l.rate.Per, Burst: l.rate.Burst * times}
}

func newRates(limit core.Limit) []*rateLimit {
	rates := make([]*rateLimit, len(limit.Rates))
	for i, r := range limit.Rates {
		rates[i] = &rateLimit{rate: r}
	}
	return rates
}

type rateShard struct {
	mu      sync.Mutex
	buckets map[limitKey]*rate.Limiter
	shared  [sharedPerShard]*rate.Limiter
	swept   time.Time
}

// sweepEvery is how often a shard looks for keys whose bucket is full again: they
// are as good as new and need no memory.
const sweepEvery = time.Minute

func (l *rateLimit) take(key limitKey, times int, now time.Time) (retryAfter time.Duration, ok bool) {
	shard := &l.shards[key[0]%limitShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	bucket := shard.bucket(key, l.rate, times, now)
	if bucket.AllowN(now, 1) {
		return 0, true
	}
	return untilNext(bucket, now), false
}

// look says whether take would, and takes nothing.
func (l *rateLimit) look(key limitKey, now time.Time) (retryAfter time.Duration, ok bool) {
	shard := &l.shards[key[0]%limitShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	bucket, known := shard.buckets[key]
	if !known && len(shard.buckets) >= keysPerShard {
		bucket = shard.shared[key[1]]
	}
	if bucket == nil || bucket.TokensAt(now) >= 1 {
		return 0, true
	}
	return untilNext(bucket, now), false
}

func untilNext(bucket *rate.Limiter, now time.Time) time.Duration {
	missing := 1 - bucket.TokensAt(now)
	return time.Duration(missing / float64(bucket.Limit()) * float64(time.Second))
}

func (s *rateShard) bucket(key limitKey, r core.Rate, times int, now time.Time) *rate.Limiter {
	if now.Sub(s.swept) >= sweepEvery || s.buckets == nil {
		s.sweep(now)
	}
	if bucket, known := s.buckets[key]; known {
		return bucket
	}
	if len(s.buckets) < keysPerShard {
		bucket := newBucket(r, times)
		s.buckets[key] = bucket
		return bucket
	}
	place := &s.shared[key[1]]
	if *place == nil {
		*place = newBucket(r, times)
	}
	return *place
}

func (s *rateShard) sweep(now time.Time) {
	kept := make(map[limitKey]*rate.Limiter)
	for key, bucket := range s.buckets {
		if bucket.TokensAt(now) < float64(bucket.Burst()) {
			kept[key] = bucket
		}
	}
	s.buckets, s.swept = kept, now
}

func newBucket(r core.Rate, times int) *rate.Limiter {
	burst := r.Burst
	if burst == 0 {
		burst = r.Count
	}
	perSecond := float64(r.Count*times) / r.Per.Seconds()
	return rate.NewLimiter(rate.Limit(perSecond), burst*times)
}

// window counts per key in fixed times that begin at multiples of their length
// since 1970 (contract.md, G).
type window struct {
	name    string
	limit   int
	seconds int64
	shards  [limitShards]windowShard
}

type windowShard struct {
	mu     sync.Mutex
	number int64 // of the window that the counts belong to
	counts map[limitKey]int
	shared [sharedPerShard]int
}

func newWindows(name string, limit core.Limit) []*window {
	windows := make([]*window, len(limit.Rates))
	for i, r := range limit.Rates {
		windows[i] = &window{name: name, limit: r.Count, seconds: int64(r.Per / time.Second)}
	}
	return windows
}

// overrun is a window that was used up.
type overrun struct {
	window *window
	count  int
	now    time.Time
	reset  time.Time // when the window ends
}

// take counts one for key in every window, and gives the first that is used up;
// nil when none is.
func (l *limits) take(windows []*window, key limitKey) *overrun {
	now := l.now()
	var over *overrun
	for _, w := range windows {
		count := w.take(key, now)
		if count > w.limit && over == nil {
			end := (now.Unix()/w.seconds + 1) * w.seconds
			over = &overrun{window: w, count: count, now: now, reset: time.Unix(end, 0)}
		}
	}
	return over
}

func (w *window) take(key limitKey, now time.Time) (count int) {
	shard := &w.shards[key[0]%limitShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if number := now.Unix() / w.seconds; number != shard.number || shard.counts == nil {
		// A new map, because an emptied one keeps the memory of its largest day.
		shard.number, shard.counts, shard.shared = number, make(map[limitKey]int), [sharedPerShard]int{}
	}
	if _, known := shard.counts[key]; !known && len(shard.counts) >= keysPerShard {
		shard.shared[key[1]]++
		return shard.shared[key[1]]
	}
	shard.counts[key]++
	return shard.counts[key]
}
