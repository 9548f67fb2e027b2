package launch_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/serve"
	"github.com/passmend/passmend/plugins/sdk/serve/launch"
)

// TestMain makes this binary a provider when it is run as passmend-WAY.
func TestMain(m *testing.M) {
	if way, isPlugin := strings.CutPrefix(filepath.Base(os.Args[0]), "passmend-"); isPlugin {
		behave(way)
		return
	}
	goleak.VerifyTestMain(m)
}

func behave(way string) {
	handshake := func(network, address string) {
		fmt.Printf("1|2|%s|%s|grpc|%s\n", network, address, strings.Repeat("x", 80))
		time.Sleep(time.Hour)
	}
	switch way {
	case "exits":
		os.Exit(3)
	case "garbage":
		fmt.Println("Hello")
	case "long":
		fmt.Println(strings.Repeat("x", 70<<10))
	case "tcp":
		handshake("tcp", "127.0.0.1:1")
	case "elsewhere":
		handshake("unix", "/nowhere/socket")
	case "silent":
		time.Sleep(time.Hour)
	}
	fmt.Fprintln(os.Stderr, "before the handshake")
	serve.Provider(provider{})
	if way == "stubborn" {
		time.Sleep(time.Hour)
	}
}

// provider prints, and never answers Send.
type provider struct{}

func (provider) Describe(context.Context) (sdk.Description, error) {
	fmt.Println("on standard output " + strings.Repeat("x", 70<<10))
	fmt.Fprintln(os.Stderr, "on standard error")
	return sdk.Description{Name: "good", Version: "1.0.0"}, nil
}

func (provider) Health(context.Context) error              { return nil }
func (provider) Check(context.Context, sdk.Settings) error { return nil }
func (provider) Send(ctx context.Context, _ sdk.SendRequest) (sdk.Receipt, error) {
	<-ctx.Done()
	return sdk.Receipt{}, ctx.Err()
}

func start(t *testing.T, way string, versions ...int) (*launch.Process, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "passmend-"+way)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	p, err := launch.Start(t.Context(), launch.Config{Path: path, Versions: versions})
	if err == nil {
		t.Cleanup(func() { _ = p.Kill() })
	}
	return p, err
}

// eventually waits up to 10 s: what a provider prints comes beside its answers, in
// its own time.
func eventually(holds func() bool) bool {
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

func TestAProviderRuns(t *testing.T) {
	t.Parallel()
	p, err := start(t, "good")
	if err != nil {
		t.Fatal(err)
	}
	if d, err := p.Describe(t.Context()); err != nil || d.Name != "good" {
		t.Errorf("Describe = %+v, %v", d, err)
	}
	if p.Version() != serve.ProtocolVersion || p.PID() == 0 {
		t.Errorf("version %d, pid %d", p.Version(), p.PID())
	}
	socket := p.Socket()
	for _, want := range []string{"before the handshake", "on standard output xxx", "on standard error"} {
		if !eventually(func() bool { return strings.Contains(p.Output(), want) }) {
			t.Errorf("the output lacks %q", want)
		}
	}
	if err := p.Stop(); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if strings.Contains(p.Output(), "|grpc|") {
		t.Error("the handshake is in the output")
	}
	if _, err := net.Dial("unix", socket); err == nil {
		t.Error("somebody still listens")
	}
	if _, err := os.Stat(filepath.Dir(filepath.Dir(socket))); !os.IsNotExist(err) {
		t.Errorf("the directory of the socket: %v", err)
	}
}

func TestTheVersionIsNegotiated(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		offered []int
		want    int
	}{{[]int{1}, 1}, {[]int{1, 2}, 2}, {[]int{2, 9}, 2}} {
		p, err := start(t, "good", c.offered...)
		if err != nil {
			t.Errorf("offered %v: %v", c.offered, err)
			continue
		}
		if p.Version() != c.want {
			t.Errorf("offered %v: version %d, want %d", c.offered, p.Version(), c.want)
		}
	}
	if _, err := start(t, "good", 9); err == nil {
		t.Error("a host of version 9 was answered")
	}
}

// What a process did wrong is named, and nothing is left of it.
func TestStartNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for way, want := range map[string]string{
		"exits":     "ended (exit status 3)",
		"garbage":   "the first line",
		"long":      "longer than 16 KiB",
		"tcp":       "not a unix socket",
		"elsewhere": "not a unix socket",
	} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			if _, err := start(t, way); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Start = %v, want %q", err, want)
			}
		})
	}
	if _, err := launch.Start(t.Context(), launch.Config{Path: "/nonexistent"}); err == nil || !strings.Contains(err.Error(), "cannot be executed") {
		t.Errorf("Start = %v", err)
	}
}

func TestASilentProcessIsGivenUp(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "passmend-silent")
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := launch.Start(ctx, launch.Config{Path: path}); err == nil {
		t.Error("it started")
	}
	if took := time.Since(began); took > launch.StartTimeout {
		t.Errorf("it took %s", took)
	}
}

func TestOneThatDoesNotEndIsKilled(t *testing.T) {
	t.Parallel()
	p, err := start(t, "stubborn")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(); err == nil {
		t.Error("Stop did not say so")
	}
}

func TestKillEndsCallsAsUnknown(t *testing.T) {
	t.Parallel()
	p, err := start(t, "good")
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, func() { _ = p.Kill() })
	_, err = p.Send(t.Context(), sdk.SendRequest{Mail: &sdk.Mail{}})
	if err == nil || sdk.FailureOf(err).Kind != sdk.Unknown {
		t.Errorf("Send = %v", err)
	}
}
