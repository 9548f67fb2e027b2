package helm

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// passmend is the command that the image holds, built of the tree.
var passmend = sync.OnceValues(func() (string, error) {
	return compile(rootDir, "./cmd/passmend", "-tags", "nomsgpack,grpcnotrace", "-ldflags", "-s -w")
})

// run gives what the command prints, and its exit status.
func run(t *testing.T, env []string, args ...string) (string, int) {
	t.Helper()
	tool, err := passmend()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(tool, args...)
	command.Env, command.Dir = env, t.TempDir()
	output, err := command.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(output), command.ProcessState.ExitCode()
}

func TestEveryContainerRunsACommandThatExists(t *testing.T) {
	t.Parallel()
	chart := readChart(t)
	ran := make(map[string]bool)
	for _, s := range readSets(t) {
		pods, err := mustRender(t, chart, s.values, s.on).pods()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pods {
			for _, c := range p.containers() {
				line := strings.Join(c.Args, " ")
				if ran[line] {
					continue
				}
				ran[line] = true
				// Flags are read before the help is given: an unknown one is an error.
				if output, status := run(t, nil, append(slices.Clone(c.Args), "--help")...); status != 0 {
					t.Errorf("%s, %s: passmend %s: %s", p.owner, c.Name, line, output)
				}
			}
		}
	}
	if output, status := run(t, nil, "serve", "--no-such-flag", "--help"); status == 0 {
		t.Errorf("an unknown flag is not found: %s", output)
	}
}

// The notes and the README name commands too.
func TestEveryCommandToTypeExists(t *testing.T) {
	t.Parallel()
	chart := readChart(t)
	written := mustRender(t, chart, minimal(t, ""), cluster{}).notes + chart["README.md"]
	commands := regexp.MustCompile(`(?m)(?:/usr/local/bin/|^|\x60)passmend ([a-z]+(?: [a-z]+)?)`)
	found := commands.FindAllStringSubmatch(written, -1)
	if len(found) < 3 {
		t.Fatalf("only %d commands are named", len(found))
	}
	for _, command := range found {
		args := strings.Fields(command[1])
		if output, status := run(t, nil, append(args, "--help")...); status != 0 {
			t.Errorf("passmend %s: %s", command[1], output)
		}
	}
}

// environment is what a container's process would get, its files in dir.
func environment(r release, c corev1.Container, dir string) ([]string, error) {
	var env []string
	for _, from := range c.EnvFrom {
		for _, o := range r.objects {
			if o.kind != "ConfigMap" || o.name != from.ConfigMapRef.Name {
				continue
			}
			var settings corev1.ConfigMap
			if err := o.into(&settings); err != nil {
				return nil, err
			}
			for name, value := range settings.Data {
				env = append(env, name+"="+value)
			}
		}
	}
	for _, variable := range c.Env {
		if strings.HasPrefix(variable.Value, "/") {
			variable.Value = filepath.Join(dir, variable.Value)
		}
		env = append(env, variable.Name+"="+variable.Value)
	}
	return env, nil
}

// Every setting that is rendered is one that the service accepts: it goes on to its
// keys file, which is not there.
func TestTheServiceAcceptsItsSettings(t *testing.T) {
	t.Parallel()
	chart := readChart(t)
	for _, s := range readSets(t) {
		if s.values["tracing"] != nil {
			continue // it would look for the collector before it looks for the keys
		}
		output := startServer(t, mustRender(t, chart, s.values, s.on))
		if !strings.Contains(output, "keys file") || strings.Contains(output, "must be") {
			t.Errorf("%s: %s", s.name, output)
		}
	}
	wrong := chart.edited(t, "templates/_server.tpl", `value: ":9090"`, `value: "9090"`)
	if output := startServer(t, mustRender(t, wrong, minimal(t, ""), cluster{})); !strings.Contains(output, "PASSMEND_ADMIN_ADDR") {
		t.Errorf("a wrong address is not found: %s", output)
	}
}

// startServer starts the first server of a release, which has no keys file.
func startServer(t *testing.T, r release) string {
	t.Helper()
	pods, err := r.pods()
	if err != nil {
		t.Fatal(err)
	}
	server := slices.IndexFunc(pods, func(p pod) bool { return strings.HasPrefix(p.owner, "Deployment/") })
	dir := t.TempDir()
	for _, key := range []string{"passmend.yaml", "settings.yaml"} {
		path := filepath.Join(dir, "etc/passmend/database", key)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("database_url: postgres://passmend@127.0.0.1:1/passmend\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	container := pods[server].Spec.Containers[0]
	env, err := environment(r, container, dir)
	if err != nil {
		t.Fatal(err)
	}
	output, status := run(t, env, container.Args...)
	if status != 2 {
		t.Errorf("exit status %d: %s", status, output)
	}
	return output
}
