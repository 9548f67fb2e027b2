package helm

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// What docs/operating.md tells a new operator to write gives what it says: something
// that scrapes, rules, and four dashboards, with the labels that others select by.
func TestOperatingLeadsToADashboard(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(rootDir, "docs/operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, found := strings.Cut(string(text), "\n## From helm install to a dashboard\n")
	written := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(chapter)
	if !found || written == nil {
		t.Fatal("docs/operating.md has no values to write")
	}
	chart := readChart(t)
	maps.DeleteFunc(chart, func(path, _ string) bool { return strings.HasPrefix(path, copies) }) // with the real ones instead
	chart.read(t, chartDir, func(path string) bool { return strings.HasPrefix(path, copies) })
	values := parseValues(t, chart["examples/values-postgres.yaml"])
	merge(values, parseValues(t, strings.ReplaceAll("\n"+written[1], "\n   ", "\n")))
	merge(values, parseValues(t, "monitoring: {objects: always}"))
	r := mustRender(t, chart, values, cluster{})

	kinds := make(map[string]int)
	for _, o := range r.objects {
		kinds[o.kind]++
		switch labels, _ := o.get("metadata", "labels").(map[string]any); o.kind {
		case "PodMonitor", "PrometheusRule":
			if labels["release"] != "kube-prometheus-stack" {
				t.Errorf("%s has the labels %v", o, labels)
			}
		case "ConfigMap":
			if !strings.HasSuffix(o.name, "-dashboards") {
				continue
			}
			var boards corev1.ConfigMap
			if err := o.into(&boards); err != nil || len(boards.Data) != 4 || labels["grafana_dashboard"] != "1" {
				t.Errorf("%v: %d dashboards, labels %v", err, len(boards.Data), labels)
			}
			kinds["dashboards"]++
		}
	}
	for kind, want := range map[string]int{"PodMonitor": 1, "PrometheusRule": 1, "dashboards": 1} {
		if kinds[kind] != want {
			t.Errorf("%d %s, want %d", kinds[kind], kind, want)
		}
	}
	for _, component := range []string{"api", "worker", "canary"} {
		p := r.server(t, component)
		if !allows(t, r.policies(t), p, inward, scraper, 9090) {
			t.Errorf("Prometheus does not reach %s", component)
		}
		if !slices.ContainsFunc(p.Spec.Containers[0].Ports, func(port corev1.ContainerPort) bool { return port.Name == "metrics" && port.ContainerPort == 9090 }) {
			t.Errorf("%s has no port of metrics", component)
		}
	}
}
