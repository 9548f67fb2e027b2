package smtp

import (
	"context"
	"crypto/sha256"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

const (
	// maxIdle bounds the kept connections of all servers together.
	maxIdle = 256
	// idleTimeout is how long a connection is kept without use.
	idleTimeout = 30 * time.Second
	// growAfter is how long a server that has refused connections is believed
	// before a few more are tried.
	growAfter = time.Minute
)

// pool keeps connections, by server and credentials: two uses that differ in
// anything that a connection is made with, the password among them, never share
// one.
type pool struct {
	idleTimeout, growAfter time.Duration

	mu      sync.Mutex
	buckets map[[sha256.Size]byte]*bucket
	idle    int
	closed  bool
	goodbye sync.WaitGroup // connections that are being closed by their timer
}

type idleConn struct {
	*conn
	timer *time.Timer
}

// slot is the right to one open connection, and that connection where one was kept.
// leave or crowded gives it back.
type slot struct {
	pool   *pool
	key    [sha256.Size]byte
	bucket *bucket
	kept   *conn // nil: there was none
}

func newPool() *pool {
	return &pool{idleTimeout: idleTimeout, growAfter: growAfter, buckets: make(map[[sha256.Size]byte]*bucket)}
}

// enter waits for the sender's turn; at most so many slots are given at a time.
// The error is ctx's.
func (p *pool) enter(ctx context.Context, key [sha256.Size]byte, most int, sender sdk.Mailbox) (*slot, error) {
	p.mu.Lock()
	b := p.buckets[key]
	if b == nil {
		b = &bucket{limit: most, taken: p.taken}
		p.buckets[key] = b
	}
	b.allow(most, p.growAfter)
	turn := b.ask(sender)
	p.mu.Unlock()
	select {
	case kept := <-turn:
		return &slot{pool: p, key: key, bucket: b, kept: kept}, nil
	case <-ctx.Done():
		p.mu.Lock()
		waited := b.withdraw(sender, turn)
		p.forget(key, b)
		p.mu.Unlock()
		if !waited { // its turn has come all the same
			(&slot{pool: p, key: key, bucket: b}).leave(<-turn)
		}
		return nil, ctx.Err()
	}
}

// taken notes that a kept connection is in use again. The caller holds mu.
func (p *pool) taken(kept *idleConn) {
	p.idle--
	p.stop(kept)
}

// forget takes a bucket that nobody needs from the pool. The caller holds mu.
func (p *pool) forget(key [sha256.Size]byte, b *bucket) {
	if b.empty() {
		delete(p.buckets, key)
	}
}

// crowded notes that the server refused a connection because it has too many. Where
// there is another one to wait for it ends the slot and tells so.
func (s *slot) crowded() bool {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	return s.bucket.lower()
}

// leave ends the slot and keeps c, which may be nil, for the next one.
func (s *slot) leave(c *conn) {
	p := s.pool
	p.mu.Lock()
	if c != nil && !p.closed && p.idle < maxIdle {
		kept := &idleConn{conn: c}
		p.goodbye.Add(1)
		kept.timer = time.AfterFunc(p.idleTimeout, func() { p.expire(s.key, s.bucket, kept) })
		s.bucket.idle = append(s.bucket.idle, kept)
		p.idle++
		c = nil
	}
	s.bucket.giveBack()
	p.forget(s.key, s.bucket)
	p.mu.Unlock()
	if c != nil {
		c.quit()
	}
}

func (p *pool) expire(key [sha256.Size]byte, b *bucket, kept *idleConn) {
	defer p.goodbye.Done()
	p.mu.Lock()
	i := slices.Index(b.idle, kept)
	if i < 0 {
		p.mu.Unlock()
		return
	}
	b.idle = slices.Delete(b.idle, i, i+1)
	p.idle--
	p.forget(key, b)
	unused := len(p.buckets) == 0
	p.mu.Unlock()
	kept.quit()
	if unused {
		// The runtime by itself keeps for good much of what the last rush took.
		debug.FreeOSMemory()
	}
}

// stop keeps the timer from running; one that already runs finds nothing.
func (p *pool) stop(kept *idleConn) {
	if kept.timer.Stop() {
		p.goodbye.Done()
	}
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	var all []*conn
	for key, b := range p.buckets {
		for _, kept := range b.idle {
			p.stop(kept)
			all = append(all, kept.conn)
		}
		b.idle = nil
		p.forget(key, b)
	}
	p.idle = 0
	p.mu.Unlock()
	for _, c := range all {
		c.drop()
	}
	p.goodbye.Wait()
}
