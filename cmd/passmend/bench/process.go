package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	readyTime = 60 * time.Second // from start to ready
	endTime   = 35 * time.Second // from SIGTERM to the end; serve takes 30 s at most
)

// process is a passmend that this one has started.
type process struct {
	cmd *exec.Cmd
	// Where it listens: http is as it said, unless whoever started it chose both.
	http, admin string

	tail    *tail
	done    chan struct{} // closed when it has ended
	reading sync.WaitGroup
}

// ready is the line that a process logs when it listens.
type ready struct {
	Message string `json:"msg"`
	HTTP    string `json:"http"`
}

// start starts a process and waits until it says that it is ready.
func start(ctx context.Context, path string, env []string, args ...string) (*process, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...) // no context: it ends by stop, gently at first
	cmd.Env, cmd.Stderr, cmd.Dir = env, write, os.TempDir()
	err = cmd.Start()
	_ = write.Close()
	if err != nil {
		return nil, errors.Join(err, read.Close())
	}
	p := &process{cmd: cmd, tail: &tail{}, done: make(chan struct{})}
	said := make(chan ready, 1)
	p.reading.Go(func() { p.listen(read, said) })
	go func() { _ = cmd.Wait(); close(p.done) }()
	timer := time.NewTimer(readyTime)
	defer timer.Stop()
	select {
	case line := <-said:
		p.http = line.HTTP
		return p, nil
	case <-p.done:
		p.reading.Wait()
		return nil, fmt.Errorf("%s ended before it was ready: %s", args[0], p.tail)
	case <-timer.C:
		err = errors.New("not ready in time")
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.kill()
	return nil, fmt.Errorf("start %s: %w", args[0], err)
}

// listen reads what the process logs: as a pipe to a collector would, so that
// the server pays for its log and the disk does not.
func (p *process) listen(read *os.File, said chan<- ready) {
	defer read.Close()
	in := bufio.NewReaderSize(read, 256<<10)
	for {
		line, err := in.ReadBytes('\n')
		_, _ = p.tail.Write(line)
		var r ready
		if json.Unmarshal(line, &r) == nil && r.Message == "ready" {
			said <- r
			break
		}
		if err != nil {
			return
		}
	}
	_, _ = io.Copy(p.tail, in)
}

// stop asks the process to end, and makes it end.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(endTime)
	defer timer.Stop()
	select {
	case <-p.done:
		p.reading.Wait()
	case <-timer.C:
		p.kill()
	}
}

// kill ends the process the hard way.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
	p.reading.Wait()
}

// cpu is the processor time so far of the process and of its children, the plugins.
func (p *process) cpu() (own, plugins time.Duration, err error) {
	if own, err = cpuTime(p.cmd.Process.Pid); err != nil {
		return 0, 0, err
	}
	for _, child := range childrenOf(p.cmd.Process.Pid) {
		took, err := cpuTime(child)
		if err != nil {
			return 0, 0, err
		}
		plugins += took
	}
	return own, plugins, nil
}

// tailSize is how much of a log is kept for an error.
const tailSize = 2 << 10

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(p) >= tailSize {
		t.kept = append(t.kept[:0], p[len(p)-tailSize:]...)
		return len(p), nil
	}
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - tailSize; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.kept))
}
