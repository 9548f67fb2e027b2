package oncall

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/passmend/passmend/plugins/smtp/smtptest"
)

// without is what a single machine with one replica and no TLS of its own does not
// have, as it stands in queries, each with the reason. A query that reads it is not
// waited for.
var without = map[string]string{
	"passmend_tls_cert_expiry_timestamp_seconds": "TLS ends before the service here",
	"passmend_canary_":                           "the canary is a deployment's own",
	`"webhook`:                                   "no endpoint is subscribed",
	"passmend_webhook_duration_seconds":          "no endpoint is subscribed",
	"passmend_db_errors_total":                   "an embedded database does not fail in a minute",
}

// Every query of a dashboard and every recorded rule has data of a service under
// load, in which things go wrong.
func TestEveryQueryHasDataOfALiveService(t *testing.T) {
	t.Parallel()
	executable := program(t, "prometheus")
	s := startService(t)
	stop := s.load()
	defer stop()
	prometheus := startPrometheus(t, executable, s.admin)

	var queries []query
	for _, board := range readDashboards(t) {
		queries = append(queries, board.queries()...)
	}
	for _, r := range allRules(t) {
		if r.Record != "" {
			queries = append(queries, query{"rule", r.Record})
		}
	}
	open := queries
	for deadline := time.Now().Add(3 * time.Minute); len(open) > 0 && time.Now().Before(deadline); time.Sleep(2 * time.Second) {
		open = slices.DeleteFunc(slices.Clone(open), func(q query) bool { return prometheus.ask(t, q.expr) > 0 })
		if !slices.ContainsFunc(open, func(q query) bool { return excuse(q.expr) == "" }) {
			break
		}
	}
	for _, q := range open {
		if reason := excuse(q.expr); reason != "" {
			t.Logf("no data, as expected: %s: %s", q.where, reason)
			continue
		}
		t.Errorf("no data: %s: %s", q.where, q.expr)
	}
	t.Logf("%d queries, %d of them have data", len(queries), len(queries)-len(open))
	// The control: a metric that is not there has none.
	if n := prometheus.ask(t, `sum(passmend_no_such_metric{namespace=~"$namespace"})`); n != 0 {
		t.Errorf("a metric that is not there has %d series", n)
	}
}

func excuse(expr string) string {
	for what, reason := range without {
		if strings.Contains(expr, what) {
			return reason
		}
	}
	return ""
}

// live is a passmend serve under test.
type live struct {
	t           *testing.T
	dir         string
	env         []string
	base, admin string
	relay       *smtptest.Server
	cmd         *exec.Cmd
}

func startService(t *testing.T) *live {
	t.Helper()
	binaries, err := build()
	if err != nil {
		t.Fatal(err)
	}
	s := &live{t: t, dir: t.TempDir(), base: freeAddress(t), admin: freeAddress(t)}
	s.relay = smtptest.Start(t, smtptest.Options{Refuse: func(stage, argument string) *smtptest.Reply {
		if stage == "rcpt" && strings.HasPrefix(argument, "refused") {
			return &smtptest.Reply{Code: 550, Enhanced: [3]int{5, 1, 1}, Text: "no such user"}
		}
		return nil
	}})
	dead := freeAddress(t) // nobody listens there
	_, deadPort, _ := net.SplitHostPort(dead)
	port := strconv.Itoa(s.relay.Port)
	s.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "TMPDIR=" + os.TempDir(), "PASSMEND_DATA_DIR=" + filepath.Join(s.dir, "data"),
		"PASSMEND_PLUGIN_DIR=" + binaries, "PASSMEND_HTTP_ADDR=" + s.base, "PASSMEND_ADMIN_ADDR=" + s.admin, "PASSMEND_BASE_URL=http://" + s.base,
		"PASSMEND_PLUGIN_PORTS=smtp:" + port + ",smtp:" + deadPort, "PASSMEND_DEFAULT_PROVIDERS=dead,relay", "PASSMEND_LOG_LEVEL=warn",
		"PASSMEND_LIMIT_IP=off", "PASSMEND_LIMIT_IP_DAY=off", "PASSMEND_LIMIT_ACCOUNT=off",
	}
	s.must("keys", "init")
	s.addProvider("relay", port)
	s.addProvider("dead", deadPort)
	s.must("account", "create", "acme", "--name", "Acme", "--from-address", "no-reply@acme.example")
	s.cmd = exec.Command(filepath.Join(binaries, "passmend"), "serve")
	var output bytes.Buffer
	s.cmd.Dir, s.cmd.Env, s.cmd.Stderr = s.dir, s.env, &output
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		if t.Failed() {
			text := output.String()
			t.Logf("end of the service's output:\n%s", text[max(0, len(text)-3000):])
		}
	})
	waitFor(t, "http://"+s.admin+"/readyz")
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

var tokenForm = regexp.MustCompile(`/r/(A[A-Za-z0-9_-]{42})`)

// load is what people do, and what goes wrong, over and over until stop is called:
// at most some thousand rounds.
func (s *live) load() (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		spent := 0
		for n := 0; n < 3000 && ctx.Err() == nil; n++ {
			s.round(n)
			spent = s.spend(spent)
			if n%40 == 20 {
				s.killPlugin()
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

func (s *live) round(n int) {
	address := fmt.Sprintf("u%d@example.com", n)
	if n%7 == 3 {
		address = fmt.Sprintf("refused%d@example.com", n)
	}
	s.send("POST", "/v1/accounts/acme/users", fmt.Sprintf(`{"data":{"type":"users","attributes":{"email":%q,"firstName":"Ada"}}}`, address))
	for range 1 + n%2*4 { // now and then more than a recipient may have
		s.send("POST", "/v1/accounts/acme/passwords", fmt.Sprintf(`{"meta":{"email":%q}}`, address))
	}
	s.send("POST", "/v1/accounts/acme/passwords", fmt.Sprintf(`{"meta":{"email":"nobody%d@example.com"}}`, n))
	s.send("POST", "/v1/accounts/acme/passwords", `{"meta":`)
	s.send("GET", "/acme/r/AQ"+strings.Repeat("x", 41), "")
	s.send("GET", "/acme/forgot", "")
	s.send("GET", "/nowhere", "")
	s.send("POST", "/v1/accounts/acme/users/"+address+"/actions/reset-password", `{"meta":{"passwordResetToken":"AQ`+strings.Repeat("x", 41)+`","newPassword":"a new one, remembered"}}`)
	s.send("POST", "/v1/accounts/acme/tokens", "", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(address+":wrong one")))
}

// spend opens and redeems the link of the next mail, if there is one.
func (s *live) spend(next int) int {
	mails := s.relay.Messages()
	if next >= len(mails) {
		return next
	}
	found := tokenForm.FindStringSubmatch(strings.ReplaceAll(string(mails[next].Raw), "=\r\n", ""))
	if found != nil {
		s.send("GET", "/acme/r/"+found[1], "")
		s.send("POST", "/v1/accounts/acme/users/"+mails[next].To[0]+"/actions/reset-password",
			fmt.Sprintf(`{"meta":{"passwordResetToken":%q,"newPassword":"a new one, remembered"}}`, found[1]))
	}
	return next + 1
}

// killPlugin ends the plugin's process the hard way. Only children of ours.
func (s *live) killPlugin() {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
	for _, task := range tasks {
		children, _ := os.ReadFile(task)
		for _, child := range strings.Fields(string(children)) {
			if pid, err := strconv.Atoi(child); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
				return
			}
		}
	}
}

// server is a Prometheus of the test's own.
type server struct{ base string }

func startPrometheus(t *testing.T, executable, target string) *server {
	t.Helper()
	dir := t.TempDir()
	rules, err := filepath.Abs(alerts)
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: ["%s/slo.yaml", "%s/causes.yaml"]
scrape_configs:
  - job_name: passmend
    static_configs: [{targets: ["%s"], labels: {namespace: reset, pod: reset-0}}]
`, rules, rules, target)
	path := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	at := freeAddress(t)
	var output bytes.Buffer
	command := exec.Command(executable, "--config.file="+path, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+at, "--log.level=warn", "--enable-feature=exemplar-storage")
	command.Stderr = &output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if t.Failed() {
			t.Logf("output of Prometheus:\n%s", output.String())
		}
	})
	waitFor(t, "http://"+at+"/-/ready")
	return &server{"http://" + at}
}

// variables are what Grafana puts into a query.
var variables = strings.NewReplacer(
	"$namespace", ".*", "$__rate_interval", "30s", "$__range", "5m", "$__interval", "15s", "$account", ".*", "$provider", ".*",
)

// ask gives how many series a query has now.
func (s *server) ask(t *testing.T, expr string) int {
	t.Helper()
	response, err := http.Get(s.base + "/api/v1/query?query=" + url.QueryEscape(variables.Replace(expr)))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []json.RawMessage }
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Status != "success" {
		t.Fatalf("%s: %v %s", expr, err, answer.Error)
	}
	return len(answer.Data.Result)
}

func waitFor(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		response, err := http.Get(address)
		if err != nil {
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return
		}
	}
	t.Fatalf("%s did not answer within a minute", address)
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
