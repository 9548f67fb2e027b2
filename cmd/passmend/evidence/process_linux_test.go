package evidence

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// processes watches command lines and environments of a process and all below it,
// while they run. What the kernel does not let us read is left out.
type processes struct {
	mu   sync.Mutex
	seen map[string]bool
	stop chan struct{}
	done sync.WaitGroup
}

// watchProcesses watches those that this test starts.
func watchProcesses(t *testing.T) *processes {
	t.Helper()
	p := &processes{seen: make(map[string]bool), stop: make(chan struct{})}
	p.done.Go(func() {
		for {
			p.look()
			select {
			case <-p.stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	t.Cleanup(func() { p.text() })
	return p
}

func (p *processes) look() {
	parents := make(map[int]int)
	directories, _ := filepath.Glob("/proc/[0-9]*")
	for _, directory := range directories {
		pid, _ := strconv.Atoi(filepath.Base(directory))
		status, err := os.ReadFile(directory + "/stat")
		if err != nil {
			continue
		}
		// After the name, which is in brackets and may hold anything: state, parent.
		var state string
		var parent int
		_, rest, _ := strings.Cut(string(status[strings.LastIndexByte(string(status), ')'):]), " ")
		if _, err := fmt.Sscan(rest, &state, &parent); err == nil {
			parents[pid] = parent
		}
	}
	for pid := range parents {
		for above := parents[pid]; above != 0; above = parents[above] {
			if above == os.Getpid() {
				p.read(pid)
				break
			}
		}
	}
}

func (p *processes) read(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, what := range []string{"cmdline", "environ"} {
		if content, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, what)); err == nil {
			p.seen[what+" "+strings.ReplaceAll(string(content), "\x00", "\n")] = true
		}
	}
}

// text ends the watch and gives what was seen.
func (p *processes) text() string {
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
	p.done.Wait()
	var all strings.Builder
	for seen := range p.seen {
		all.WriteString(seen + "\n")
	}
	return all.String()
}

// leakIntoProcesses runs a process that has the value among its arguments and one
// that has it in its environment, for long enough to be seen.
func leakIntoProcesses(t *testing.T, value string) {
	t.Helper()
	for _, command := range []*exec.Cmd{exec.Command("sh", "-c", "sleep 0.5; :", value), exec.Command("sh", "-c", "sleep 0.5; :")} {
		command.Env = []string{"PATH=" + os.Getenv("PATH")}
		if len(command.Args) == 3 {
			command.Env = append(command.Env, "LEAK="+value)
		}
		if err := command.Run(); err != nil {
			t.Fatal(err)
		}
	}
}
