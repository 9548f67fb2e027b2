package oncall

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// golden is where the chart's reviewed objects are, of a release called reset.
const golden = root + "/deploy/helm/test/testdata/golden"

// parts of every runbook, in this order.
var parts = []string{"## Meaning", "## User impact", "## First look", "## Mitigate", "## Verify"}

func TestEveryRunbookHasItsParts(t *testing.T) {
	t.Parallel()
	index := readText(t, books+"/README.md")
	for _, path := range glob(t, books+"/*.md") {
		name, text := filepath.Base(path), readText(t, path)
		if name == "README.md" {
			continue
		}
		if !strings.Contains(index, "]("+name+")") {
			t.Errorf("%s is not in README.md", name)
		}
		if alertOf(text) == "" && !strings.Contains(text, "\nNo alert of its own") {
			t.Errorf("%s names no alert and does not say that it has none", name)
		}
		at := 0
		for _, part := range parts {
			next := strings.Index(text, "\n"+part+"\n")
			if next < at {
				t.Errorf("%s: %s is missing, or not in its place", name, part)
			}
			at = max(at, next)
		}
		if _, verify, _ := strings.Cut(text, parts[4]); len(strings.TrimSpace(verify)) == 0 {
			t.Errorf("%s does not say how to see that it is over", name)
		}
	}
}

// Links between runbooks lead somewhere.
func TestLinksOfRunbooksLeadSomewhere(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)]+)\)`)
	for _, path := range glob(t, books+"/*.md") {
		for _, found := range link.FindAllStringSubmatch(readText(t, path), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), found[1])); err != nil {
				t.Errorf("%s: %v", filepath.Base(path), err)
			}
		}
	}
}

// block is a fenced part of a runbook.
type block struct{ book, language, text string }

var fence = regexp.MustCompile("(?s)```([a-z]*)\n(.*?)```")

func blocks(t *testing.T, language string) (all []block) {
	t.Helper()
	for _, path := range glob(t, books+"/*.md") {
		for _, found := range fence.FindAllStringSubmatch(readText(t, path), -1) {
			if found[1] == language {
				all = append(all, block{filepath.Base(path), language, found[2]})
			}
		}
	}
	if len(all) == 0 {
		t.Fatalf("no runbook has a block of %s", language)
	}
	return all
}

// bookQueries are the queries of runbooks, one a line.
func bookQueries(t *testing.T) (all []query) {
	t.Helper()
	for _, b := range blocks(t, "promql") {
		for line := range strings.Lines(b.text) {
			all = append(all, query{b.book, strings.TrimSpace(line)})
		}
	}
	return all
}

// commands are the lines that a runbook says to type and that begin with a program,
// directly or in a pod.
func commands(t *testing.T, program string) (all []query) {
	t.Helper()
	for _, b := range blocks(t, "sh") {
		for line := range strings.Lines(b.text) {
			line = strings.TrimSpace(line)
			if _, inside, found := strings.Cut(line, " -- "); found && program == "passmend" {
				line = inside
			}
			if strings.HasPrefix(line, program+" ") {
				all = append(all, query{b.book, line})
			}
		}
	}
	if len(all) == 0 {
		t.Fatalf("no runbook has a command of %s", program)
	}
	return all
}

// build gives the directory with passmend and its plugins, built of the tree.
var build = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(scratch, "bin")
	command := exec.Command("go", "build", "-o", dir+"/", "./cmd/passmend", "./cmd/passmend-smtp", "./cmd/passmend-webhook")
	command.Dir, command.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return "", &buildError{err, string(output)}
	}
	return filepath.Abs(dir)
})

type buildError struct {
	err    error
	output string
}

func (b *buildError) Error() string { return b.err.Error() + "\n" + b.output }

// passmend runs the command; it gives what it printed and whether it succeeded.
func passmend(t *testing.T, dir string, env []string, args ...string) (string, bool) {
	t.Helper()
	binaries, err := build()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), filepath.Join(binaries, "passmend"), args...)
	command.Dir, command.Env = dir, env
	output, err := command.CombinedOutput()
	return string(output), err == nil
}

// Flags are read before the help is given: an unknown one is an error, as is a
// command that is not there.
func TestCommandsOfRunbooksExist(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range commands(t, "passmend") {
		args := append(strings.Fields(c.expr)[1:], "--help")
		output, ok := passmend(t, dir, nil, args...)
		if !ok || !isCommand(output, args) {
			t.Errorf("%s: %s\n%s", c.where, c.expr, output)
		}
	}
	if output, ok := passmend(t, dir, nil, "request", "show", "--no-such-flag", "--help"); ok {
		t.Errorf("an unknown flag is not found: %s", output)
	}
	for _, group := range []string{"request", "hold"} { // one that only groups, one that is a command too
		args := []string{group, "no-such-command", "--help"}
		if output, _ := passmend(t, dir, nil, args...); isCommand(output, args) {
			t.Errorf("an unknown command is not found: %s", output)
		}
	}
}

// isCommand says whether the help is that of the command that args name. An unknown
// command gets the help of the group that it is not in; where the group is a command
// too, it was meant if flags follow it.
func isCommand(help string, args []string) bool {
	if !strings.Contains(help, "Available Commands:") {
		return true
	}
	_, usage, _ := strings.Cut(help, "Usage:\n")
	usage, _, _ = strings.Cut(usage, "\n")
	words := strings.Fields(usage)
	flags := slices.IndexFunc(words, func(word string) bool { return strings.HasPrefix(word, "-") })
	return flags > 0 && flags <= len(args) && strings.HasPrefix(args[flags-1], "-")
}

// What kubectl is told to look at is there when the release is called passmend.
func TestObjectsOfRunbooksAreTheChart_s(t *testing.T) {
	t.Parallel()
	rendered := readText(t, golden+"/minimal.yaml") + readText(t, golden+"/sqlite.yaml") + readText(t, golden+"/monitoring-always.yaml") + readText(t, golden+"/everything.yaml")
	kinds := map[string]string{
		"deploy": "Deployment", "job": "Job", "jobs": "Job", "pods": "Deployment", "podmonitors": "PodMonitor",
		"networkpolicies": "NetworkPolicy", "persistentvolumeclaims": "PersistentVolumeClaim",
	}
	object := regexp.MustCompile(`([a-z]+)(?:/passmend(-[a-z]+))?`)
	target := regexp.MustCompile(`^kubectl -n NAMESPACE (?:get|describe|logs|exec|scale|rollout restart|rollout status) ([a-z,/-]+)((?: deploy/[a-z-]+)?)`)
	for _, c := range commands(t, "kubectl") {
		if strings.HasPrefix(c.expr, "kubectl auth can-i ") || strings.HasPrefix(c.expr, "kubectl -n NAMESPACE get secret ") {
			continue
		}
		named := target.FindStringSubmatch(c.expr)
		if named == nil {
			t.Errorf("%s: %s", c.where, c.expr)
			continue
		}
		for _, found := range object.FindAllStringSubmatch(named[1]+named[2], -1) {
			there := slices.ContainsFunc(strings.Split(rendered, "\n---"), func(document string) bool {
				return strings.Contains(document, "\nkind: "+kinds[found[1]]+"\n") && strings.Contains(document, "\n  name: reset-passmend"+found[2])
			})
			if !there {
				t.Errorf("%s: the chart has no %s", c.where, found[0])
			}
		}
	}
}
