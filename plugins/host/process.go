package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

// process is one run of a plugin's executable: go-plugin's runner, with what
// go-plugin leaves open done here. It reads standard output and standard error
// itself, without a limit on lines (go-plugin v1.8.0 stops reading at 64 KiB and
// the plugin then blocks for good), lets go-plugin see nothing but a handshake
// that was checked, and kills the whole process group.
type process struct {
	path    string
	spawner *spawner
	lines   *lineLog
	env     []string
	dir     string // for its socket; made by go-plugin, inside ours

	// What go-plugin reads in place of the real streams.
	handshake, noise       *io.PipeReader
	handshakeEnd, noiseEnd *io.PipeWriter

	exited    chan struct{} // closed when the process is gone and its output is read
	connected chan struct{} // closed when connect is done with go-plugin

	mu      sync.Mutex
	cmd     *exec.Cmd
	id      int // 0 unless the process exists
	reaped  bool
	doomed  bool // killed before it existed
	fault   error
	cause   error
	socket  string
	severed bool
	conns   []net.Conn
}

var _ runner.Runner = (*process)(nil)

// outputGrace is how long output is still read after the process ended: a child
// that escaped its group could hold the pipe for ever.
const outputGrace = 100 * time.Millisecond

func newProcess(path string, spawner *spawner, lines *lineLog) *process {
	p := &process{
		path: path, spawner: spawner, lines: lines,
		exited: make(chan struct{}), connected: make(chan struct{}),
	}
	p.handshake, p.handshakeEnd = io.Pipe()
	p.noise, p.noiseEnd = io.Pipe()
	return p
}

func (p *process) prepare(env []string, dir string) { p.env, p.dir = env, dir }

// Start implements runner.Runner.
func (p *process) Start(context.Context) error {
	err := p.start()
	if err != nil {
		p.mu.Lock()
		p.fault = &endError{reasonStart, "cannot be executed: " + startProblem(err)}
		p.mu.Unlock()
		_ = p.handshakeEnd.Close()
		_ = p.noiseEnd.Close()
		close(p.exited)
	}
	return err
}

func (p *process) start() error {
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		_ = outRead.Close()
		_ = outWrite.Close()
		return err
	}
	cmd := exec.Command(p.path)
	cmd.Env = p.env
	cmd.Dir = "/"
	cmd.Stdout = outWrite
	cmd.Stderr = errWrite
	cmd.SysProcAttr = attributes()
	err = p.spawner.start(cmd)
	_ = outWrite.Close()
	_ = errWrite.Close()
	if err != nil {
		_ = outRead.Close()
		_ = errRead.Close()
		return err
	}
	p.mu.Lock()
	p.cmd, p.id = cmd, cmd.Process.Pid
	doomed := p.doomed
	p.mu.Unlock()
	if doomed {
		p.kill()
	}

	var reading sync.WaitGroup
	reading.Go(func() { p.readOutput(outRead) })
	reading.Go(func() {
		w := p.lines.writer("stderr")
		_, _ = io.Copy(w, errRead) // ends with the process
		w.flush()
	})
	go p.reap(cmd, &reading, outRead, errRead)
	return nil
}

// reap waits for the end of the process and closes what belonged to it.
func (p *process) reap(cmd *exec.Cmd, reading *sync.WaitGroup, streams ...*os.File) {
	// While the process is a zombie its number is still taken, and the group can
	// be killed without hitting a stranger's.
	if awaitExit(cmd.Process.Pid) {
		p.kill()
	}
	err := cmd.Wait()
	read := make(chan struct{})
	go func() {
		defer close(read)
		reading.Wait()
	}()
	select {
	case <-read:
	case <-time.After(outputGrace):
	}
	for _, stream := range streams {
		_ = stream.Close()
	}
	<-read
	_ = p.handshakeEnd.Close()
	_ = p.noiseEnd.Close()
	p.mu.Lock()
	p.reaped = true
	p.id = 0
	p.cause = &endError{reasonExit, exitText(cmd.ProcessState, err)}
	p.mu.Unlock()
	p.sever()
	close(p.exited)
}

func exitText(state *os.ProcessState, err error) string {
	if state == nil {
		return "ended: " + startProblem(err)
	}
	// "exit status 3", "signal: killed"
	return "ended (" + state.String() + ")"
}

// readOutput checks the first line, hands it to go-plugin, and logs the rest.
func (p *process) readOutput(stream io.Reader) {
	w := p.lines.writer("stdout")
	defer w.flush()
	buffered := bufio.NewReaderSize(stream, 4096)
	line, err := readHandshake(buffered)
	if err == nil {
		var socket string
		if socket, err = checkHandshake(line, p.dir); err == nil {
			p.mu.Lock()
			p.socket = socket
			p.mu.Unlock()
			_, _ = io.WriteString(p.handshakeEnd, line+"\n") // fails when go-plugin gave up
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		p.mu.Lock()
		p.fault = err
		p.mu.Unlock()
		_ = p.handshakeEnd.Close()
		p.kill()
	}
	_, _ = io.Copy(w, buffered) // ends with the process
}

// kill ends the process and everything in its group, as long as its number is its
// own; one that does not exist yet ends as soon as it does.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doomed = true
	if p.id != 0 && !p.reaped {
		killGroup(p.id)
	}
}

// wait returns when the process is gone. One that never came to exist is gone.
func (p *process) wait() {
	p.mu.Lock()
	began := p.cmd != nil
	p.mu.Unlock()
	if began {
		<-p.exited
	}
}

// dial connects to the socket whose path was checked, and to nothing else.
func (p *process) dial(ctx context.Context) (net.Conn, error) {
	p.mu.Lock()
	socket, severed := p.socket, p.severed
	p.mu.Unlock()
	if severed || socket == "" {
		return nil, net.ErrClosed
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.severed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	p.conns = append(p.conns, conn)
	return conn, nil
}

// sever cuts the connection and allows no other.
func (p *process) sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.severed = true
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	p.conns = nil
}

func (p *process) setConnected() { close(p.connected) }

func (p *process) faultError() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault
}

// end is how the process ended, once exited is closed.
func (p *process) end() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cause
}

func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.id
}

// Wait implements runner.Runner. go-plugin cancels its context after it, and
// forgets a connection that it is making at that moment, so the end is told only
// when connecting is over.
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

// Stdout and Stderr implement runner.Runner: the checked handshake, and nothing.
func (p *process) Stdout() io.ReadCloser { return p.handshake }
func (p *process) Stderr() io.ReadCloser { return p.noise }

// Name, ID and Diagnose implement runner.Runner.
func (p *process) Name() string                    { return p.path }
func (p *process) ID() string                      { return strconv.Itoa(p.pid()) }
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.Runner: only the address that was checked.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if network != "unix" || address != p.socket || address == "" {
		return "", "", fmt.Errorf("address of the plugin: not the socket of its handshake")
	}
	return network, address, nil
}

// HostToPlugin implements runner.Runner.
func (*process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
