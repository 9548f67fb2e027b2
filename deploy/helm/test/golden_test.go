package helm

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestRenderedObjectsAreAsReviewed(t *testing.T) {
	t.Parallel()
	eachSet(t, readChart(t), func(t *testing.T, s set, r release) {
		golden(t, filepath.Join("testdata/golden", s.name+".yaml"), r.manifests())
	})
}

func TestNotesAreAsReviewed(t *testing.T) {
	t.Parallel()
	chart := readChart(t)
	for _, name := range []string{"minimal", "sqlite-providers", "everything"} {
		values := readValues(t, fmt.Sprintf("testdata/sets/%s.yaml", name))
		r := mustRender(t, chart, values, clusters[name])
		golden(t, filepath.Join("testdata/golden", name+".notes.txt"), []byte(r.notes))
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; go test ./... -update writes it", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-reviewed +rendered; go test ./... -update takes it over):\n%s", path, diff)
	}
}
