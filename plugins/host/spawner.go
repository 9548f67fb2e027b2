package host

import (
	"errors"
	"io/fs"
	"os/exec"
	"runtime"
	"syscall"
)

// spawner starts processes from one goroutine that holds one OS thread from its
// first to its last moment: the parent-death signal follows the thread, not the
// process, and would end a plugin when the runtime lets go of any other thread.
type spawner struct {
	requests chan spawn
	done     chan struct{}
}

type spawn struct {
	cmd    *exec.Cmd
	result chan error
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan spawn), done: make(chan struct{})}
	go s.run()
	return s
}

func (s *spawner) run() {
	defer close(s.done)
	// Never unlocked: the runtime then ends the thread with the goroutine, and
	// with it whatever is left of its children.
	runtime.LockOSThread()
	for request := range s.requests {
		request.result <- request.cmd.Start()
	}
}

// start starts cmd. It must not be called after stop.
func (s *spawner) start(cmd *exec.Cmd) error {
	request := spawn{cmd: cmd, result: make(chan error, 1)}
	s.requests <- request
	return <-request.result
}

func (s *spawner) stop() {
	close(s.requests)
	<-s.done
}

// killGroup ends every process in the group; one that is gone already is fine.
func killGroup(id int) { _ = syscall.Kill(-id, syscall.SIGKILL) }

// startProblem is err without the path around it.
func startProblem(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	if err == nil {
		return "no reason given"
	}
	return err.Error()
}
