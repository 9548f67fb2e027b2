package host

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/passmend/passmend/plugins/sdk"
)

// built is where TestMain put the executables.
var built string

func TestMain(m *testing.M) {
	if status, cage := Cage(os.Args); cage {
		os.Exit(status)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "passmend-host-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	built = dir
	// Static, as plugins are shipped.
	build := exec.Command("go", "build", "-o", dir, "../../cmd/passmend-smtp", "./testdata/cage", "./testdata/hostile", "./testdata/keeper")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the plugins: %v\n%s", err, out)
		return 1
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// pluginDir gives a directory with an executable for every name: our SMTP
// provider, or the hostile one in that mode.
func pluginDir(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		source := "hostile"
		if name == "smtp" {
			source = "passmend-smtp"
		}
		if err := os.Symlink(filepath.Join(built, source), filepath.Join(dir, "passmend-"+name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// bundle is a running host and what it said.
type bundle struct {
	*Host
	dir, sockets string
	log          *buffer
	observed     *observed
}

// setup starts a host over the named plugins and waits until each has settled.
// Config may be changed; the directories are the bundle's.
func setup(t *testing.T, change func(*Config), names ...string) *bundle {
	t.Helper()
	b := &bundle{dir: pluginDir(t, names...), sockets: socketDir(t), log: &buffer{}, observed: &observed{}}
	config := Config{
		Dir: b.dir, SocketDir: b.sockets, Observer: b.observed,
		Logger: slog.New(slog.NewJSONHandler(b.log, nil)), StartTimeout: 20 * time.Second,
		// Not this program: the race detector does not live within the limits of a cage.
		Helper: filepath.Join(built, "cage"), AnyPort: true, // servers of tests have ports of their own
	}
	if change != nil {
		change(&config)
	}
	h, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	b.Host = h
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.stop(t) })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := h.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return b
}

// stop stops the host and looks for what is left behind.
func (b *bundle) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := b.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if left := b.leftovers(t); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// leftovers gives the processes that run out of the plugin directory and the files
// in the socket directory.
func (b *bundle) leftovers(t *testing.T) []string {
	t.Helper()
	left := processesIn(t, b.dir)
	err := filepath.WalkDir(b.sockets, func(path string, _ os.DirEntry, err error) error {
		if path != b.sockets && !os.IsNotExist(err) {
			left = append(left, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}

func processesIn(t *testing.T, dir string) []string {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range lines {
		// A process that ended meanwhile, or is a zombie, has no command line.
		if line, err := os.ReadFile(path); err == nil && bytes.HasPrefix(line, []byte(dir)) {
			found = append(found, path+" "+string(line))
		}
	}
	return found
}

// socketDir is short, as t.TempDir is not.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ph")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (b *bundle) status(t *testing.T, name string) Status {
	t.Helper()
	for _, status := range b.List() {
		if status.Name == name {
			return status
		}
	}
	t.Fatalf("no plugin %q", name)
	return Status{}
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never happened: %s", what)
		}
	}
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// observed keeps what an Observer is told, one line each, without durations.
type observed struct{ buffer }

func (o *observed) PluginStarted(name, version string) { fmt.Fprintln(o, "started", name, version) }
func (o *observed) PluginExited(name, reason string)   { fmt.Fprintln(o, "exited", name, reason) }
func (o *observed) Call(_ context.Context, name, method, outcome string, _ time.Duration) {
	fmt.Fprintln(o, "call", name, method, outcome)
}
func (o *observed) Line(string, string, bool) {}

const (
	canaryLink     = "https://reset.example.com/r/AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA"
	canaryToken    = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA"
	canaryAddress  = "canary.ada@example.com"
	canaryPassword = "canary-p@ss=word&1"
)

// request is a mail with settings as JSON and a secret.
func request(settings string) sdk.SendRequest {
	return sdk.SendRequest{
		IdempotencyKey: "key",
		Settings: sdk.Settings{
			Values:  []byte(settings),
			Secrets: map[string]sdk.Secret{"password": sdk.NewSecret(canaryPassword)},
		},
		Mail: &sdk.Mail{
			From:      sdk.Mailbox{Address: "noreply@acme.example"},
			To:        sdk.Mailbox{Address: canaryAddress},
			Subject:   "harmless-subject",
			Text:      "Hello\n\n" + canaryLink + "\n",
			MessageID: "id@acme.example",
			Facts:     sdk.Facts{Template: "reset", Link: sdk.NewSecret(canaryLink)},
		},
	}
}

// plain is request without the secret, for a server without authentication.
func plain(settings string) sdk.SendRequest {
	r := request(settings)
	r.Settings.Secrets = nil
	return r
}

func kindOf(err error) sdk.Outcome {
	if err == nil {
		return sdk.Accepted
	}
	return sdk.FailureOf(err).Kind
}

func count(text, part string) int { return strings.Count(text, part) }
