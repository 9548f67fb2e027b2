package host

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/sdktest"
	"github.com/passmend/passmend/plugins/smtp/smtptest"
)

func TestAPluginStartsAndSends(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Options{TLS: "starttls", Users: map[string]string{"ada": canaryPassword}})
	b := setup(t, nil, "smtp")
	settings := string(server.Settings(`,"username":"ada"`))

	if err := b.Check(t.Context(), "smtp", request(settings).Settings); err != nil {
		t.Errorf("Check: %v", err)
	}
	receipt, err := b.Send(t.Context(), "smtp", request(settings))
	if err != nil || receipt.Outcome != sdk.Accepted || len(receipt.Steps) != 4 {
		t.Fatalf("Send = %+v, %v", receipt, err)
	}
	if taken := server.Messages(); len(taken) != 1 || taken[0].To[0] != canaryAddress {
		t.Errorf("taken %+v", taken)
	}
	description, err := b.Describe("smtp")
	if err != nil || description.Name != "smtp" {
		t.Errorf("Describe = %+v, %v", description, err)
	}
	if left := b.leftovers(t); len(left) < 3 { // the control: process, directories, socket
		t.Errorf("while it runs only %v is seen", left)
	}
	want := "started smtp " + description.Version + "\ncall smtp Check accepted\ncall smtp Send accepted\n"
	if diff := cmp.Diff(want, b.observed.String()); diff != "" {
		t.Errorf("observed (-want +got):\n%s", diff)
	}
}

func TestListShowsEveryPlugin(t *testing.T) {
	t.Parallel()
	b := setup(t, startOnce, "smtp", "exit")
	binary, err := os.ReadFile(filepath.Join(built, "passmend-smtp"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(binary)
	eventually(t, "the checksum", func() bool { return b.status(t, "smtp").Checksum != "" })
	list := b.List()
	if len(list) != 2 || list[1].PID == 0 || time.Since(list[1].Since) > time.Minute {
		t.Fatalf("list = %+v", list)
	}
	want := Status{
		Name: "smtp", Version: list[1].Version, Path: filepath.Join(b.dir, "passmend-smtp"), Checksum: hex.EncodeToString(sum[:]),
		State: StateUp, Contents: []sdk.Content{sdk.ContentMail},
		AnyPort: true,
	}
	if diff := cmp.Diff(want, list[1], cmpopts.IgnoreFields(Status{}, "PID", "Since", "Cage")); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if exit := list[0]; exit.Name != "exit" || exit.State != StateBackoff || exit.PID != 0 ||
		exit.LastError != "ended (exit status 3) before it was up" {
		t.Errorf("status = %+v", exit)
	}
}

func TestOnlyPluginsAreFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{
		"passmend": 0o755, "passmend-smtp": 0o755, "passmend-not-executable": 0o644, "passmend-": 0o755, "passmend-x": 0o755,
		"passmend-UPPER": 0o755, "passmend-smtp.sha256": 0o755, "other": 0o755, "passmend-ends-": 0o755,
		"passmend-" + strings.Repeat("a", 33): 0o755, "passmend-a1": 0o700,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "passmend-directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	found, err := find(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"smtp": filepath.Join(dir, "passmend-smtp"), "a1": filepath.Join(dir, "passmend-a1")}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	one := &Host{config: Config{Dir: dir, Only: "a1"}}
	if found, err := one.found(); err != nil || len(found) != 1 || found["a1"] == "" {
		t.Errorf("only a1: %v, %v", found, err)
	}
}

func TestAMissingPluginIsNamed(t *testing.T) {
	t.Parallel()
	b := setup(t, startOnce, "exit")
	for name, want := range map[string]string{"postmark": "is not installed", "exit": "is not up"} {
		_, send := b.Send(t.Context(), name, plain("{}"))
		check := b.Check(t.Context(), name, sdk.Settings{})
		_, describe := b.Describe(name)
		for method, err := range map[string]error{"Send": send, "Check": check, "Describe": describe} {
			failure := sdk.FailureOf(err)
			if !errors.Is(err, ErrUnavailable) || failure.Kind != sdk.Temporary || failure.Public == "" {
				t.Errorf("%s of %s = %v", method, name, err)
				continue
			}
			if method == "Describe" && name == "exit" && !strings.Contains(err.Error(), "exit status 3") {
				t.Errorf("Describe of %s: %q does not say why", name, err)
			}
			if !strings.Contains(err.Error(), strconv.Quote(name)) || method != "Describe" && !strings.Contains(err.Error(), want) {
				t.Errorf("%s of %s: %q", method, name, err)
			}
		}
	}
}

func TestConfigIsRefusedByName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{}, "Dir is required"},
		{Config{Dir: "x", StartTimeout: -1}, "StartTimeout"},
		{Config{Dir: "x", MaxCalls: -1}, "MaxCalls"},
	} {
		if _, err := New(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New = %v, want %q", err, c.want)
		}
	}
	for _, c := range []struct{ dir, sockets, want string }{
		{filepath.Join(t.TempDir(), "none"), "", "plugin directory"},
		{t.TempDir(), filepath.Join(t.TempDir(), "none"), "directory for plugin sockets"},
		{t.TempDir(), t.TempDir(), "too long"},
	} {
		h, err := New(Config{Dir: c.dir, SocketDir: c.sockets})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Start(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Start = %v, want %q", err, c.want)
		}
		if err := h.Stop(t.Context()); err != nil {
			t.Errorf("Stop after a failed Start = %v", err)
		}
	}
}

func TestAKilledPluginComesBack(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Options{})
	b := setup(t, nil, "smtp")
	first := b.status(t, "smtp").PID
	killed := time.Now()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a send after the kill", func() bool {
		_, err := b.Send(t.Context(), "smtp", plain(string(server.Settings(""))))
		return err == nil
	})
	t.Logf("working again after %s", time.Since(killed))
	status := b.status(t, "smtp")
	if status.PID == first || status.Restarts != 1 || status.LastError != "ended (signal: killed)" {
		t.Errorf("status = %+v", status)
	}
	if got := b.observed.String(); count(got, "exited smtp exit\n") != 1 || count(got, "started smtp") != 2 {
		t.Errorf("observed %q", got)
	}
}

func TestACallInFlightOfAKilledPluginIsUnknown(t *testing.T) {
	t.Parallel()
	reached := make(chan struct{})
	server := smtptest.StartScripted(t, func(_ int, verb string) string {
		if verb == smtptest.Dot {
			close(reached)
			return smtptest.Hang
		}
		return ""
	})
	b := setup(t, nil, "smtp")
	ended := make(chan error, 1)
	go func() {
		_, err := b.Send(t.Context(), "smtp", plain(scripted(server)))
		ended <- err
	}()
	<-reached
	if err := syscall.Kill(b.status(t, "smtp").PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if kindOf(err) != sdk.Unknown || errors.Is(err, ErrUnavailable) {
			t.Errorf("Send = %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the call did not end")
	}
}

func TestStopDrains(t *testing.T) {
	t.Parallel()
	reached, answer := make(chan struct{}), make(chan struct{})
	server := smtptest.StartScripted(t, func(_ int, verb string) string {
		if verb == smtptest.Dot {
			close(reached)
			<-answer
		}
		return ""
	})
	b := setup(t, nil, "smtp")
	ended := make(chan error, 1)
	go func() {
		_, err := b.Send(t.Context(), "smtp", plain(scripted(server)))
		ended <- err
	}()
	<-reached
	stopped := make(chan error, 1)
	go func() { stopped <- b.Stop(context.Background()) }()
	eventually(t, "new calls are refused", func() bool {
		err := b.Check(t.Context(), "smtp", sdk.Settings{})
		return errors.Is(err, ErrUnavailable) && strings.Contains(err.Error(), "stopping")
	})
	close(answer)
	if err := <-ended; err != nil {
		t.Errorf("the call in flight = %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Stop = %v", err)
	}
	if status := b.status(t, "smtp"); status.State != StateDown || status.PID != 0 {
		t.Errorf("status = %+v", status)
	}
}

func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) {
		c.Sandbox = SandboxOff // there would be no child
		c.DrainTimeout, c.StopTimeout = 50*time.Millisecond, 50*time.Millisecond
	}, "hang", "stubborn", "fork")
	ended := make(chan error, 1)
	go func() {
		_, err := b.Send(t.Context(), "hang", plain("{}"))
		ended <- err
	}()
	eventually(t, "the call is in flight", func() bool { return len(b.plugin("hang").slots) == 1 })
	eventually(t, "the child runs", func() bool {
		return slices.ContainsFunc(processesIn(t, b.dir), func(line string) bool { return strings.Contains(line, "-child") })
	})
	// One more that a signal cannot end politely.
	if err := syscall.Kill(b.status(t, "stubborn").PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	b.stop(t)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Stop took %s", took)
	}
	if err := <-ended; kindOf(err) != sdk.Unknown {
		t.Errorf("the call in flight = %v", err)
	}
}

func TestStopDuringTheStart(t *testing.T) {
	t.Parallel()
	for i := range 8 {
		b := &bundle{dir: pluginDir(t, "smtp", "silent"), sockets: socketDir(t)}
		h, err := New(Config{Dir: b.dir, SocketDir: b.sockets})
		if err != nil {
			t.Fatal(err)
		}
		b.Host = h
		if err := h.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 5 * time.Millisecond)
		b.stop(t)
	}
}

func TestCallsAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.MaxCalls, c.DrainTimeout = 2, time.Millisecond }, "hang")
	var sending sync.WaitGroup
	defer sending.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 2 {
		sending.Go(func() {
			if _, err := b.Send(ctx, "hang", plain("{}")); kindOf(err) != sdk.Unknown {
				t.Errorf("Send = %v", err)
			}
		})
	}
	eventually(t, "both are in flight", func() bool { return len(b.plugin("hang").slots) == 2 })
	short, end := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer end()
	_, err := b.Send(short, "hang", plain("{}"))
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "busy") {
		t.Errorf("the third call = %v", err)
	}
}

func TestACallWithoutADeadlineGetsOne(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.CallTimeout = 50 * time.Millisecond }, "hang")
	_, err := b.Send(context.WithoutCancel(t.Context()), "hang", plain("{}"))
	if kindOf(err) != sdk.Unknown {
		t.Errorf("Send = %v", err)
	}
}

// A plugin must not outlive a host that had no time to say goodbye, and must not
// die with a thread that merely ended.
func TestAPluginDiesWithItsHost(t *testing.T) {
	t.Parallel()
	dir, sockets := pluginDir(t, "smtp"), socketDir(t)
	keeper := exec.Command(filepath.Join(built, "keeper"), dir, sockets)
	keeper.Stderr = os.Stderr
	out, err := keeper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Scan()
	pid := lines.Text()
	lines.Scan()
	if got := lines.Text(); got != pid+" 0" {
		t.Errorf("after threads came and went: %q, want %q", got, pid+" 0")
	}
	if len(processesIn(t, dir)) != 1 {
		t.Error("the plugin is not running")
	}
	if err := keeper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = keeper.Wait()
	eventually(t, "the plugin is gone", func() bool { return len(processesIn(t, dir)) == 0 })
}

func TestConformanceOverTheProcess(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Options{})
	stalled := smtptest.StartScripted(t, func(int, string) string { return smtptest.Hang })
	b := setup(t, nil, "smtp")
	sdktest.ExerciseProvider(t, sdktest.Target{
		Provider: hosted{b.Host, "smtp"},
		Name:     "smtp",
		Settings: sdk.Settings{Values: server.Settings("")},
		Stalled:  sdk.Settings{Values: []byte(scripted(stalled))},
		Refused:  []sdktest.Refused{{Case: "no host", Settings: sdk.Settings{Values: []byte(`{}`)}, Names: "host"}},
		Inbox: smtptest.Inbox(server, func(message smtptest.Message) sdktest.Sent {
			parsed := smtptest.Parse(t, message.Raw)
			return sdktest.Sent{
				MessageID: parsed.MessageID(), To: strings.Join(message.To, ","), Text: parsed.Text, HTML: parsed.HTML,
			}
		}),
	})
}

// hosted is one plugin of a host, as a provider.
type hosted struct {
	host *Host
	name string
}

func (h hosted) Describe(context.Context) (sdk.Description, error) { return h.host.Describe(h.name) }
func (h hosted) Health(context.Context) error                      { return nil }
func (h hosted) Check(ctx context.Context, settings sdk.Settings) error {
	return h.host.Check(ctx, h.name, settings)
}
func (h hosted) Send(ctx context.Context, request sdk.SendRequest) (sdk.Receipt, error) {
	return h.host.Send(ctx, h.name, request)
}

// startOnce leaves a plugin that did not start as it is.
func startOnce(c *Config) { c.BackoffMin = time.Minute }

func scripted(s *smtptest.Scripted) string {
	return fmt.Sprintf(`{"host":%q,"port":%d,"tls":"none"}`, s.Host, s.Port)
}
