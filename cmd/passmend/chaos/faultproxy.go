package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Faults is what a Proxy does to what passes, each way; the zero value, nothing.
type Faults struct {
	Latency   time.Duration // before every piece that is passed on
	Jitter    time.Duration // more latency, drawn evenly up to this
	Bandwidth int           // bytes a second; 0: no bound
	SlowClose time.Duration // between the end of one side and the other's
	Reset     bool          // every connection is reset, those that are open too
	BlackHole bool          // nothing passes, and nobody is told
	// CutAfterDot resets a connection when the server has answered the final dot of
	// an SMTP DATA: the mail is taken and its sender does not know.
	CutAfterDot bool
	// HoldAfterDot keeps that answer back instead.
	HoldAfterDot bool
}

// Proxy passes TCP connections on loopback to one target, and spoils them.
type Proxy struct {
	target   string
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	faults  Faults
	changed chan struct{} // closed when faults change
	links   map[*link]struct{}
	closed  bool
}

// NewProxy listens and passes on until Close.
func NewProxy(target string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	p := &Proxy{target: target, listener: listener, changed: make(chan struct{}), links: make(map[*link]struct{})}
	p.running.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens, HOST:PORT.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Set changes the faults, of open connections too.
func (p *Proxy) Set(faults Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = faults
	close(p.changed)
	p.changed = make(chan struct{})
	if faults.Reset {
		for l := range p.links {
			l.reset()
		}
	}
}

// Close ends every connection and waits for its goroutines.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for l := range p.links {
		l.reset()
	}
	p.mu.Unlock()
	p.running.Wait()
	return err
}

func (p *Proxy) now() (Faults, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults, p.changed
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(client.(*net.TCPConn)) })
	}
}

func (p *Proxy) serve(client *net.TCPConn) {
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = client.SetLinger(0)
		_ = client.Close()
		return
	}
	l := &link{proxy: p, client: client, server: server.(*net.TCPConn), gone: make(chan struct{})}
	p.mu.Lock()
	p.links[l] = struct{}{}
	if p.closed || p.faults.Reset {
		l.reset()
	}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { l.pump(l.server, l.client, true) })
	both.Go(func() { l.pump(l.client, l.server, false) })
	both.Wait()
	l.reset()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// link is one connection through the proxy.
type link struct {
	proxy          *Proxy
	client, server *net.TCPConn
	once           sync.Once
	gone           chan struct{} // closed by reset
	mu             sync.Mutex
	dotted         bool // the final dot has passed and its answer has not
}

func (l *link) reset() {
	l.once.Do(func() {
		close(l.gone)
		for _, side := range []*net.TCPConn{l.client, l.server} {
			_ = side.SetLinger(0)
			_ = side.Close()
		}
	})
}

func (l *link) pump(to, from *net.TCPConn, upward bool) {
	piece := make([]byte, 16<<10)
	var last []byte
	for {
		n, err := from.Read(piece)
		if n > 0 {
			if upward {
				last = l.watch(last, piece[:n])
			}
			if !l.hinder(n, upward) {
				return
			}
			if _, err := to.Write(piece[:n]); err != nil {
				l.reset()
				return
			}
		}
		if err != nil {
			l.end(to, err)
			return
		}
	}
}

// end passes the end of one side on.
func (l *link) end(to *net.TCPConn, err error) {
	if !errors.Is(err, io.EOF) {
		l.reset()
		return
	}
	faults, _ := l.proxy.now()
	if l.pause(faults.SlowClose) {
		_ = to.CloseWrite()
	}
}

// watch looks for the end of an SMTP DATA, over pieces.
func (l *link) watch(last, piece []byte) []byte {
	seen := append(last, piece...)
	l.mu.Lock()
	l.dotted = bytes.Contains(seen, []byte("\r\n.\r\n"))
	l.mu.Unlock()
	return bytes.Clone(seen[max(0, len(seen)-4):])
}

// hinder does to a piece what the faults say. False: the connection is gone.
func (l *link) hinder(n int, upward bool) bool {
	faults, changed := l.proxy.now()
	delay := faults.Latency
	if faults.Jitter > 0 {
		delay += rand.N(faults.Jitter) //nolint:gosec // a delay is no secret
	}
	if faults.Bandwidth > 0 {
		delay += time.Duration(n) * time.Second / time.Duration(faults.Bandwidth)
	}
	if !l.pause(delay) {
		return false
	}
	for {
		l.mu.Lock()
		answer := !upward && l.dotted
		l.mu.Unlock()
		if answer && faults.CutAfterDot {
			l.reset()
			return false
		}
		if !faults.BlackHole && !(answer && faults.HoldAfterDot) {
			return true
		}
		select {
		case <-changed:
			faults, changed = l.proxy.now()
		case <-l.gone:
			return false
		}
	}
}

func (l *link) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.gone:
		return false
	}
}
