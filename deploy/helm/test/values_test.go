package helm

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
)

func TestTheChartIsLintedStrictly(t *testing.T) {
	t.Parallel()
	version, err := common.ParseKubeVersion("v1.30.0")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range readSets(t) {
		for _, message := range lint.RunAll(chartDir, s.values, namespace, lint.WithKubeVersion(version)).Messages {
			if message.Severity >= support.WarningSev {
				t.Errorf("%s: %s", s.name, message)
			}
		}
	}
}

// Everything is closed: a mistyped key is an error, not a default.
func TestTheSchemaIsClosedEverywhere(t *testing.T) {
	t.Parallel()
	var schema map[string]any
	if err := json.Unmarshal([]byte(readChart(t)["values.schema.json"]), &schema); err != nil {
		t.Fatal(err)
	}
	if schema["$schema"] != "http://json-schema.org/draft-07/schema#" {
		t.Errorf("its dialect is %v", schema["$schema"])
	}
	open := openObjects("", schema)
	// Helm's own, which a parent chart fills.
	if diff := cmp.Diff([]string{"/properties/global"}, open); diff != "" {
		t.Errorf("open objects (-expected +found):\n%s", diff)
	}
}

func openObjects(path string, schema any) (open []string) {
	switch schema := schema.(type) {
	case map[string]any:
		if schema["type"] == "object" && schema["additionalProperties"] != false {
			open = append(open, path)
		}
		for _, key := range slices.Sorted(maps.Keys(schema)) {
			open = append(open, openObjects(path+"/"+key, schema[key])...)
		}
	case []any:
		for i := range schema {
			open = append(open, openObjects(fmt.Sprintf("%s/%d", path, i), schema[i])...)
		}
	}
	return open
}

// Every value has a schema, and every schema a value: a default that is nowhere
// written down cannot be looked up.
func TestValuesAndSchemaNameTheSameKeys(t *testing.T) {
	t.Parallel()
	chart := readChart(t)
	var schema map[string]any
	if err := json.Unmarshal([]byte(chart["values.schema.json"]), &schema); err != nil {
		t.Fatal(err)
	}
	definitions, _ := schema["definitions"].(map[string]any)
	described := slices.DeleteFunc(schemaKeys("", schema, definitions), func(key string) bool { return key == "global" })
	given := valueKeys("", parseValues(t, chart["values.yaml"]))
	optional := regexp.MustCompile(`\.(ephemeral-storage|limits\.cpu)$`)
	described = slices.DeleteFunc(described, optional.MatchString)
	slices.Sort(described)
	slices.Sort(given)
	if diff := cmp.Diff(described, given); diff != "" {
		t.Errorf("values.schema.json (-) and values.yaml (+):\n%s", diff)
	}
}

// schemaKeys gives the leaves: what is not an object with named properties.
func schemaKeys(path string, schema map[string]any, definitions map[string]any) (keys []string) {
	if reference, ok := schema["$ref"].(string); ok {
		schema, _ = definitions[strings.TrimPrefix(reference, "#/definitions/")].(map[string]any)
	}
	properties, _ := schema["properties"].(map[string]any)
	if len(properties) == 0 {
		return []string{path}
	}
	for name, inside := range properties {
		inside, _ := inside.(map[string]any)
		keys = append(keys, schemaKeys(strings.TrimPrefix(path+"."+name, "."), inside, definitions)...)
	}
	return keys
}

// maps that the user names the keys of.
var free = []string{"podAnnotations", "podLabels", "nodeSelector", "config.pluginPorts", "labels", "annotations", "networkPolicy.dns.podLabels"}

func valueKeys(path string, values map[string]any) (keys []string) {
	for name, value := range values {
		at := strings.TrimPrefix(path+"."+name, ".")
		inside, ok := value.(map[string]any)
		if !ok || slices.Contains(free, at) || slices.Contains(free, name) {
			keys = append(keys, at)
			continue
		}
		keys = append(keys, valueKeys(at, inside)...)
	}
	return keys
}

// The README's table is the values file in rows.
func TestTheReadmeListsEveryValue(t *testing.T) {
	t.Parallel()
	chart := readChart(t)
	const begin, end = "<!-- values -->\n", "<!-- /values -->\n"
	head, rest, found := strings.Cut(chart["README.md"], begin)
	got, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatal("README.md has no table of values")
	}
	want := valuesTable(t, chart["values.yaml"])
	if *update {
		if err := os.WriteFile(filepath.Join(chartDir, "README.md"), []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, key := range valueKeys("", parseValues(t, chart["values.yaml"])) {
		if key = strings.TrimSuffix(strings.TrimSuffix(key, ".cpu"), ".memory"); !strings.Contains(want, "| `"+key+"` |") {
			t.Errorf("the table does not list %s: give it a default or a comment on its line", key)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("README.md (-values.yaml +README; go test ./... -update writes it):\n%s", diff)
	}
}

var (
	keyLine = regexp.MustCompile(`^( *)([A-Za-z0-9]+):(?: ([^#]*?))?(?: *# (.*))?$`)
	// wordy begins a comment of whole lines, which belongs to the key below it.
	wordy = regexp.MustCompile(`^ *# (.*)$`)
)

// valuesTable makes rows of the lines of a values file: key, default, comment.
func valuesTable(t *testing.T, text string) string {
	t.Helper()
	var table strings.Builder
	table.WriteString("\n| value | default | meaning |\n|---|---|---|\n")
	var path []string
	var above []string
	for line := range strings.SplitSeq(text, "\n") {
		if comment := wordy.FindStringSubmatch(line); comment != nil {
			above = append(above, comment[1])
			continue
		}
		match := keyLine.FindStringSubmatch(line)
		if match == nil {
			if strings.TrimSpace(line) == "" {
				above = nil
			}
			continue
		}
		depth := len(match[1]) / 2
		path = append(path[:depth], match[2])
		meaning := strings.Join(append(above, match[4]), " ")
		above = nil
		value := strings.TrimSpace(match[3])
		if value == "" && match[4] == "" && strings.TrimSpace(meaning) == "" {
			continue // a heading of what follows
		}
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", strings.Join(path, "."), value, strings.ReplaceAll(strings.TrimSpace(meaning), "|", `\|`))
	}
	return table.String() + "\n"
}

// Settings of the service that no value sets, each with the reason.
var unset = map[string]string{
	"http_addr":             "the port is the chart's",
	"admin_addr":            "the port is the chart's",
	"data_dir":              "the volumes are the chart's",
	"keys_file":             "it is mounted",
	"database_url":          "it is in the mounted file",
	"plugin_dir":            "the image's own",
	"plugin_allow_unpinned": "only signed plugins run in a cluster",
	"roles":                 "each Deployment has its own",
	"mailbox_addr":          "development",
	"dev_admin_token":       "development",
	"canary":                "one pod has it",
	"canary_inbox":          "the port is the chart's",
}

// The chart's settings are the service's, with the same defaults.
func TestSettingsAndDefaultsAreTheService_s(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(rootDir, "cmd/passmend/settings.go"))
	if err != nil {
		t.Fatal(err)
	}
	service := make(map[string]string)
	for _, match := range regexp.MustCompile(`(?m)^\t\{"([a-z_]+)", "([^"]*)", "`).FindAllStringSubmatch(string(text), -1) {
		service[match[1]] = match[2]
	}
	if len(service) < 20 {
		t.Fatalf("only %d settings were found", len(service))
	}
	for key := range unset {
		if _, known := service[key]; !known {
			t.Errorf("the service has no setting %s", key)
		}
		delete(service, key)
	}
	chart := readChart(t)
	rendered := mustRender(t, chart, minimal(t, ""), cluster{}).find(t, "ConfigMap", "")
	settings, _ := rendered.get("data").(map[string]any)
	for key, fallback := range service {
		got, there := settings["PASSMEND_"+strings.ToUpper(key)]
		switch {
		case key == "base_url": // it has no default
		case fallback == "" && there, fallback != "" && got != fallback:
			t.Errorf("%s is %v by default, and %q for the service", key, got, fallback)
		}
	}
	all := mustRender(t, chart, minimal(t, `
canary: {enabled: true, address: canary@probe.example.com, via: "reset-passmend:80"}
config: {account: acme, mailFrom: a@b.example, defaultProviders: [a], trustedProxies: [10.0.0.0/8], pluginPorts: {smtp: [1]}, webhookAllow: [10.1.0.0/16]}`), cluster{}).find(t, "ConfigMap", "")
	settings, _ = all.get("data").(map[string]any)
	var names []string
	for key := range service {
		names = append(names, "PASSMEND_"+strings.ToUpper(key))
	}
	slices.Sort(names)
	if diff := cmp.Diff(names, slices.Sorted(maps.Keys(settings))); diff != "" {
		t.Errorf("settings of the service (-) and of the chart (+):\n%s", diff)
	}
}

// Alerts and dashboards are written once, in observability; `make helm/sync` copies
// them.
func TestCopiesAreTheOriginals(t *testing.T) {
	t.Parallel()
	for dir, originals := range map[string]string{
		"alerts":     "observability/alerts/*.yaml",
		"dashboards": "observability/dashboards/*.json",
	} {
		want := readAll(t, filepath.Join(rootDir, originals))
		got := readAll(t, filepath.Join(chartDir, copies, dir, "*"))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-original +copy; make helm/sync copies them):\n%s", dir, diff)
		}
	}
}

// readAll reads files by their name; tests of alerts stay where they are.
func readAll(t *testing.T, pattern string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.yaml") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(path)] = string(text)
	}
	return files
}
