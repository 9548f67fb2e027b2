package httpapi

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
)

func keyOf(n int) (key limitKey) {
	binary.LittleEndian.PutUint64(key[:], uint64(n)*0x9e3779b97f4a7c15)
	return key
}

// A flood of keys takes bounded memory, and beyond the bound counts too much, never
// too little.
func TestFloodOfKeys(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	l := newLimits(DefaultLimits(), func() time.Time { return now })
	const flood = 300_000
	for i := range flood {
		l.auth[0].take(keyOf(i), now)
		l.ipDay[0].take(keyOf(i), 1, now)
	}
	for i := range limitShards {
		if n := len(l.auth[0].shards[i].counts); n > keysPerShard {
			t.Errorf("shard %d of the window counts %d keys", i, n)
		}
		if n := len(l.ipDay[0].shards[i].buckets); n > keysPerShard {
			t.Errorf("shard %d of the rate keeps %d buckets", i, n)
		}
	}
	newcomer := keyOf(flood + 1)
	for range l.auth[0].limit {
		l.auth[0].take(newcomer, now)
	}
	if l.take(l.auth, newcomer) == nil {
		t.Error("a key beyond the bound is not limited")
	}
	if l.take(l.auth, keyOf(0)) != nil {
		t.Error("a key from before the flood lost its own count")
	}
	now = now.Add(time.Minute)
	if l.take(l.auth, newcomer) != nil {
		t.Error("the next window does not begin anew")
	}
}

// Buckets that are full again are forgotten.
func TestFullBucketsAreSwept(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	limit := &rateLimit{rate: core.Rate{Count: 60, Per: time.Minute, Burst: 2}}
	for i := range 1000 {
		limit.take(keyOf(i), 1, now)
	}
	now = now.Add(2 * sweepEvery)
	kept := 0
	for i := range limitShards {
		limit.take(limitKey{byte(i)}, 1, now)
		kept += len(limit.shards[i].buckets)
	}
	if kept != limitShards {
		t.Errorf("%d buckets kept, want the %d in use", kept, limitShards)
	}
}

// A client that is refused takes nothing from the /48 that it shares.
func TestRefusedClientLeavesItsNeighboursAlone(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	l := newLimits(Limits{IP: limit(core.Rate{Count: 10, Per: time.Minute})}, func() time.Time { return now })
	for range 1000 {
		l.takeShares(l.ip, l.clientShares(netip.MustParseAddr("2001:db8:1:1::1")))
	}
	for i := range 10 {
		neighbour := netip.MustParseAddr(fmt.Sprintf("2001:db8:1:2::%x", i))
		if _, _, ok := l.takeShares(l.ip, l.clientShares(neighbour)); !ok {
			t.Fatalf("the neighbour's request %d is refused", i)
		}
	}
}

func TestWindowTakesNoBurst(t *testing.T) {
	t.Parallel()
	burst, err := core.ParseLimit("5/h:2")
	if err != nil {
		t.Fatal(err)
	}
	for name, limits := range map[string]Limits{"Rstpwd": {Rstpwd: burst}, "Mutpwd": {Mutpwd: burst}, "Auth": {Auth: burst}} {
		if err := limits.Validate(); err == nil {
			t.Errorf("%s with a burst is taken", name)
		}
	}
	if err := (&Limits{IP: burst}).Validate(); err != nil {
		t.Error(err)
	}
}

// A flood of probing clients takes bounded memory, and blocks nobody who did not probe.
func TestFloodOfProbers(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	p := newProbes(DefaultLimits().Probe)
	const flood = 300_000
	for i := range flood {
		p.add(keyOf(i), now)
	}
	for i := range limitShards {
		if n := len(p.shards[i].clients); n > keysPerShard {
			t.Errorf("shard %d remembers %d clients", i, n)
		}
	}
	newcomer := keyOf(flood + 1)
	if p.add(newcomer, now) || p.blocked(newcomer, now) {
		t.Error("a client beyond the bound is blocked for others")
	}
	if p.add(keyOf(0), now); !p.add(keyOf(0), now) {
		t.Error("a client from before the flood lost its count")
	}
	now = now.Add(blockTime)
	p.add(newcomer, now)
	if n := len(p.shards[newcomer[0]%limitShards].clients); n != 1 {
		t.Errorf("%d clients are remembered for ever", n)
	}
}
