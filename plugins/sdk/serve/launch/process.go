package launch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

const (
	maxHandshake = 16 << 10 // bytes of the first line
	maxOutput    = 8 << 20  // bytes that are kept
	// searchPath and memoryLimit are what the host gives a plugin.
	searchPath  = "/usr/local/bin:/usr/bin:/bin"
	memoryLimit = 230 << 20
	// outputGrace is how long output is read after the end: a child may hold the
	// pipe.
	outputGrace = 100 * time.Millisecond
)

// process is go-plugin's runner: it keeps all output, without a limit on lines,
// and shows go-plugin the handshake and nothing else.
type process struct {
	path   string
	env    []string
	dir    string // for its socket
	output *output

	handshake    *io.PipeReader
	handshakeEnd *io.PipeWriter
	exited       chan struct{}
	connected    chan struct{} // closed when connecting is over

	mu     sync.Mutex
	cmd    *exec.Cmd
	socket string
	broken error
}

var _ runner.Runner = (*process)(nil)

func newProcess(path string) *process {
	p := &process{path: path, output: &output{}, exited: make(chan struct{}), connected: make(chan struct{})}
	p.handshake, p.handshakeEnd = io.Pipe()
	return p
}

// Start implements runner.Runner.
func (p *process) Start(context.Context) error {
	cmd := exec.Command(p.path)
	cmd.Env = append([]string{"PATH=" + searchPath, "GOMEMLIMIT=" + strconv.Itoa(memoryLimit)}, p.env...)
	cmd.Dir = "/"
	cmd.Stdout = &firstLine{process: p}
	cmd.Stderr = p.output
	cmd.WaitDelay = outputGrace
	if err := cmd.Start(); err != nil {
		p.fail(fmt.Errorf("cannot be executed: %w", err))
		_ = p.handshakeEnd.Close()
		return err
	}
	p.mu.Lock()
	p.cmd = cmd
	p.mu.Unlock()
	go func() {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
		p.mu.Lock()
		if p.socket == "" && p.broken == nil {
			p.broken = fmt.Errorf("the process ended (%s) before its handshake", cmd.ProcessState)
		}
		p.mu.Unlock()
		_ = p.handshakeEnd.Close()
		close(p.exited)
	}()
	return nil
}

// accept checks the handshake as the host does, to say what is wrong with it.
func (p *process) accept(line string) error {
	parts := bytes.Split([]byte(line), []byte("|"))
	if len(parts) < 6 || string(parts[0]) != "1" {
		return errors.New("handshake: the first line on standard output is not 1|VERSION|unix|SOCKET|grpc|CERTIFICATE")
	}
	socket := string(parts[3])
	switch {
	case string(parts[2]) != "unix" || filepath.Dir(socket) != p.dir || filepath.Clean(socket) != socket:
		return errors.New("handshake: the address is not a unix socket in the directory of PLUGIN_UNIX_SOCKET_DIR")
	case string(parts[4]) != "grpc" || len(parts[5]) < 50:
		return errors.New("handshake: the process does not speak gRPC with a certificate of its own")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.socket = socket
	return nil
}

func (p *process) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken == nil {
		p.broken = err
	}
}

func (p *process) fault() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broken
}

func (p *process) dial(ctx context.Context) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, "unix", p.address())
}

func (p *process) address() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.socket
}

func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Kill() // one that is gone already is fine
	}
	_ = p.handshake.Close()
}

func (p *process) wait() {
	if p.pid() != 0 {
		<-p.exited
	}
}

// Wait implements runner.Runner. go-plugin forgets a connection that it is making
// when the end is told, so that waits until connecting is over (v1.8.0).
func (p *process) Wait(context.Context) error {
	<-p.exited
	<-p.connected
	return nil
}

// Kill implements runner.Runner.
func (p *process) Kill(context.Context) error {
	p.kill()
	return nil
}

// Stdout and Stderr implement runner.Runner: the handshake, and nothing.
func (p *process) Stdout() io.ReadCloser { return p.handshake }
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(bytes.NewReader(nil)) }

// Name, ID and Diagnose implement runner.Runner.
func (p *process) Name() string                    { return p.path }
func (p *process) ID() string                      { return strconv.Itoa(p.pid()) }
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost and HostToPlugin implement runner.Runner: addresses stay.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin implements runner.Runner.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// firstLine hands the first line to go-plugin and keeps the rest as output.
type firstLine struct {
	process *process
	line    []byte
	over    bool
}

func (f *firstLine) Write(part []byte) (int, error) {
	if f.over {
		return f.process.output.Write(part)
	}
	line, rest, ended := bytes.Cut(part, []byte{'\n'})
	f.line = append(f.line, line...)
	if !ended && len(f.line) <= maxHandshake {
		return len(part), nil
	}
	f.over = true
	err := f.process.accept(string(bytes.TrimRight(f.line, "\r")))
	if len(f.line) > maxHandshake {
		err = errors.New("handshake: the first line on standard output is longer than 16 KiB")
	}
	if err != nil {
		f.process.fail(err)
		f.process.kill()
		return len(part), nil
	}
	_, _ = f.process.handshakeEnd.Write(append(f.line, '\n')) // fails when go-plugin gave up
	_, _ = f.process.output.Write(rest)
	return len(part), nil
}

// output keeps the beginning of what is written to it.
type output struct {
	mu   sync.Mutex
	kept bytes.Buffer
}

func (o *output) Write(part []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, _ = o.kept.Write(part[:min(len(part), maxOutput-o.kept.Len())])
	return len(part), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.kept.String()
}
