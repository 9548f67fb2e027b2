package helm

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

var record = flag.Bool("release", false, "record what the chart's present version renders, as released")

// immutable are the fields that Kubernetes lets nobody change, by kind: an upgrade
// that does fails half-way. Jobs are hooks, made anew each time.
var immutable = map[string][][]string{
	"Deployment":            {{"spec", "selector"}},
	"PersistentVolumeClaim": {{"spec", "accessModes"}, {"spec", "storageClassName"}, {"spec", "volumeMode"}},
	"Service":               {{"spec", "clusterIP"}},
}

// releasedSets are rendered when a version is released: they hold every kind of
// object that has immutable fields.
var releasedSets = []string{"everything", "minimal", "monitoring-service", "names", "sqlite", "sqlite-providers"}

// lastReleases is how many released minor versions an upgrade may come from.
const lastReleases = 3

// frozen gives the immutable fields of a release's objects. Hooks are made anew.
func frozen(r release) map[string]any {
	fields := make(map[string]any)
	for _, o := range r.objects {
		if o.get("metadata", "annotations", "helm.sh/hook") != nil {
			continue
		}
		for _, path := range immutable[o.kind] {
			fields[o.String()+" "+strings.Join(path, ".")] = o.get(path...)
		}
		if o.kind == "Job" {
			fields[o.String()] = "a Job that is no hook cannot be upgraded"
		}
	}
	return fields
}

// changed are the fields that are in both and differ. What an upgrade adds or takes
// away changes nothing.
func changed(before, after map[string]any) map[string]string {
	found := make(map[string]string)
	for name := range before {
		if value, there := after[name]; there {
			if diff := cmp.Diff(before[name], value); diff != "" {
				found[name] = diff
			}
		}
	}
	return found
}

func TestUpgradesChangeNothingThatIsImmutable(t *testing.T) {
	t.Parallel()
	chart := readChart(t)
	if *record {
		recordRelease(t, chart)
	}
	versions, err := filepath.Glob("testdata/released/*")
	if err != nil || len(versions) == 0 {
		t.Fatalf("there is no release to upgrade from: %v", err)
	}
	slices.Sort(versions)
	for _, version := range versions[max(0, len(versions)-lastReleases):] {
		for _, name := range releasedSets {
			text, err := os.ReadFile(filepath.Join(version, name+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			before, err := readRelease(map[string]string{"passmend/templates/all": string(text)})
			if err != nil {
				t.Fatal(err)
			}
			on := clusters[name]
			on.upgrade = true
			after := mustRender(t, chart, readValues(t, "testdata/sets/"+name+".yaml"), on)
			for field, diff := range changed(frozen(before), frozen(after)) {
				t.Errorf("from %s, %s: %s (-before +after):\n%s", filepath.Base(version), name, field, diff)
			}
		}
	}
}

// recordRelease writes what is released. A version that is out is not written anew.
func recordRelease(t *testing.T, chart source) {
	t.Helper()
	var about struct{ Version string }
	if err := yaml.Unmarshal([]byte(chart["Chart.yaml"]), &about); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join("testdata/released", about.Version)
	if _, err := os.Stat(dir); err == nil {
		t.Fatalf("%s is released: raise the chart's version", about.Version)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range releasedSets {
		r := mustRender(t, chart, readValues(t, "testdata/sets/"+name+".yaml"), clusters[name])
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), r.manifests(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAChangeOfAnImmutableFieldIsFound(t *testing.T) {
	t.Parallel()
	chart := readChart(t)
	values := func() map[string]any { return readValues(t, "testdata/sets/sqlite.yaml") }
	before := frozen(mustRender(t, chart, values(), cluster{}))
	for _, fault := range []struct{ path, old, replacement string }{
		{"templates/_names.tpl", "app.kubernetes.io/component: {{ index . 1 }}", "app.kubernetes.io/component: {{ index . 1 }}\nteam: ours"},
		{"templates/volume.yaml", "[ReadWriteOnce]", "[ReadWriteOncePod]"},
	} {
		after := frozen(mustRender(t, chart.edited(t, fault.path, fault.old, fault.replacement), values(), cluster{upgrade: true}))
		if len(changed(before, after)) == 0 {
			t.Errorf("%s is not found among %v", fault.replacement, slices.Sorted(maps.Keys(after)))
		}
	}
}
