package evidence

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/passmend/passmend/core/sqlstore/pgtest"
	"github.com/passmend/passmend/plugins/smtp/smtptest"
)

// binaries is where passmend and its plugin are; telling has a plugin more, which
// prints all that it is handed.
var binaries, telling string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "passmend-evidence-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binaries, telling = filepath.Join(dir, "usual"), filepath.Join(dir, "telling")
	for _, args := range [][]string{
		{"build", "-o", binaries + "/", "..", "../../passmend-smtp"},
		{"build", "-o", telling + "/", "../../passmend-smtp", "./testdata/passmend-telltale"},
	} {
		build := exec.Command("go", args...)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go %s: %v\n%s", strings.Join(args, " "), err, out)
			return 1
		}
	}
	return pgtest.Main(m)
}

const (
	account       = "acme"
	relayUser     = "relay-user"
	relayPassword = "canary-provider-secret-5f1c9a"
	oldPassword   = "an old one, forgotten"
)

// site is a deployment of its own: a data directory, a relay that wants TLS and a
// password, and the real command.
type site struct {
	t     *testing.T
	dir   string
	base  string
	admin string
	env   []string
	relay *smtptest.Server
}

// newSite makes keys, a provider that leads to the relay, and the account. env wins.
func newSite(t *testing.T, options smtptest.Options, env ...string) *site {
	t.Helper()
	options.TLS, options.Users = "starttls", map[string]string{relayUser: relayPassword}
	s := &site{t: t, dir: t.TempDir(), relay: smtptest.Start(t, options)}
	public, admin := freeAddress(t), freeAddress(t)
	s.base, s.admin = "http://"+public, "http://"+admin
	s.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "TMPDIR=" + os.TempDir(),
		"PASSMEND_DATA_DIR=" + filepath.Join(s.dir, "data"), "PASSMEND_PLUGIN_DIR=" + binaries,
		"PASSMEND_HTTP_ADDR=" + public, "PASSMEND_ADMIN_ADDR=" + admin, "PASSMEND_BASE_URL=" + s.base,
		"PASSMEND_DRAIN_DELAY=0s", "PASSMEND_LOG_LEVEL=debug", "PASSMEND_DEFAULT_PROVIDERS=relay",
		"PASSMEND_PLUGIN_PORTS=smtp:" + strconv.Itoa(s.relay.Port),
		"PASSMEND_LIMIT_RSTPWD=off", "PASSMEND_LIMIT_MUTPWD=off", "PASSMEND_LIMIT_AUTH=off", "PASSMEND_LIMIT_IP=off",
		"PASSMEND_LIMIT_IP_DAY=off", "PASSMEND_LIMIT_ACCOUNT=off", "PASSMEND_LIMIT_BAD_TOKEN=off",
		"PASSMEND_LIMIT_RECIPIENT=off", "PASSMEND_LIMIT_RECIPIENT_ALL=off", "PASSMEND_LIMIT_COALESCE=off",
	}, env...)
	s.must("", "migrate", "up")
	s.must("", "keys", "init")
	s.addProvider(relayPassword, "relay", "--plugin", "smtp", "--set", "host="+s.relay.Host,
		"--set", "port="+strconv.Itoa(s.relay.Port), "--set", "tls=starttls", "--set", "caCertificates="+s.relay.CA,
		"--set", "username="+relayUser, "--secret", "password=@-")
	s.must("", "account", "create", account, "--name", "Acme", "--from-address", "no-reply@acme.example")
	return s
}

// addProvider adds a provider, whose plugin is started for it: on a machine that has
// much else to do that may take longer than the command waits, once or twice.
func (s *site) addProvider(secret, name string, args ...string) {
	s.t.Helper()
	var err error
	for range 5 {
		if _, err = s.try(secret, append([]string{"provider", "add", name}, args...)...); err == nil {
			return
		}
	}
	s.t.Fatalf("provider add %s: %v", name, err)
}

// register makes a user over the API; an empty password is none.
func (s *site) register(address, password string) {
	s.t.Helper()
	chosen := ""
	if password != "" {
		chosen = fmt.Sprintf(`,"password":%q`, password)
	}
	got := s.send("POST", "/v1/accounts/acme/users", fmt.Sprintf(`{"data":{"type":"users","attributes":{"email":%q,"firstName":"Ada"%s}}}`, address, chosen))
	if got.status != http.StatusCreated {
		s.t.Fatalf("register: %d %s", got.status, got.body)
	}
}

// must runs the command and gives what it printed; it has to succeed.
func (s *site) must(stdin string, args ...string) string {
	s.t.Helper()
	out, err := s.try(stdin, args...)
	if err != nil {
		s.t.Fatalf("passmend %s %s: %v", args[0], args[1], err)
	}
	return out
}

func (s *site) try(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(binaries, "passmend"), args...)
	cmd.Dir, cmd.Env, cmd.Stdin = s.dir, s.env, strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w: %s", err, errs.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// server is a running 'passmend serve'.
type server struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  syncBuffer // both outputs
	done chan struct{}
}

// serve starts the service and waits until it is ready.
func (s *site) serve() *server {
	s.t.Helper()
	srv := &server{t: s.t, cmd: exec.Command(filepath.Join(binaries, "passmend"), "serve"), done: make(chan struct{})}
	srv.cmd.Dir, srv.cmd.Env = s.dir, s.env
	srv.cmd.Stdout, srv.cmd.Stderr = &srv.out, &srv.out
	if err := srv.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { _ = srv.cmd.Wait(); close(srv.done) }()
	s.t.Cleanup(func() {
		_ = srv.cmd.Process.Kill()
		<-srv.done
		if s.t.Failed() {
			text := srv.out.String()
			s.t.Logf("end of the service's output:\n%s", text[max(0, len(text)-4000):])
		}
	})
	eventually(s.t, "the service is ready", func() bool {
		select {
		case <-srv.done:
			s.t.Fatalf("the service ended: %s", srv.out.String())
		default:
		}
		response, err := http.Get(s.base + "/v1/ping")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return srv
}

// stop asks the service to end, sends its last spans included.
func (srv *server) stop() {
	srv.t.Helper()
	if err := srv.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		srv.t.Fatal(err)
	}
	select {
	case <-srv.done:
	case <-time.After(40 * time.Second):
		srv.t.Fatal("the service did not end within 40 s")
	}
	if code := srv.cmd.ProcessState.ExitCode(); code != 0 {
		srv.t.Errorf("exit status %d", code)
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
	if body != "" {
		request.Header.Set("Content-Type", "application/vnd.api+json")
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

func (s *site) forget(address string, header ...string) {
	s.t.Helper()
	got := s.send("POST", "/v1/accounts/acme/passwords", fmt.Sprintf(`{"meta":{"email":%q}}`, address), header...)
	if got.status != http.StatusAccepted {
		s.t.Fatalf("forget: %d %s", got.status, got.body)
	}
}

func (s *site) redeem(user, token, password string) answer {
	s.t.Helper()
	return s.send("POST", "/v1/accounts/acme/users/"+user+"/actions/reset-password",
		fmt.Sprintf(`{"meta":{"passwordResetToken":%q,"newPassword":%q}}`, token, password))
}

func (s *site) metrics() string {
	s.t.Helper()
	return (&site{t: s.t, base: s.admin}).send("GET", "/metrics", "").body
}

// The text of a mail may be quoted-printable: a line that is cut goes on after "=".
var (
	softBreak = regexp.MustCompile(`=\r?\n`)
	linkForm  = regexp.MustCompile(`/r/(A[A-Za-z0-9_-]{42})`)
)

// token waits for a reset mail to the address and gives its token.
func (s *site) token(address string) (token string) {
	s.t.Helper()
	eventually(s.t, "a reset mail to "+address, func() bool {
		for _, mail := range s.relay.Messages() {
			found := linkForm.FindStringSubmatch(softBreak.ReplaceAllString(string(mail.Raw), ""))
			if found != nil && mail.To[0] == address {
				token = found[1]
			}
		}
		return token != ""
	})
	return token
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// waitTime is for machines that have much else to do.
const waitTime = 2 * time.Minute

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(waitTime)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to pass within %s: %s", waitTime, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
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
