package chaos

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// server is a 'passmend serve' that is started again when it ends by itself, as
// a service manager does, and stays down when it was killed, until up.
type server struct {
	site  *site
	base  string
	admin string
	env   []string
	out   syncBuffer

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
	down bool          // by us: nobody starts it again but up

	ends       atomic.Int32 // ends that were not ours
	supervised sync.WaitGroup
}

// serve starts a server and waits until it is ready.
func (s *site) serve() *server {
	s.t.Helper()
	http, admin := freePort(s.t), freePort(s.t)
	srv := &server{
		site: s, base: "http://" + http, admin: "http://" + admin,
		env: append(slices.Concat(s.env, s.through), "PASSMEND_HTTP_ADDR="+http, "PASSMEND_ADMIN_ADDR="+admin),
	}
	s.t.Cleanup(func() {
		srv.kill()
		srv.supervised.Wait()
		if s.t.Failed() {
			s.t.Logf("last output of the server:\n%s", tail(srv.out.String(), 15))
		}
	})
	srv.up()
	srv.ready()
	return srv
}

// up starts the process.
func (srv *server) up() {
	srv.site.t.Helper()
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.down = false
	if err := srv.start(); err != nil {
		srv.site.t.Fatal(err)
	}
}

func (srv *server) start() error {
	cmd := exec.Command(srv.site.executive, "serve")
	cmd.Dir, cmd.Env = srv.site.dir, srv.env
	cmd.Stdout, cmd.Stderr = &srv.out, &srv.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	srv.cmd, srv.done = cmd, done
	srv.supervised.Go(func() {
		_ = cmd.Wait()
		srv.mu.Lock()
		ours := srv.down // read before anybody who waits for done can start another
		srv.mu.Unlock()
		close(done)
		if !ours {
			srv.revive(cmd)
		}
	})
	return nil
}

// revive starts the process again that ended by itself, unless that was done.
func (srv *server) revive(ended *exec.Cmd) {
	srv.ends.Add(1)
	time.Sleep(100 * time.Millisecond)
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if !srv.down && srv.cmd == ended {
		_ = srv.start()
	}
}

func (srv *server) pid() int {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.cmd.Process.Pid
}

// kill ends the process the hard way, and those named with it. It stands still
// first, or it would live to see and note that the others are gone.
func (srv *server) kill(others ...int) {
	srv.mu.Lock()
	srv.down = true
	cmd, done := srv.cmd, srv.done
	srv.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Signal(syscall.SIGSTOP)
	}
	for _, pid := range others {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if cmd != nil {
		_ = cmd.Process.Kill()
		<-done
	}
}

// stop asks the process to end, and gives how it did and how long it took.
func (srv *server) stop() (status int, took time.Duration) {
	srv.site.t.Helper()
	srv.mu.Lock()
	srv.down = true
	cmd, done := srv.cmd, srv.done
	srv.mu.Unlock()
	begun := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		srv.site.t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		srv.site.t.Fatal("the server did not end within 30 s of SIGTERM")
	}
	return cmd.ProcessState.ExitCode(), time.Since(begun)
}

func (srv *server) ready() {
	srv.site.t.Helper()
	eventually(srv.site.t, 30*time.Second, "the server is ready", func() bool {
		status, _ := fetch(srv.base + "/v1/ping")
		return status == http.StatusOK
	})
}

// fetch gives the status 0 when there is no answer.
func fetch(address string) (status int, body string) {
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(address)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, ""
	}
	return response.StatusCode, string(content)
}

// children lists the processes that a process has started and that still run.
func children(pid int) (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		content, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		// The name stands in brackets and may hold anything: what follows is counted.
		_, after, _ := strings.Cut(string(content[bytes.LastIndexByte(content, ')')+1:]), " ")
		fields := strings.Fields(after)
		if len(fields) > 1 && fields[0] != "Z" && fields[1] == strconv.Itoa(pid) {
			if child, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// freePort gives an address below the range that the kernel takes the ports of
// outgoing connections from: one of those must not take it while a server is down.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := "127.0.0.1:" + strconv.Itoa(15_000+rand.IntN(15_000))
		l, err := net.Listen("tcp", address)
		if err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// syncBuffer takes the output of processes while a test reads it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
