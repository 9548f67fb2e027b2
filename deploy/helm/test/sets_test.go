package helm

import (
	"path/filepath"
	"strings"
	"testing"
)

// set is a way to install the chart: a file of testdata/sets, and what it is
// installed on.
type set struct {
	name   string
	values map[string]any
	on     cluster
}

// clusters are those of the sets that need more than a plain one.
var clusters = map[string]cluster{
	"bundle-image":       {version: "v1.33.4"},
	"everything":         {version: "v1.35.1", upgrade: true},
	"monitoring-service": {operator: true},
	"monitoring-never":   {operator: true},
	"sqlite":             {operator: true},
}

// leastSets is how many there have to be.
const leastSets = 24

func readSets(t *testing.T) []set {
	t.Helper()
	paths, err := filepath.Glob("testdata/sets/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var sets []set
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		sets = append(sets, set{name: name, values: readValues(t, path), on: clusters[name]})
	}
	if len(sets) < leastSets {
		t.Fatalf("there are %d sets of values, not %d", len(sets), leastSets)
	}
	return sets
}

// eachSet runs a check on what every set comes to.
func eachSet(t *testing.T, chart source, check func(t *testing.T, s set, r release)) {
	t.Helper()
	for _, s := range readSets(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r, err := chart.render(s.values, s.on)
			if err != nil {
				t.Fatal(err)
			}
			check(t, s, r)
		})
	}
}

// minimal is the smallest set of values, with more laid over it.
func minimal(t *testing.T, over string) map[string]any {
	t.Helper()
	values := readValues(t, "testdata/sets/minimal.yaml")
	merge(values, parseValues(t, over))
	return values
}

func merge(into, over map[string]any) {
	for key, value := range over {
		inside, both := into[key].(map[string]any)
		deeper, deep := value.(map[string]any)
		if both && deep {
			merge(inside, deeper)
			continue
		}
		into[key] = value
	}
}

func mustRender(t *testing.T, chart source, values map[string]any, on cluster) release {
	t.Helper()
	r, err := chart.render(values, on)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The examples are to be copied: they have to render, and to fit together.
func TestTheExamplesRender(t *testing.T) {
	t.Parallel()
	chart := readChart(t)
	secrets := chart["examples/externalsecret.yaml"]
	for _, name := range []string{"values-postgres", "values-sqlite"} {
		r := mustRender(t, chart, parseValues(t, chart["examples/"+name+".yaml"]), cluster{operator: true})
		pods, err := r.pods()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pods {
			for _, v := range p.Spec.Volumes {
				if v.Secret != nil && !strings.Contains(secrets, "target:\n    name: "+v.Secret.SecretName+"\n") {
					t.Errorf("%s: %s names a Secret that examples/externalsecret.yaml does not make", name, p.owner)
				}
			}
		}
	}
	for _, path := range []string{"examples/externalsecret.yaml", "examples/keda-scaledobject.yaml"} {
		for document := range strings.SplitSeq("\n"+chart[path], "\n---") {
			if _, err := readObject(document); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}
