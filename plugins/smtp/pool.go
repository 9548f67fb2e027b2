package smtp

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"time"
)

const (
	// maxPerKey bounds the open connections of one configured use.
	maxPerKey = 16
	// maxIdle bounds the kept connections of all uses together.
	maxIdle = 256
	// idleTimeout is how long a connection is kept without use.
	idleTimeout = 30 * time.Second
)

// pool keeps connections by settings. Two uses that differ in any setting, the
// password among them, never share one.
type pool struct {
	idleTimeout time.Duration

	mu      sync.Mutex
	buckets map[[sha256.Size]byte]*bucket
	idle    int
	closed  bool
	goodbye sync.WaitGroup // connections that are being closed by their timer
}

// bucket is what one key has: slots for open connections and the idle ones,
// oldest first.
type bucket struct {
	slots chan struct{}
	idle  []*idleConn
	users int
}

type idleConn struct {
	*conn
	timer *time.Timer
}

// slot is the right to one open connection. leave gives it back.
type slot struct {
	pool   *pool
	key    [sha256.Size]byte
	bucket *bucket
}

func newPool() *pool {
	return &pool{idleTimeout: idleTimeout, buckets: make(map[[sha256.Size]byte]*bucket)}
}

// enter waits for a slot; the error is ctx's.
func (p *pool) enter(ctx context.Context, key [sha256.Size]byte) (*slot, error) {
	p.mu.Lock()
	b := p.buckets[key]
	if b == nil {
		b = &bucket{slots: make(chan struct{}, maxPerKey)}
		p.buckets[key] = b
	}
	b.users++
	p.mu.Unlock()
	free := &slot{pool: p, key: key, bucket: b}
	select {
	case b.slots <- struct{}{}:
		return free, nil
	default:
	}
	select {
	case b.slots <- struct{}{}:
		return free, nil
	case <-ctx.Done():
		p.mu.Lock()
		p.forget(key, b)
		p.mu.Unlock()
		return nil, ctx.Err()
	}
}

// forget takes one user from b and the bucket from the pool when nothing is left
// in it. The caller holds mu.
func (p *pool) forget(key [sha256.Size]byte, b *bucket) {
	b.users--
	if b.users == 0 && len(b.idle) == 0 {
		delete(p.buckets, key)
	}
}

// idle hands over the connection that was used last, or nil.
func (s *slot) idle() *conn {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	last := len(s.bucket.idle) - 1
	if last < 0 {
		return nil
	}
	kept := s.bucket.idle[last]
	s.bucket.idle = s.bucket.idle[:last]
	s.pool.idle--
	s.pool.stop(kept)
	return kept.conn
}

// leave ends the slot and keeps c, which may be nil, for the next one.
func (s *slot) leave(c *conn) {
	p := s.pool
	p.mu.Lock()
	if c != nil && c.usable() && !p.closed && p.idle < maxIdle {
		kept := &idleConn{conn: c}
		p.goodbye.Add(1)
		kept.timer = time.AfterFunc(p.idleTimeout, func() { p.expire(s.key, s.bucket, kept) })
		s.bucket.idle = append(s.bucket.idle, kept)
		p.idle++
		c = nil
	}
	p.forget(s.key, s.bucket)
	p.mu.Unlock()
	<-s.bucket.slots
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
	if b.users == 0 && len(b.idle) == 0 {
		delete(p.buckets, key)
	}
	p.mu.Unlock()
	kept.quit()
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
		if b.users == 0 {
			delete(p.buckets, key)
		}
	}
	p.idle = 0
	p.mu.Unlock()
	for _, c := range all {
		c.drop()
	}
	p.goodbye.Wait()
}
