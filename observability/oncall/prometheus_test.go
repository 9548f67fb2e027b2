package oncall

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// server is a Prometheus of the test's own.
type server struct{ base string }

// startPrometheus scrapes targets, HOST:PORT by the namespace that they are shown in.
func startPrometheus(t *testing.T, executable string, targets map[string]string) *server {
	t.Helper()
	dir := t.TempDir()
	rules := filepath.Join(dir, "slo.yaml")
	if err := os.WriteFile(rules, []byte(oftenEvaluated(t, readText(t, filepath.Join(alerts, "slo.yaml")))), 0o600); err != nil {
		t.Fatal(err)
	}
	causes, err := filepath.Abs(filepath.Join(alerts, "causes.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	// A scrape may last as long as the interval, and a machine with much else to do needs
	// seconds for one.
	config := fmt.Sprintf("global: {scrape_interval: 5s, scrape_timeout: 5s, evaluation_interval: 5s}\nrule_files: [%q, %q]\nscrape_configs:\n  - job_name: passmend\n    static_configs:\n", rules, causes)
	for namespace, target := range targets {
		config += fmt.Sprintf("      - {targets: [%q], labels: {namespace: %s, pod: %s-0}}\n", target, namespace, namespace)
	}
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

// oftenEvaluated gives rules without intervals of their own: the first evaluation of
// a group is anywhere within its interval, and that of the budgets is five minutes.
func oftenEvaluated(t *testing.T, rules string) string {
	t.Helper()
	const interval = "\n    interval: 5m "
	if !strings.Contains(rules, interval) || strings.Count(rules, "\n    interval:") != 1 {
		t.Fatal("slo.yaml does not have the one group with an interval that this test knows")
	}
	return strings.Replace(rules, interval, "\n    interval: 5s ", 1)
}

// variables are what Grafana puts into a query.
var variables = strings.NewReplacer(
	"$namespace", ".*", "$__rate_interval", "1m", "$__range", "5m", "$__interval", "15s", "$account", ".*", "$provider", ".*",
)

// ask gives how many series a query has now.
func (s *server) ask(expr string) (int, error) {
	response, err := http.Get(s.base + "/api/v1/query?query=" + url.QueryEscape(variables.Replace(expr)))
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []json.RawMessage }
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if answer.Status != "success" {
		return 0, fmt.Errorf("Prometheus says: %s", answer.Error)
	}
	return len(answer.Data.Result), nil
}

// waitFor waits until an address answers 200.
func waitFor(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		response, err := http.Get(address)
		if err != nil {
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return
		}
	}
	t.Fatalf("%s did not answer within three minutes", address)
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
