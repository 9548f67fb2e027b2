package host

import (
	"bufio"
	"context"
	"encoding/json"
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
	path    string // where the plugin was found: its name for itself
	binary  *binary
	cage    *cageSpec // nil: none
	helper  string
	spawner *spawner
	lines   *lineLog
	env     []string
	dir     string // for its socket; made by go-plugin, inside ours

	// What go-plugin reads in place of the real streams.
	handshake, noise       *io.PipeReader
	handshakeEnd, noiseEnd *io.PipeWriter

	exited    chan struct{} // closed when the process is gone and its output is read
	connected chan struct{} // closed when connect is done with go-plugin
	reported  chan struct{} // closed when the cage helper has become the plugin, or has not

	mu      sync.Mutex
	cmd     *exec.Cmd
	id      int // 0 unless the process exists
	reaped  bool
	doomed  bool // killed before it existed
	fault   error
	cause   error
	layers  []Layer // complete once reported is closed
	socket  string
	severed bool
	conns   []net.Conn
}

var _ runner.Runner = (*process)(nil)

// outputGrace is how long output is still read after the process ended: a child
// that escaped its group could hold the pipe for ever.
const outputGrace = 100 * time.Millisecond

func newProcess(path string, binary *binary, spawner *spawner, lines *lineLog) *process {
	p := &process{
		path: path, binary: binary, spawner: spawner, lines: lines,
		exited: make(chan struct{}), connected: make(chan struct{}), reported: make(chan struct{}),
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
		close(p.reported)
		close(p.exited)
	}
	return err
}

func (p *process) start() error {
	var pipes pipes
	defer pipes.closeWriters()
	outRead, outWrite := pipes.open()
	errRead, errWrite := pipes.open()
	reportRead, reportWrite := pipes.open()
	if pipes.err != nil {
		pipes.closeReaders()
		return pipes.err
	}
	cmd, err := p.command(reportWrite)
	if err == nil {
		cmd.Env = p.env
		cmd.Dir = "/"
		cmd.Stdout = outWrite
		cmd.Stderr = errWrite
		cmd.SysProcAttr = attributes()
		err = p.spawner.start(cmd)
	}
	if err != nil {
		pipes.closeReaders()
		return err
	}
	pipes.closeWriters()
	p.mu.Lock()
	p.cmd, p.id = cmd, cmd.Process.Pid
	doomed := p.doomed
	p.mu.Unlock()
	if doomed {
		p.kill()
	}

	var reading sync.WaitGroup
	reading.Go(func() { p.readOutput(outRead) })
	reading.Go(func() { p.readReport(reportRead) })
	reading.Go(func() {
		w := p.lines.writer("stderr")
		_, _ = io.Copy(w, errRead) // ends with the process
		w.flush()
	})
	go p.reap(cmd, &reading, outRead, errRead, reportRead)
	return nil
}

// pipes are the streams from a process to the host.
type pipes struct {
	readers, writers []*os.File
	err              error
}

func (p *pipes) open() (reader, writer *os.File) {
	if p.err != nil {
		return nil, nil
	}
	reader, writer, p.err = os.Pipe()
	if p.err == nil {
		p.readers, p.writers = append(p.readers, reader), append(p.writers, writer)
	}
	return reader, writer
}

func (p *pipes) closeReaders() { closeAll(p.readers) }

func (p *pipes) closeWriters() {
	closeAll(p.writers)
	p.writers = nil
}

func closeAll(files []*os.File) {
	for _, file := range files {
		_ = file.Close()
	}
}

// command executes the sealed copy: through the helper, which finds it and the
// pipe for its report at fixed numbers, or directly.
func (p *process) command(report *os.File) (*exec.Cmd, error) {
	if p.cage == nil {
		cmd := p.binary.command()
		cmd.Args = []string{p.path}
		return cmd, nil
	}
	spec := *p.cage
	spec.Sockets = p.dir
	argument, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(p.helper)
	cmd.Args = []string{helperName, string(argument)}
	cmd.ExtraFiles = []*os.File{p.binary.file, report} // sealedFD, reportFD
	return cmd, nil
}

// maxReport bounds what is read of a report, in bytes.
const maxReport = 64 << 10

// readReport takes what the helper says of its layers, until it is the plugin: the
// pipe closes as it becomes it.
func (p *process) readReport(stream io.Reader) {
	defer close(p.reported)
	decoder := json.NewDecoder(io.LimitReader(stream, maxReport))
	for {
		var report cageReport
		if decoder.Decode(&report) != nil {
			return
		}
		p.mu.Lock()
		p.layers = append(p.layers, report.Layers...)
		if err := report.err(); err != nil && p.fault == nil {
			p.fault = err
		}
		p.mu.Unlock()
	}
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
	closeAll(streams)
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
