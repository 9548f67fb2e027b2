package oncall

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/passmend/passmend/plugins/smtp/smtptest"
)

// live is a service under test.
type live struct {
	t           *testing.T
	dir         string
	env         []string
	base, admin string
	cmd         *exec.Cmd
}

func newLive(t *testing.T) *live {
	t.Helper()
	binaries, err := build()
	if err != nil {
		t.Fatal(err)
	}
	s := &live{t: t, dir: t.TempDir(), base: freeAddress(t), admin: freeAddress(t)}
	s.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "TMPDIR=" + os.TempDir(), "PASSMEND_DATA_DIR=" + filepath.Join(s.dir, "data"),
		"PASSMEND_PLUGIN_DIR=" + binaries, "PASSMEND_HTTP_ADDR=" + s.base, "PASSMEND_ADMIN_ADDR=" + s.admin, "PASSMEND_BASE_URL=http://" + s.base,
		"PASSMEND_LOG_LEVEL=warn",
	}
	return s
}

// start runs the service until the test ends.
func (s *live) start(command string) {
	s.t.Helper()
	binaries, err := build()
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd = exec.Command(filepath.Join(binaries, "passmend"), command)
	var output bytes.Buffer
	s.cmd.Dir, s.cmd.Env, s.cmd.Stderr = s.dir, s.env, &output
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		if s.t.Failed() {
			text := output.String()
			s.t.Logf("end of the output of 'passmend %s':\n%s", command, text[max(0, len(text)-3000):])
		}
	})
	waitFor(s.t, "http://"+s.admin+"/readyz")
}

// deployment is a service as it runs for people: with a provider whose server takes
// mail and one whose server is dead, and with a canary, to whose inbox its mail is
// brought.
type deployment struct {
	*live
	relay *smtptest.Server
	inbox string
}

func startDeployment(t *testing.T) *deployment {
	t.Helper()
	s := &deployment{live: newLive(t), inbox: freeAddress(t)}
	s.relay = smtptest.Start(t, smtptest.Options{Refuse: func(stage, argument string) *smtptest.Reply {
		if stage == "rcpt" && strings.HasPrefix(argument, "refused") {
			return &smtptest.Reply{Code: 550, Enhanced: [3]int{5, 1, 1}, Text: "no such user"}
		}
		return nil
	}})
	_, deadPort, _ := net.SplitHostPort(freeAddress(t)) // nobody listens there
	port := strconv.Itoa(s.relay.Port)
	s.env = append(s.env,
		"PASSMEND_PLUGIN_PORTS=smtp:"+port+",smtp:"+deadPort, "PASSMEND_DEFAULT_PROVIDERS=dead,relay",
		"PASSMEND_LIMIT_IP=off", "PASSMEND_LIMIT_IP_DAY=off", "PASSMEND_LIMIT_ACCOUNT=off",
		"PASSMEND_CANARY=true", "PASSMEND_CANARY_ADDRESS=canary@probe.example.com", "PASSMEND_CANARY_INBOX="+s.inbox)
	s.must("keys", "init")
	s.addProvider("relay", port)
	s.addProvider("dead", deadPort)
	s.must("account", "create", "acme", "--name", "Acme", "--from-address", "no-reply@acme.example")
	s.start("serve")
	return s
}

func (s *live) must(args ...string) {
	s.t.Helper()
	if output, ok := passmend(s.t, s.dir, s.env, args...); !ok {
		s.t.Fatalf("passmend %s: %s", args, output)
	}
}

// addProvider adds a provider, whose plugin is started for it: on a machine that has
// much else to do that may take longer than the command waits, once or twice.
func (s *live) addProvider(name, port string) {
	s.t.Helper()
	output, ok := "", false
	for tries := 0; tries < 5 && !ok; tries++ {
		output, ok = passmend(s.t, s.dir, s.env, "provider", "add", name, "--plugin", "smtp", "--set", "host=127.0.0.1", "--set", "port="+port, "--set", "tls=none")
	}
	if !ok {
		s.t.Fatalf("provider add %s: %s", name, output)
	}
}

// development is a service in development mode: the one whose webhooks may go to
// loopback. Its account demo has an endpoint, which fails every third time.
type development struct {
	*live
	told atomic.Int64
}

const devAdmin = "admin-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefv3"

func startDevelopment(t *testing.T) *development {
	t.Helper()
	s := &development{live: newLive(t)}
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if s.told.Add(1)%3 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(receiver.Close)
	s.env = append(s.env, "PASSMEND_DEV_ADMIN_TOKEN="+devAdmin, "PASSMEND_MAILBOX_ADDR=127.0.0.1:0")
	s.start("dev")
	s.subscribe(receiver.URL)
	return s
}

// subscribe has the endpoint told of everything.
func (s *development) subscribe(address string) {
	s.t.Helper()
	status, answer := 0, ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		status, answer = s.asAdmin("POST", "/webhook-endpoints", fmt.Sprintf(`{"data":{"type":"webhook-endpoints","attributes":{"url":%q}}}`, address))
		if status == http.StatusCreated {
			return
		}
	}
	s.t.Fatalf("subscribe: %d %s", status, answer)
}

// asAdmin calls below the account as its admin.
func (s *development) asAdmin(method, path, body string) (status int, answer string) {
	return s.send(method, "/v1/accounts/demo"+path, body, "Authorization", "Bearer "+devAdmin)
}

// send gives the status and the body; 0 when nobody answered.
func (s *live) send(method, path, body string, header ...string) (status int, answer string) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+s.base+path, strings.NewReader(body))
	if err != nil {
		return 0, ""
	}
	request.Header.Set("Content-Type", "application/vnd.api+json")
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	content, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(content)
}

// metrics is a scrape; empty when nobody answered.
func (s *live) metrics() string {
	response, err := http.Get("http://" + s.admin + "/metrics")
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	content, _ := io.ReadAll(response.Body)
	return string(content)
}
