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
	secret [32]byte
	now    func() time.Time
	ip     []*rateLimit
	rstpwd []*window
	mutpwd []*window
	auth   []*window
}

func newLimits(c Limits, now func() time.Time) *limits {
	l := &limits{
		now:    now,
		rstpwd: newWindows("rstpwd", c.Rstpwd),
		mutpwd: newWindows("mutpwd", c.Mutpwd),
		auth:   newWindows("auth", c.Auth),
	}
	_, _ = rand.Read(l.secret[:]) // never fails (crypto/rand, Go 1.24)
	for _, r := range c.IP.rules {
		l.ip = append(l.ip, &rateLimit{rule: r})
	}
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

// allowIP takes one from what a client may do: an IPv4 address, or an IPv6 /64
// and the /48 round it. When it is used up: false, and how long until the next.
func (l *limits) allowIP(address netip.Addr) (retryAfter time.Duration, ok bool) {
	now := l.now()
	for _, limit := range l.ip {
		// The /64 first: one client that is refused takes nothing from its neighbours.
		if wait, ok := limit.take(l.key("ip", clientPrefix(address)), 1, now); !ok {
			return wait, false
		}
		if address.Is6() {
			site, _ := address.Prefix(48)
			if wait, ok := limit.take(l.key("ip", site.String()), slash48, now); !ok {
				return wait, false
			}
		}
	}
	return 0, true
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
	rule   rule
	shards [limitShards]rateShard
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
	bucket := shard.bucket(key, l.rule, times, now)
	if bucket.AllowN(now, 1) {
		return 0, true
	}
	missing := 1 - bucket.TokensAt(now)
	return time.Duration(missing / float64(bucket.Limit()) * float64(time.Second)), false
}

func (s *rateShard) bucket(key limitKey, r rule, times int, now time.Time) *rate.Limiter {
	if now.Sub(s.swept) >= sweepEvery || s.buckets == nil {
		s.sweep(now)
	}
	if bucket, known := s.buckets[key]; known {
		return bucket
	}
	if len(s.buckets) < keysPerShard {
		bucket := r.bucket(times)
		s.buckets[key] = bucket
		return bucket
	}
	place := &s.shared[key[1]]
	if *place == nil {
		*place = r.bucket(times)
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

func (r rule) bucket(times int) *rate.Limiter {
	burst := r.burst
	if burst == 0 {
		burst = r.count
	}
	perSecond := float64(r.count*times) / r.per.Seconds()
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

func newWindows(name string, limit Limit) []*window {
	windows := make([]*window, len(limit.rules))
	for i, r := range limit.rules {
		windows[i] = &window{name: name, limit: r.count, seconds: int64(r.per / time.Second)}
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
