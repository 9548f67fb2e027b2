package helm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
)

// tools is where the programs are that tests run, for the length of the tests.
var tools string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if tools, err = os.MkdirTemp("", "passmend-helm-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(tools)
		return m.Run()
	}())
}

// compile builds a program of a module into tools.
func compile(module, program string, flags ...string) (string, error) {
	path := filepath.Join(tools, filepath.Base(program))
	build := exec.Command("go", append(append([]string{"build", "-trimpath", "-buildvcs=false", "-o", path}, flags...), program)...)
	build.Dir, build.Env = module, append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", program, err, output)
	}
	return path, nil
}

// kubectlValidate is built of the module beside this one: its libraries of
// Kubernetes are too old to stand beside Helm's.
var kubectlValidate = sync.OnceValues(func() (string, error) {
	return compile("../validate", "sigs.k8s.io/kubectl-validate")
})

// objections are what the schemas of Kubernetes 1.30 and of testdata/crds say
// against manifests: by file, the messages.
func objections(t *testing.T, manifests map[string][]byte) map[string][]string {
	t.Helper()
	tool, err := kubectlValidate()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range manifests {
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.Command(tool, dir, "--version", "1.30", "--local-crds", "testdata/crds", "--output", "json")
	var output, complaint bytes.Buffer
	command.Stdout, command.Stderr = &output, &complaint
	if err := command.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	var files map[string][]struct {
		Status  string
		Message string
	}
	if err := json.Unmarshal(output.Bytes(), &files); err != nil {
		t.Fatalf("%v\n%s%s", err, output.Bytes(), complaint.Bytes())
	}
	if len(files) != len(manifests) {
		t.Fatalf("%d files of %d were looked at", len(files), len(manifests))
	}
	found := make(map[string][]string)
	for path, verdicts := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		for _, verdict := range verdicts {
			if verdict.Status != "Success" {
				found[name] = append(found[name], verdict.Message)
			}
		}
	}
	return found
}

func TestEveryObjectFitsItsSchema(t *testing.T) {
	t.Parallel()
	chart := readChart(t)
	manifests := make(map[string][]byte)
	for _, s := range readSets(t) {
		text := mustRender(t, chart, s.values, s.on).manifests()
		// Newer than the schemas: TestEveryFieldIsKnown has the newer types.
		manifests[s.name] = withoutImageVolumes(text)
	}
	for name, messages := range objections(t, manifests) {
		t.Errorf("%s: %s", name, strings.Join(messages, "\n"))
	}
}

// withoutImageVolumes puts an empty folder in the place of each.
func withoutImageVolumes(text []byte) []byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	for i := range lines {
		if bytes.HasSuffix(lines[i], []byte("- image:\n")) {
			lines[i] = bytes.Replace(lines[i], []byte("image:"), []byte("emptyDir: {}"), 1)
			lines[i+1], lines[i+2] = nil, nil // pullPolicy, reference
		}
	}
	return bytes.Join(lines, nil)
}

func TestAnObjectThatDoesNotFitIsFound(t *testing.T) {
	t.Parallel()
	chart := readChart(t)
	faults := map[string]struct{ path, old, replacement string }{
		"unknown-field":    {"templates/service.yaml", "spec:\n", "spec:\n  typo: 1\n"},
		"wrong-type":       {"templates/_server.tpl", "revisionHistoryLimit: 5", "revisionHistoryLimit: many"},
		"missing-selector": {"templates/monitors.yaml", "podMetricsEndpoints:", "endpoints:"},
		"wrong-probe":      {"templates/_server.tpl", "failureThreshold: 30", "failureTreshold: 30"},
		"wrong-rule":       {"templates/networkpolicy.yaml", "policyTypes: [Ingress, Egress]", "policyTypes: Ingress"},
	}
	manifests := make(map[string][]byte)
	for name, fault := range faults {
		faulty := chart.edited(t, fault.path, fault.old, fault.replacement)
		manifests[name] = mustRender(t, faulty, minimal(t, ""), cluster{operator: true}).manifests()
	}
	found := objections(t, manifests)
	for name := range faults {
		if len(found[name]) == 0 {
			t.Errorf("%s: nothing was said", name)
		}
	}
}

// typeOf gives the newest type of a kind of object; nil for those of an operator.
func typeOf(kind string) any {
	switch kind {
	case "ConfigMap":
		return new(corev1.ConfigMap)
	case "Deployment":
		return new(appsv1.Deployment)
	case "HorizontalPodAutoscaler":
		return new(autoscalingv2.HorizontalPodAutoscaler)
	case "Ingress":
		return new(networkingv1.Ingress)
	case "Job":
		return new(batchv1.Job)
	case "NetworkPolicy":
		return new(networkingv1.NetworkPolicy)
	case "PersistentVolumeClaim":
		return new(corev1.PersistentVolumeClaim)
	case "Pod":
		return new(corev1.Pod)
	case "PodDisruptionBudget":
		return new(policyv1.PodDisruptionBudget)
	case "Service":
		return new(corev1.Service)
	case "ServiceAccount":
		return new(corev1.ServiceAccount)
	}
	return nil
}

func TestEveryFieldIsKnown(t *testing.T) {
	t.Parallel()
	operators := []string{"PodMonitor", "ServiceMonitor", "PrometheusRule"}
	eachSet(t, readChart(t), func(t *testing.T, _ set, r release) {
		for _, o := range r.objects {
			value := typeOf(o.kind)
			if value == nil {
				if !slices.Contains(operators, o.kind) {
					t.Errorf("%s: this kind is new here", o)
				}
				continue
			}
			if err := o.into(value); err != nil {
				t.Errorf("%s: %v", o, err)
			}
		}
	})
}
