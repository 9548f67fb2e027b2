package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/passmend/passmend/cmd/passmend/mailbox"
	"github.com/passmend/passmend/core/sqlstore/pgtest"
)

// binaries is where TestMain builds passmend and its plugins, as make does.
var binaries string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "passmend-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", dir+"/", "../passmend", "../passmend-smtp", "../passmend-postmark", "../passmend-webhook")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	binaries = dir
	return pgtest.Main(m)
}

// site is a deployment of its own: a data directory, a mailbox in this process,
// and the real command.
type site struct {
	t       *testing.T
	dir     string
	base    string
	env     []string
	mailbox *mailbox.Mailbox
}

// limitsOff are the edge's limits, off, for tests that ask more than a person does.
var limitsOff = []string{"PASSMEND_LIMIT_RSTPWD=off", "PASSMEND_LIMIT_MUTPWD=off", "PASSMEND_LIMIT_AUTH=off", "PASSMEND_LIMIT_IP=off",
	"PASSMEND_LIMIT_IP_DAY=off", "PASSMEND_LIMIT_ACCOUNT=off", "PASSMEND_LIMIT_BAD_TOKEN=off", "PASSMEND_LIMIT_BAD_CALLBACK=off", "PASSMEND_LIMIT_PROBE=off",
	"PASSMEND_LIMIT_RECIPIENT=off", "PASSMEND_LIMIT_RECIPIENT_ALL=off", "PASSMEND_LIMIT_COALESCE=off"}

// newSite makes keys, a provider that leads to the mailbox, account acme and user
// ada with the password "an old one, forgotten".
func newSite(t *testing.T, env ...string) *site {
	t.Helper()
	box, err := mailbox.New(mailbox.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Stop(context.WithoutCancel(t.Context())) })
	host, port, err := net.SplitHostPort(box.Addr())
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, dir: t.TempDir(), mailbox: box}
	http, admin := freePort(t), freePort(t)
	s.base = "http://" + http
	s.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "TMPDIR=" + os.TempDir(),
		"PASSMEND_DATA_DIR=" + filepath.Join(s.dir, "data"),
		"PASSMEND_HTTP_ADDR=" + http, "PASSMEND_ADMIN_ADDR=" + admin,
		"PASSMEND_BASE_URL=" + s.base, "PASSMEND_DRAIN_DELAY=0s",
	}, env...)
	s.openPort("smtp", port)
	s.must("keys", "init")
	s.eventually("the provider is added", func() bool { // on a busy machine a plugin may not be up in time
		code, _, stderr := s.try(nil, "provider", "add", "relay", "--plugin", "smtp", "--set", "host="+host, "--set", "port="+port, "--set", "tls=none")
		if code != 0 && !strings.Contains(stderr, "has not been up") && !strings.Contains(stderr, "still starting") {
			t.Fatalf("provider add: exit %d: %s", code, stderr)
		}
		return code == 0
	})
	s.must("account", "create", "acme", "--name", "Acme Works", "--product-name", "Acme", "--accent", "#7a1fa2",
		"--from-name", "Acme Support", "--from-address", "no-reply@acme.example", "--support-address", "help@acme.example")
	s.createUser("acme", "ada@example.com", "an old one, forgotten")
	return s
}

// openPort opens a port of a plugin's cage besides those that are open.
func (s *site) openPort(plugin, port string) {
	const name = "PASSMEND_PLUGIN_PORTS="
	open := plugin + ":" + port
	i := slices.IndexFunc(s.env, func(v string) bool { return strings.HasPrefix(v, name) })
	if i < 0 {
		s.env = append(s.env, name+open)
		return
	}
	s.env[i] += "," + open
}

func (s *site) createUser(account, address, password string) {
	s.t.Helper()
	s.run(strings.NewReader(password), "user", "create", address, "--account", account, "--first-name", "Ada", "--password", "@-")
}

// nextPort counts up from a place of this process's own, below the ports that
// systems give to clients, so that nobody takes a port between choosing and using.
var nextPort atomic.Int32

func freePort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		port := 20000 + (os.Getpid()*64+int(nextPort.Add(1)))%12000
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		addr := l.Addr().String()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return addr
	}
	t.Fatal("no port is free")
	return ""
}

// must runs the command and gives what it printed; it has to succeed.
func (s *site) must(args ...string) string {
	s.t.Helper()
	return s.run(nil, args...)
}

func (s *site) run(stdin io.Reader, args ...string) string {
	s.t.Helper()
	code, stdout, stderr := s.try(stdin, args...)
	if code != 0 {
		s.t.Fatalf("passmend %s: exit %d: %s", strings.Join(args, " "), code, stderr)
	}
	return strings.TrimSpace(stdout)
}

// try runs the command and gives its exit status and both outputs.
func (s *site) try(stdin io.Reader, args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(binaries, "passmend"), args...)
	cmd.Dir, cmd.Env, cmd.Stdin = s.dir, s.env, stdin
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("passmend %s: %v", strings.Join(args, " "), err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// server is a running 'passmend serve' or 'passmend dev'.
type server struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  *syncBuffer // both outputs
	done chan struct{}
}

// serve starts the service and waits until it is ready.
func (s *site) serve(args ...string) *server {
	s.t.Helper()
	if len(args) == 0 {
		args = []string{"serve"}
	}
	cmd := exec.Command(filepath.Join(binaries, "passmend"), args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	srv := &server{t: s.t, cmd: cmd, out: &syncBuffer{}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = srv.out, srv.out
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { _ = cmd.Wait(); close(srv.done) }()
	s.t.Cleanup(func() {
		srv.kill()
		if s.t.Failed() {
			s.t.Logf("output of the service:\n%s", srv.out)
		}
	})
	s.eventually("the service is ready", func() bool {
		select {
		case <-srv.done:
			s.t.Fatalf("the service ended: %s", srv.out)
		default:
		}
		response, err := http.Get(s.base + "/v1/ping")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return srv
}

// kill ends the service the hard way.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// stop asks the service to end and gives its exit status.
func (s *server) stop() int {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-s.done:
	case <-time.After(30 * time.Second):
		s.t.Fatal("the service did not end within 30 s")
	}
	return s.cmd.ProcessState.ExitCode()
}

func (s *site) eventually(what string, holds func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			s.t.Fatalf("it did not come to pass within a minute: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// answer is a response, whole.
type answer struct {
	status int
	header http.Header
	body   string
}

func (s *site) send(method, path, body string, header ...string) answer {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.base+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(content)}
}

func (s *site) forget(address string) {
	s.t.Helper()
	got := s.send("POST", "/v1/accounts/acme/passwords", fmt.Sprintf(`{"meta":{"email":%q}}`, address), "Content-Type", "application/vnd.api+json")
	if got.status != http.StatusAccepted || got.body != "" {
		s.t.Fatalf("forget: got %d %q", got.status, got.body)
	}
}

// resetMail waits for mail number n (from 1) that holds a reset link.
func (s *site) resetMail(n int) mailbox.Message {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 60*time.Second)
	defer cancel()
	message, err := s.mailbox.Wait(ctx, func(m mailbox.Message) bool {
		if !linkForm.MatchString(m.Text) {
			return false
		}
		n--
		return n <= 0
	})
	if err != nil {
		s.t.Fatalf("no reset mail: %v", err)
	}
	return message
}

// idForm finds a request's id in what a command prints.
var idForm = regexp.MustCompile(`[0-9a-f-]{36}`)

var linkForm = regexp.MustCompile(`(?m)^https?://\S+/r/(A[A-Za-z0-9_-]{42})$`)

func tokenOf(t *testing.T, m mailbox.Message) string {
	t.Helper()
	found := linkForm.FindStringSubmatch(m.Text)
	if found == nil {
		t.Fatalf("no link alone on its line in %q", m.Text)
	}
	return found[1]
}

func (s *site) redeem(user, token, password string) answer {
	s.t.Helper()
	return s.send("POST", "/v1/accounts/acme/users/"+user+"/actions/reset-password",
		fmt.Sprintf(`{"meta":{"passwordResetToken":%q,"newPassword":%q}}`, token, password), "Content-Type", "application/vnd.api+json")
}

func (s *site) signIn(address, password string) answer {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), "POST", s.base+"/v1/accounts/acme/tokens", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	request.SetBasicAuth(address, password)
	return s.send("POST", "/v1/accounts/acme/tokens", "", "Authorization", request.Header.Get("Authorization"))
}

// syncBuffer takes the output of a process while a test reads it.
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
