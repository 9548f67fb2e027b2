package sdktest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/serve"
	"github.com/passmend/passmend/plugins/sdk/serve/launch"
)

var processCases = []Case{
	{"Run by hand it says what it is and exits with status 1", process, runByHand},
	{"Without the host's certificate nothing is served", process, noCertificate},
	{"A stranger without the host's certificate is not answered", process, strangers},
	{"A host of the newest version is answered", process, newestVersion},
	{"A host of a newer version is answered in one of ours", process, newerHost},
	{"A host of the version before is answered, or refused at once", process, olderHost},
	{"Nothing is printed while it starts and stops", process, quietStart},
	{"It ends within 2 s of being asked to", process, endsWhenAsked},
	{"It has no connection open before the first call", process, noConnection},
	{"kill -9 in mid-send ends the call as unknown", process, killed},
	{"After kill -9 the same call is made again by a new process", process, killedAndAgain},
	{"Two processes work side by side", process, twoProcesses},
	{"It stays within the memory that it asks for", process, memory},
}

// other starts another process of the executable; the case ends it.
func (r *run) other(versions ...int) (*launch.Process, error) {
	ctx, cancel := context.WithTimeout(context.Background(), launch.StartTimeout)
	defer cancel()
	return launch.Start(ctx, launch.Config{Path: r.Path, Versions: versions})
}

// keep takes what an ended process printed, for the cases on silence.
func (r *run) keep(p *launch.Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.printed = append(r.printed, p.Output())
}

// byHand runs the executable without a host.
func (r *run) byHand(environment ...string) (state *os.ProcessState, stdout, stderr string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	path, err := filepath.Abs(r.Path)
	if err != nil {
		r.fatalf("%v", err)
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin"}, environment...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = 100 * time.Millisecond
	_ = cmd.Run() // how it ended is in its state
	if ctx.Err() != nil {
		r.fatalf("it is still running after 5 s")
	}
	return cmd.ProcessState, out.String(), errs.String()
}

func runByHand(r *run) {
	state, stdout, stderr := r.byHand()
	if state.ExitCode() != 1 {
		r.errorf("%s, want exit status 1", state)
	}
	if stdout != "" {
		r.errorf("it wrote to standard output, where the handshake belongs")
	}
	if strings.TrimSpace(stderr) == "" {
		r.errorf("it did not say on standard error what it is")
	}
}

func noCertificate(r *run) {
	dir, err := os.MkdirTemp("", "pm-")
	if err != nil {
		r.fatalf("%v", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	state, stdout, _ := r.byHand(serve.CookieKey+"="+serve.CookieValue, "PLUGIN_PROTOCOL_VERSIONS=1,2", "PLUGIN_UNIX_SOCKET_DIR="+dir)
	if state.ExitCode() == 0 || stdout != "" {
		r.errorf("%s, %d bytes on standard output, want a refusal", state, len(stdout))
	}
}

// strangers says hello in HTTP/2 in every way that is not the host's, and must not
// hear HTTP/2 in return.
func strangers(r *run) {
	// The server's name and certificate are not looked at: this is about what the
	// process asks of whoever connects.
	naked := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}
	other := naked.Clone()
	certificate, err := strangersCertificate()
	if err != nil {
		r.fatalf("the kit's certificate: %v", err)
	}
	other.Certificates = []tls.Certificate{certificate}
	for way, config := range map[string]*tls.Config{"without TLS": nil, "without a certificate": naked, "with another certificate": other} {
		conn, err := net.DialTimeout("unix", r.process.Socket(), time.Second)
		if err != nil {
			r.fatalf("%v", err)
		}
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		if config != nil {
			conn = tls.Client(conn, config)
		}
		_, _ = conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
		answer := make([]byte, 9)
		n, _ := io.ReadFull(conn, answer)
		_ = conn.Close()
		// A server of HTTP/2 begins with a frame of settings (RFC 9113, 3.4).
		if n == len(answer) && answer[3] == 0x4 {
			r.errorf("%s: it answered", way)
		}
	}
}

func strangersCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func newestVersion(r *run) {
	if got := r.process.Version(); got != serve.ProtocolVersion && got != serve.PreviousProtocolVersion {
		r.errorf("it chose version %d", got)
	}
}

// answers starts a process for a host of these versions and asks it who it is.
func (r *run) answers(versions ...int) (version int, err error) {
	p, err := r.other(versions...)
	if err != nil {
		return 0, err
	}
	defer func() { _ = p.Kill() }()
	ctx, cancel := r.context()
	defer cancel()
	_, err = p.Describe(ctx)
	return p.Version(), err
}

func newerHost(r *run) {
	version, err := r.answers(serve.PreviousProtocolVersion, serve.ProtocolVersion, serve.ProtocolVersion+7)
	if err != nil {
		r.fatalf("%v", err)
	}
	if version > serve.ProtocolVersion {
		r.errorf("it chose version %d, which does not exist", version)
	}
}

func olderHost(r *run) {
	began := time.Now()
	version, err := r.answers(serve.PreviousProtocolVersion)
	if err == nil && version != serve.PreviousProtocolVersion {
		r.errorf("it chose version %d, which was not offered", version)
	}
	if took := time.Since(began); took >= launch.StartTimeout {
		r.errorf("neither answered nor refused within %s", launch.StartTimeout)
	}
}

func quietStart(r *run) {
	p, err := r.other()
	if err != nil {
		r.fatalf("%v", err)
	}
	time.Sleep(listening)
	_ = p.Stop() // endsWhenAsked is about how
	if printed := strings.TrimSpace(p.Output()); printed != "" {
		r.errorf("it printed %q", shown(printed))
	}
}

func endsWhenAsked(r *run) {
	p, err := r.other()
	if err != nil {
		r.fatalf("%v", err)
	}
	if err := p.Stop(); err != nil {
		r.errorf("%v", err)
	}
}

// noConnection looks at a process that has answered Describe and Health alone.
func noConnection(r *run) {
	p, err := r.other()
	if err != nil {
		r.fatalf("%v", err)
	}
	defer func() { _ = p.Kill() }()
	ctx, cancel := r.context()
	defer cancel()
	_, describing := p.Describe(ctx)
	if err := errors.Join(describing, p.Health(ctx)); err != nil {
		r.fatalf("%v", err)
	}
	open, err := networkSockets(p.PID())
	if err != nil {
		r.skipf("it cannot be told here: %v", err)
	}
	if open > 0 {
		r.errorf("%d network sockets", open)
	}
}

// killMidSend ends a process of the executable while a Send is on its way.
func (r *run) killMidSend() (over bool, err error) {
	request := r.stalledRequest()
	p, err := r.other()
	if err != nil {
		r.fatalf("%v", err)
	}
	ctx, cancel := r.context()
	defer cancel()
	timer := time.AfterFunc(300*time.Millisecond, func() { _ = p.Kill() })
	defer func() {
		timer.Stop()
		_ = p.Kill()
		r.keep(p)
	}()
	return ended(ctx, patience, func(ctx context.Context) error {
		_, err := p.Send(ctx, request)
		return err
	})
}

func killed(r *run) {
	over, err := r.killMidSend()
	if !over {
		r.errorf("the call is still running %s after it began", patience)
		return
	}
	if err == nil || sdk.FailureOf(err).Kind != sdk.Unknown {
		r.errorf("the call ended as %v, want %s", err, sdk.Unknown)
	}
}

// killedAndAgain looks for what a dead process leaves behind: a lock, a half
// message, a second one under another name.
func killedAndAgain(r *run) {
	request, count := r.deliverable("again")
	_, _ = r.killMidSend()
	p, err := r.other()
	if err != nil {
		r.fatalf("a new process: %v", err)
	}
	defer func() {
		_ = p.Kill()
		r.keep(p)
	}()
	ctx, cancel := r.context()
	defer cancel()
	if _, err := p.Send(ctx, request); err != nil {
		r.fatalf("Send: %s", tell(err))
	}
	if n := eventually(1, count); n != 1 {
		r.errorf("%d messages arrived, want 1", n)
	}
}

func twoProcesses(r *run) {
	p, err := r.other()
	if err != nil {
		r.fatalf("%v", err)
	}
	defer func() {
		_ = p.Kill()
		r.keep(p)
	}()
	first, second := make([]func() int, 4), make([]func() int, 4)
	ctx, cancel := r.context()
	defer cancel()
	for i := range first {
		var request sdk.SendRequest
		request, first[i] = r.deliverable("first")
		if _, err := r.trySend(ctx, request); err != nil {
			r.errorf("the first process: %s", tell(err))
		}
		request, second[i] = r.deliverable("second")
		if _, err := p.Send(ctx, request); err != nil {
			r.errorf("the second process: %s", tell(err))
		}
	}
	for _, count := range slices.Concat(first, second) {
		if n := eventually(1, count); n != 1 {
			r.errorf("a message arrived %d times", n)
		}
	}
}

func memory(r *run) {
	limit := r.describe().Permissions.MemoryBytes
	if limit == 0 {
		limit = 256 << 20
	}
	peak, err := peakMemory(r.process.PID())
	if err != nil {
		r.skipf("it cannot be told here: %v", err)
	}
	if peak > limit {
		r.errorf("it took %d MiB, and asks for %d", peak>>20, limit>>20)
	}
}
