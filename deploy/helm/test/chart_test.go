package helm

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/yaml"
)

const (
	chartDir = "../passmend"
	// rootDir is the product's.
	rootDir = "../../.."
	// copies is where the chart has its copies of alerts and dashboards.
	copies = "files/"
)

// source is a chart's files by their path within it.
type source map[string]string

// readChart reads the chart's files. Alerts and dashboards are those of testdata,
// so that what they say is not part of every golden file.
func readChart(t *testing.T) source {
	t.Helper()
	files := make(source)
	files.read(t, chartDir, func(path string) bool { return !strings.HasPrefix(path, copies) })
	files.read(t, "testdata", func(path string) bool { return strings.HasPrefix(path, copies) })
	return files
}

func (s source) read(t *testing.T, dir string, wanted func(path string) bool) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		inside, err := filepath.Rel(dir, path)
		if err != nil || !wanted(filepath.ToSlash(inside)) {
			return err
		}
		content, err := os.ReadFile(path)
		s[filepath.ToSlash(inside)] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// edited is a copy with every old in a file replaced. It has to be there: a control
// that changes nothing proves nothing.
func (s source) edited(t *testing.T, path, old, replacement string) source {
	t.Helper()
	if !strings.Contains(s[path], old) {
		t.Fatalf("%s does not hold %q", path, old)
	}
	edited := maps.Clone(s)
	edited[path] = strings.ReplaceAll(s[path], old, replacement)
	return edited
}

// cluster is what a chart may ask of the one it is rendered for.
type cluster struct {
	version  string // of Kubernetes; empty: 1.30
	operator bool   // whether it knows the Prometheus operator's types
	upgrade  bool
}

func (c cluster) capabilities() (*common.Capabilities, error) {
	version, err := common.ParseKubeVersion(cmp.Or(c.version, "v1.30.0"))
	if err != nil {
		return nil, err
	}
	capabilities := common.DefaultCapabilities.Copy()
	capabilities.KubeVersion = *version
	capabilities.APIVersions = slices.Clone(capabilities.APIVersions)
	if c.operator {
		capabilities.APIVersions = append(capabilities.APIVersions, "monitoring.coreos.com/v1")
	}
	return capabilities, nil
}

const (
	releaseName = "reset"
	namespace   = "accounts"
)

// release is what a chart comes to.
type release struct {
	objects []object
	notes   string
}

// object is a rendered one: what it says, and where it is from.
type object struct {
	kind, name, template string
	content              map[string]any
	text                 []byte
}

func (o object) String() string { return o.kind + "/" + o.name }

// get walks into the object; nil where there is nothing.
func (o object) get(path ...string) any {
	var value any = o.content
	for _, name := range path {
		inside, _ := value.(map[string]any)
		value = inside[name]
	}
	return value
}

// into reads the object as its type, strictly.
func (o object) into(value any) error { return yaml.UnmarshalStrict(o.text, value) }

// find gives the object of a kind and name, without the release's own part of it.
func (r release) find(t *testing.T, kind, suffix string) object {
	t.Helper()
	for _, o := range r.objects {
		if o.kind == kind && strings.TrimPrefix(o.name, "reset-passmend") == suffix {
			return o
		}
	}
	t.Fatalf("there is no %s %q", kind, suffix)
	return object{}
}

// render renders as `helm template` does: values are merged and checked, templates
// run, and every document is read.
func (s source) render(values map[string]any, on cluster) (release, error) {
	var files []*archive.BufferedFile
	for _, name := range slices.Sorted(maps.Keys(s)) {
		files = append(files, &archive.BufferedFile{Name: name, Data: []byte(s[name])})
	}
	chart, err := loader.LoadFiles(files)
	if err != nil {
		return release{}, err
	}
	capabilities, err := on.capabilities()
	if err != nil {
		return release{}, err
	}
	all, err := util.ToRenderValues(chart, values, common.ReleaseOptions{
		Name: releaseName, Namespace: namespace, Revision: 1, IsInstall: !on.upgrade, IsUpgrade: on.upgrade,
	}, capabilities)
	if err != nil {
		return release{}, err
	}
	texts, err := engine.Render(chart, all)
	if err != nil {
		return release{}, err
	}
	return readRelease(texts)
}

func readRelease(texts map[string]string) (release, error) {
	var r release
	for path, text := range texts {
		template := strings.TrimPrefix(path, "passmend/templates/")
		if template == "NOTES.txt" {
			r.notes = text
			continue
		}
		for document := range strings.SplitSeq("\n"+text, "\n---") {
			o, err := readObject(document)
			if err != nil {
				return r, fmt.Errorf("%s: %w", template, err)
			}
			if o.content != nil {
				o.template = template
				r.objects = append(r.objects, o)
			}
		}
	}
	slices.SortFunc(r.objects, func(a, b object) int { return strings.Compare(a.String(), b.String()) })
	return r, nil
}

func readObject(document string) (object, error) {
	var o object
	if err := yaml.UnmarshalStrict([]byte(document), &o.content); err != nil || len(o.content) == 0 {
		return object{}, err
	}
	o.kind, _ = o.get("kind").(string)
	o.name, _ = o.get("metadata", "name").(string)
	if o.kind == "" || o.name == "" {
		return o, errors.New("an object without kind or name")
	}
	// Anew, so that two renderings differ only in what they say.
	var err error
	o.text, err = yaml.Marshal(o.content)
	return o, err
}

// manifests is the whole release as one file.
func (r release) manifests() []byte {
	var text bytes.Buffer
	for _, o := range r.objects {
		fmt.Fprintf(&text, "---\n# %s\n%s", o.template, o.text)
	}
	return text.Bytes()
}

func readValues(t *testing.T, path string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parseValues(t, string(text))
}

func parseValues(t *testing.T, text string) map[string]any {
	t.Helper()
	values, err := loader.LoadValues(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return values
}
