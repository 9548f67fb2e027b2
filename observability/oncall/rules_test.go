package oncall

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/yaml"
)

const (
	root    = "../.."
	alerts  = "../alerts"
	panels  = "../dashboards"
	books   = root + "/docs/runbooks"
	bookURL = "https://github.com/passmend/passmend/blob/main/docs/runbooks/"
)

// rule is one of a rules file, as Prometheus reads it.
type rule struct {
	Record      string            `json:"record"`
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// ruleTest is one of a file of `promtool test rules`.
type ruleTest struct {
	Name   string `json:"name"`
	Series []struct {
		Series string `json:"series"`
	} `json:"input_series"`
	Checks []struct {
		Samples []struct {
			Labels string `json:"labels"`
		} `json:"exp_samples"`
	} `json:"promql_expr_test"`
}

// readYAML reads a file into value, by value's JSON names.
func readYAML(t *testing.T, path string, value any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content, err := yaml.Parser().Unmarshal(text)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	raw, err := json.Marshal(content)
	if err == nil {
		err = json.Unmarshal(raw, value)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// ruleFiles are the rules by file; tests of rules are beside them.
func ruleFiles(t *testing.T) map[string][]rule {
	t.Helper()
	files := make(map[string][]rule)
	for _, path := range glob(t, alerts+"/*.yaml") {
		if strings.HasSuffix(path, "_test.yaml") {
			continue
		}
		var file struct {
			Groups []struct {
				Rules []rule `json:"rules"`
			} `json:"groups"`
		}
		readYAML(t, path, &file)
		for _, group := range file.Groups {
			files[path] = append(files[path], group.Rules...)
		}
	}
	if len(files) == 0 {
		t.Fatal("there are no rules")
	}
	return files
}

func allRules(t *testing.T) (all []rule) {
	t.Helper()
	for _, rules := range ruleFiles(t) {
		all = append(all, rules...)
	}
	return all
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(paths), err)
	}
	return paths
}

func TestEveryAlertSaysWhatItIsAndWhereToLook(t *testing.T) {
	t.Parallel()
	boards := readDashboards(t)
	linked := make(map[string]bool)
	for _, r := range allRules(t) {
		if r.Alert == "" {
			continue
		}
		for _, fault := range faultsOf(r, boards) {
			t.Errorf("%s: %s", r.Alert, fault)
		}
		linked[strings.TrimPrefix(r.Annotations["runbook_url"], bookURL)+" "+r.Alert] = true
	}
	// And back: what a runbook says that it is for leads to it.
	for _, path := range glob(t, books+"/*.md") {
		name := filepath.Base(path)
		if name == "README.md" {
			continue
		}
		alert := alertOf(readText(t, path))
		if alert != "" && !linked[name+" "+alert] {
			t.Errorf("%s is for %s, which does not lead to it", name, alert)
		}
		delete(linked, name+" "+alert)
	}
	for missing := range linked {
		t.Errorf("no runbook says that it is for: %s", missing)
	}
	// The control.
	if faults := faultsOf(rule{Alert: "Other", Annotations: map[string]string{"runbook_url": bookURL + "none.md"}}, boards); len(faults) != 6 {
		t.Errorf("of an alert with nothing these are found: %q", faults)
	}
}

func faultsOf(r rule, boards map[string]dashboard) (faults []string) {
	if !strings.HasPrefix(r.Alert, "Passmend") {
		faults = append(faults, "its name must begin with Passmend")
	}
	if severity := r.Labels["severity"]; severity != "page" && severity != "ticket" {
		faults = append(faults, "its severity must be page or ticket")
	}
	for _, annotation := range []string{"summary", "description"} {
		if r.Annotations[annotation] == "" {
			faults = append(faults, "it has no "+annotation)
		}
	}
	book, ours := strings.CutPrefix(r.Annotations["runbook_url"], bookURL)
	if _, err := os.Stat(filepath.Join(books, book)); !ours || err != nil {
		faults = append(faults, "its runbook is not there")
	}
	if _, ok := boards[strings.TrimPrefix(r.Annotations["dashboard_url"], "/d/")]; !ok {
		faults = append(faults, "its dashboard is not there")
	}
	return faults
}

// alertOf is the alert that a runbook says it is for; empty: none.
func alertOf(text string) string {
	found := regexp.MustCompile("(?m)^Alert: `([A-Za-z0-9]+)`").FindStringSubmatch(text)
	if found == nil {
		return ""
	}
	return found[1]
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every alert is seen to fire, and to keep quiet though it is fed. That it does so,
// promtool says: TestAlertsDoWhatTheirTestsSay.
func TestEveryAlertHasATestThatFiresAndOneThatDoesNot(t *testing.T) {
	t.Parallel()
	for path, rules := range ruleFiles(t) {
		var file struct {
			Tests []ruleTest `json:"tests"`
		}
		readYAML(t, strings.TrimSuffix(path, ".yaml")+"_test.yaml", &file)
		recorded := recordings(rules)
		for _, r := range rules {
			if r.Alert == "" {
				continue
			}
			fires, quiet := false, r.Alert == "PassmendAbsent" // every test with a replica
			for _, test := range file.Tests {
				for _, check := range test.Checks {
					named := slices.ContainsFunc(check.Samples, func(s struct {
						Labels string `json:"labels"`
					}) bool {
						return strings.Contains(s.Labels, `"`+r.Alert+`"`)
					})
					fires = fires || named
					quiet = quiet || !named && feeds(test, r.Expr, recorded)
				}
			}
			if !fires || !quiet {
				t.Errorf("%s: a test in which it fires: %t; in which it is fed and does not: %t", r.Alert, fires, quiet)
			}
		}
	}
}

// recordings are the expressions of recorded series, by their names.
func recordings(rules []rule) map[string]string {
	recorded := make(map[string]string)
	for _, r := range rules {
		if r.Record != "" {
			recorded[r.Record] += " + " + r.Expr
		}
	}
	return recorded
}

// feeds says whether a test has a series that an expression reads, directly or by
// recordings.
func feeds(test ruleTest, expr string, recorded map[string]string) bool {
	read := []string{expr}
	seen := make(map[string]bool)
	for len(read) > 0 {
		next := read[0]
		read = read[1:]
		for _, name := range metricsIn(next) {
			if seen[name] {
				continue
			}
			seen[name] = true
			if under, ok := recorded[name]; ok {
				read = append(read, under)
			}
		}
	}
	return slices.ContainsFunc(test.Series, func(s struct {
		Series string `json:"series"`
	}) bool {
		name, _, _ := strings.Cut(s.Series, "{")
		return seen[name] && name != "passmend_build_info"
	})
}

var (
	quoted   = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	selector = regexp.MustCompile(`\{[^{}]*\}`)
	labels   = regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)`)
	windows  = regexp.MustCompile(`\[[^\[\]]*\]|\boffset\s+\w+`)
	word     = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*\s*\(?`)
)

// metricsIn gives the metrics that an expression reads, each once: what is left of it
// without strings, labels, windows, functions and operators.
func metricsIn(expr string) (names []string) {
	for _, strip := range []*regexp.Regexp{quoted, selector, labels, windows} {
		expr = strip.ReplaceAllString(expr, " ")
	}
	for _, found := range word.FindAllString(expr, -1) {
		name := strings.TrimSpace(found)
		if strings.HasSuffix(name, "(") || slices.Contains([]string{"and", "or", "unless", "bool", "e", "Inf", "NaN", "by"}, name) || slices.Contains(names, name) {
			continue
		}
		names = append(names, name)
	}
	return names
}

func TestMetricsOfAnExpressionAreFound(t *testing.T) {
	t.Parallel()
	got := metricsIn(`topk(5, sum by (le, provider) (rate(a_total{b=~"c{d}",e="f"}[5m] offset 1h))) / on (x) group_left () passmend:y:rate5m or 0 * z > 2`)
	if want := []string{"a_total", "passmend:y:rate5m", "z"}; !slices.Equal(got, want) {
		t.Errorf("they are %q, not %q", got, want)
	}
}

// OpenMetrics writes whole seconds as 5.0: an edge that is written one way only
// finds nothing in the other.
func TestWholeEdgesAreWrittenBothWays(t *testing.T) {
	t.Parallel()
	whole := regexp.MustCompile(`le="[0-9]+(\.0)?"`)
	for _, q := range allQueries(t) {
		if found := whole.FindString(q.expr); found != "" {
			t.Errorf("%s: %s", q.where, found)
		}
	}
}

// allQueries are those of rules, panels and runbooks.
func allQueries(t *testing.T) (all []query) {
	t.Helper()
	for _, r := range allRules(t) {
		all = append(all, query{r.Record + r.Alert, r.Expr})
	}
	for _, board := range readDashboards(t) {
		all = append(all, board.queries()...)
	}
	return append(all, bookQueries(t)...)
}
