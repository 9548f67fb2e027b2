// Package arrows proves that the import rules of .golangci.yaml work: that each
// forbidden arrow is reported, with a reason, and that no allowed one is.
//
// It runs the linter of bin/ itself on a module of stubs, in which every room
// has one file for each package that it could import. Without that, a rule that
// has stopped matching (a renamed folder, a list that nests) looks like a clean tree.
package arrows

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// root is the product's folder, seen from this package.
const root = "../.."

// planted is the module that holds the arrows. It is not the product's own
// module: planted in that, two rooms that import each other would not load.
const planted = "planted.example/rooms"

// An arrow is one import in one file of the planted module.
type arrow struct {
	file    string
	imports string
}

// TestArrows holds every arrow from every room, in production code and in
// tests, against the linter's reports, both ways.
func TestArrows(t *testing.T) {
	t.Parallel()
	want := map[arrow]bool{} // true: forbidden
	for _, r := range rooms {
		for path, forbidden := range imports(r) {
			want[arrow{file: filename(r.dir, path, false), imports: path}] = forbidden.production
			want[arrow{file: filename(r.dir, path, true), imports: path}] = forbidden.tests
		}
	}

	got := lint(t, plant(t, slices.Collect(maps.Keys(want))))

	for a, forbidden := range want {
		switch reports := got[a]; {
		case forbidden && len(reports) == 0:
			t.Errorf("forbidden, but not reported: %s imports %s", a.file, a.imports)
		case !forbidden && len(reports) > 0:
			t.Errorf("allowed, but reported: %s imports %s: %s", a.file, a.imports, reports[0].rule)
		}
	}
	used := map[string]bool{}
	for a, reports := range got {
		if _, ok := want[a]; !ok {
			t.Errorf("reported, but never planted: %s imports %s", a.file, a.imports)
		}
		explained := false
		for _, r := range reports {
			used[r.rule] = true
			explained = explained || r.reason != ""
		}
		if !explained {
			t.Errorf("reported without a reason: %s imports %s", a.file, a.imports)
		}
	}
	for _, rule := range rules(t) {
		if !used[rule] {
			t.Errorf("rule %s of .golangci.yaml reported nothing: it matches no file or no import", rule)
		}
	}
	t.Logf("%d arrows planted, %d reported, %d rules", len(want), len(got), len(used))
}

// verdict says where one import is forbidden.
type verdict struct{ production, tests bool }

// imports lists every package that is planted in a room, with the table's verdict.
func imports(r room) map[string]verdict {
	standardOnly := slices.Contains(onlyStandard, r.dir)
	all := map[string]verdict{}
	for _, target := range targets {
		all[module+"/"+target] = verdict{
			production: !slices.Contains(r.ours, target),
			tests:      !slices.Contains(r.testOurs, target),
		}
	}
	for name, path := range libraries {
		allowed := slices.Contains(r.libraries, name) || slices.Contains(anywhere, name) && !standardOnly
		all[path] = verdict{production: !allowed}
	}
	for _, path := range free {
		all[path] = verdict{}
	}
	for _, path := range banned {
		all[path] = verdict{production: true, tests: true}
	}
	return all
}

// plant writes the rooms with their arrows, and a stub of every package that
// they point at, so that nothing is fetched and nothing needs to be built.
func plant(t *testing.T, arrows []arrow) string {
	t.Helper()
	dir := t.TempDir()
	config, err := os.ReadFile(filepath.Join(root, ".golangci.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, ".golangci.yaml"), string(config))

	gomod := &strings.Builder{}
	fmt.Fprintf(gomod, "module %s\n\ngo 1.26\n", planted)
	stubs := map[string]bool{}
	for _, a := range arrows {
		write(t, filepath.Join(dir, a.file), fmt.Sprintf("package %s\n\nimport _ %q\n", packageOf(filepath.Dir(a.file)), a.imports))
		if !strings.Contains(strings.SplitN(a.imports, "/", 2)[0], ".") {
			continue // the standard library's
		}
		stub := moduleOf(a.imports)
		write(t, filepath.Join(dir, ".stubs", a.imports, "stub.go"), "package stub\n")
		if !stubs[stub] {
			stubs[stub] = true
			write(t, filepath.Join(dir, ".stubs", stub, "go.mod"), "module "+stub+"\n")
			version := "v0.0.0"
			if major := regexp.MustCompile(`/v(\d+)$`).FindStringSubmatch(stub); major != nil {
				version = "v" + major[1] + ".0.0"
			}
			fmt.Fprintf(gomod, "require %s %s\nreplace %s => ./.stubs/%s\n", stub, version, stub, stub)
		}
	}
	write(t, filepath.Join(dir, "go.mod"), gomod.String())
	return dir
}

// A report is what the linter said of one import.
type report struct{ rule, reason string }

// lint runs the import rules alone and returns the reports by arrow.
func lint(t *testing.T, dir string) map[arrow][]report {
	t.Helper()
	linter, err := filepath.Abs(filepath.Join(root, "bin", "golangci-lint"))
	if err != nil {
		t.Fatal(err)
	}
	// One line may break two rules, and the rules are counted: no merging by line.
	cmd := exec.Command(linter, "run", "--allow-parallel-runners", "--enable-only=depguard", "--uniq-by-line=false",
		"--issues-exit-code=0", "--output.json.path=stdout", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOLANGCI_LINT_CACHE="+t.TempDir(), "GOFLAGS=-mod=mod", "GOWORK=off", "GOPROXY=off")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("golangci-lint: %v\n%s%s", err, stdout.String(), stderr.String())
	}

	var answer struct {
		Issues []struct {
			FromLinter string
			Text       string
			Pos        struct{ Filename string }
		}
	}
	if err := json.NewDecoder(&stdout).Decode(&answer); err != nil {
		t.Fatalf("answer of golangci-lint: %v\n%s", err, stderr.String())
	}
	text := regexp.MustCompile(`^import '(.+)' is not allowed from list '(.+?)'(?:: (.+))?$`)
	got := map[arrow][]report{}
	for _, issue := range answer.Issues {
		match := text.FindStringSubmatch(issue.Text)
		if issue.FromLinter != "depguard" || match == nil {
			t.Fatalf("%s: not an import rule's report: %s: %s", issue.Pos.Filename, issue.FromLinter, issue.Text)
		}
		a := arrow{file: filepath.ToSlash(issue.Pos.Filename), imports: match[1]}
		got[a] = append(got[a], report{rule: match[2], reason: match[3]})
	}
	return got
}

// rules lists the import rules by name.
func rules(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, ".golangci.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Linters struct {
			Settings struct {
				Depguard struct {
					Rules map[string]any
				}
			}
		}
	}
	if err := yaml.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(config.Linters.Settings.Depguard.Rules))
}

// filename gives every import of a room a file of its own, so that one report never hides another.
func filename(dir, path string, test bool) string {
	name := strings.NewReplacer("/", "-", ".", "-").Replace(path)
	if test {
		return dir + "/" + name + "_test.go"
	}
	return dir + "/" + name + "-import.go"
}

// moduleOf is the stub module of an import path: ours, or the path itself up to its major version.
func moduleOf(path string) string {
	if strings.HasPrefix(path, module+"/") {
		return module
	}
	if before, _, found := strings.Cut(path, "/v2/"); found {
		return before + "/v2"
	}
	if before, _, found := strings.Cut(path, "/v5/"); found {
		return before + "/v5"
	}
	return path
}

func packageOf(dir string) string {
	return strings.ReplaceAll(filepath.Base(dir), "-", "")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
