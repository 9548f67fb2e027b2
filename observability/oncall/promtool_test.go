package oncall

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestRulesAreRulesOfPrometheus(t *testing.T) {
	t.Parallel()
	promtool := program(t, "promtool")
	for path := range ruleFiles(t) {
		if output, err := exec.Command(promtool, "check", "rules", "--lint=all", "--lint-fatal", path).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", path, err, output)
		}
	}
}

func TestAlertsDoWhatTheirTestsSay(t *testing.T) {
	t.Parallel()
	promtool := program(t, "promtool")
	for _, path := range glob(t, alerts+"/*_test.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			if output, err := testRules(promtool, path); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}

func testRules(promtool, path string) (string, error) {
	output, err := exec.Command(promtool, "test", "rules", path).CombinedOutput()
	return string(output), err
}

// The control: a threshold that is off by a factor is noticed, whichever it is.
func TestAThresholdThatIsWrongIsNoticed(t *testing.T) {
	t.Parallel()
	promtool := program(t, "promtool")
	for _, fault := range []struct{ file, old, replacement, alert string }{
		{"causes", `{lane!="webhook"}) > 60`, `{lane!="webhook"}) > 60000`, "PassmendQueueOldestAge"},
		{"causes", `[15m]))) > 3`, `[15m]))) > 0`, "PassmendPluginCrashLoop"},
		{"causes", `) > 300`, `) > 30`, "PassmendCanaryStale"},
		{"slo", `vector(0.0005)`, `vector(0.005)`, "PassmendAcceptErrors"},
		{"slo", `le=~"60(\\.0)?"`, `le="60"`, "PassmendDeliverySlow"},
	} {
		t.Run(fault.alert, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			rules := readText(t, filepath.Join(alerts, fault.file+".yaml"))
			if !strings.Contains(rules, fault.old) {
				t.Fatalf("%s.yaml does not hold %q", fault.file, fault.old)
			}
			for name, text := range map[string]string{
				fault.file + ".yaml":      strings.Replace(rules, fault.old, fault.replacement, 1),
				fault.file + "_test.yaml": readText(t, filepath.Join(alerts, fault.file+"_test.yaml")),
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if output, err := testRules(promtool, filepath.Join(dir, fault.file+"_test.yaml")); err == nil || !strings.Contains(output, fault.alert) {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}
