package host

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/passmend/passmend/plugins/sdk"
)

// T31: what a hostile plugin tries is denied, one by one, and what a provider needs
// is not. The control: without the cage it does succeed.
// It runs alone: it compares two runs of everything that a plugin can try, line by
// line of its log.
func TestT31WhatAHostilePluginTriesIsDenied(t *testing.T) {
	caged := tryActions(t, SandboxBestEffort)
	free := tryActions(t, SandboxOff)
	denied := 0
	for name, outcome := range free {
		// Some are denied to most anyway.
		shown := !strings.HasPrefix(name, "anyway: ") && (os.Geteuid() == 0 || !strings.HasPrefix(name, "as root: "))
		if shown && outcome != "done" {
			t.Errorf("the control: %s without the cage: %s", name, outcome)
		}
		want := "denied"
		if strings.HasPrefix(name, "allowed: ") {
			want = "done"
		}
		if got, _, _ := strings.Cut(caged[name], " "); got != want {
			t.Errorf("%s: %q, want %s", name, caged[name], want)
		} else if want == "denied" && shown {
			denied++
			t.Logf("%s: %s", name, caged[name])
		}
	}
	if denied < 25 {
		t.Errorf("only %d actions were tried", denied)
	}
	t.Logf("%d denied", denied)
}

// tryActions runs the plugin that tries everything and gives what became of each.
func tryActions(t *testing.T, sandbox Sandbox) map[string]string {
	t.Helper()
	targets := struct {
		Host, Elsewhere, Allowed int
		Dir, Socket, Abstract    string
	}{Host: os.Getpid(), Elsewhere: listen(t, "tcp", "127.0.0.1:0"), Allowed: listen(t, "tcp", "127.0.0.1:0"), Dir: t.TempDir()}
	// Of a length that the filter of calls takes for an address of the internet.
	targets.Abstract = fmt.Sprintf("@passmend-%-16d", time.Now().UnixNano()%1e16)
	listen(t, "unix", targets.Abstract)
	for _, name := range []string{"database", "config"} {
		if err := os.WriteFile(filepath.Join(targets.Dir, name), []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := setup(t, func(c *Config) {
		c.Sandbox, c.AnyPort, c.MaxLines = sandbox, false, 1000
		c.Verify = func(string, string, [sha256.Size]byte) (Grant, error) {
			return Grant{Ports: []uint16{uint16(targets.Allowed)}}, nil
		}
	}, "actions", "smtp")
	// Where the machine is busy, a first start may have run out of time.
	eventually(t, "smtp is up", func() bool { return b.status(t, "smtp").State == StateUp })
	targets.Socket = b.plugin("smtp").instance.process.socket
	settings, err := json.Marshal(targets)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = b.Send(t.Context(), "actions", plain(string(settings))) // it may have become another program
	if err := os.Rename(filepath.Join(targets.Dir, "config.gone"), filepath.Join(targets.Dir, "config")); (err == nil) != (sandbox == SandboxOff) {
		t.Errorf("the configuration: %v", err)
	}
	// The last of all; without the cage it succeeds, and nothing more is said.
	const last = "become another program"
	lastTold := "allowed: make a thread"
	if sandbox != SandboxOff {
		lastTold = last
	}
	outcomes := make(map[string]string)
	eventually(t, "every action is told", func() bool {
		for line := range strings.Lines(b.log.String()) {
			var entry struct{ Line string }
			if json.Unmarshal([]byte(line), &entry) != nil {
				continue
			}
			if action, ok := strings.CutPrefix(entry.Line, "action "); ok {
				// Names may hold a colon, as in "as root: ".
				at := strings.LastIndex(action, ": done")
				if at < 0 {
					at = strings.Index(action, ": denied")
				}
				outcomes[action[:at]] = action[at+2:]
			}
		}
		return outcomes[lastTold] != ""
	})
	if outcomes[last] == "" {
		outcomes[last] = "done"
	}
	return outcomes
}

// listen takes connections until the test ends, and gives the port.
func listen(t *testing.T, network, address string) int {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	if tcp, ok := listener.Addr().(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}

// What the kernel of this machine cannot do is told, and nothing else is missing.
func TestEveryLayerIsTold(t *testing.T) {
	t.Parallel()
	told := make(chan string, 100)
	b := setup(t, func(c *Config) {
		c.AnyPort = false
		c.Sandboxed = func(name, layer string, active bool) { told <- fmt.Sprint(name, " ", layer, " ", active) }
	}, "smtp")
	var want []Layer
	abi := landlockABI()
	since := map[string]int{layerFiles: abiFiles, layerPorts: abiPorts, layerScope: abiScope, layerUnix: abiUnix, layerUDP: abiUDP}
	for _, name := range LayerNames() {
		want = append(want, Layer{Name: name, Active: since[name] <= abi})
	}
	got := b.status(t, "smtp").Cage
	for i := range got {
		if (got[i].Reason == "") != got[i].Active {
			t.Errorf("%s: reason %q", got[i].Name, got[i].Reason)
		}
		if line, want := <-told, fmt.Sprint("smtp ", got[i].Name, " ", got[i].Active); line != want {
			t.Errorf("told %q, want %q", line, want)
		}
		got[i].Reason = ""
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
}

// However many layers are missing there is one line, which names each and says what
// can be done; a restart is no news. The metric has each layer at every start.
func TestTheGapsOfACageAreOneLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Config)
		remedy string
	}{
		"off":         {func(c *Config) { c.Sandbox = SandboxOff }, "PASSMEND_PLUGIN_SANDBOX"},
		"development": {func(c *Config) { c.AnyPort = true }, ""}, // the kernel's gaps are of this machine
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var starts atomic.Int64
			b := setup(t, func(config *Config) {
				c.change(config)
				config.Sandboxed = func(string, string, bool) { starts.Add(1) }
			}, "smtp")
			first := b.status(t, "smtp")
			if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is up again", func() bool {
				status := b.status(t, "smtp")
				return status.State == StateUp && status.PID != first.PID && starts.Load() == 2*int64(len(LayerNames()))
			})
			var lines []string
			for line := range strings.Lines(b.log.String()) {
				if strings.Contains(line, "plugin cage has") {
					lines = append(lines, line)
				}
			}
			if len(lines) != 1 {
				t.Fatalf("the log has %d lines of gaps: %q", len(lines), lines)
			}
			for _, gap := range gapsOf(first.Cage) {
				if !strings.Contains(lines[0], gap.Name) || !strings.Contains(lines[0], gap.Reason) {
					t.Errorf("%s, %q, is not in %s", gap.Name, gap.Reason, lines[0])
				}
			}
			if !strings.Contains(lines[0], `"remedy":"`) || !strings.Contains(lines[0], c.remedy) {
				t.Errorf("no remedy in %s", lines[0])
			}
		})
	}
}

func TestARequiredLayerThatIsMissingKeepsAPluginFromStarting(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string // empty: it starts
	}{
		{"no helper", func(c *Config) { c.Helper = "" }, `plugin "smtp": the sandbox is required and its layer sealed_binary is missing: the host has no cage helper`},
		{"a helper that is none", func(c *Config) { c.Helper = "/bin/true" }, "ended (exit status 0) before it was up"},
		{"all there", func(*Config) {}, ""},
	} {
		if c.want == "" && landlockABI() < abiScope {
			continue // it cannot be shown here
		}
		b := setup(t, func(config *Config) {
			startOnce(config)
			config.Sandbox, config.AnyPort = SandboxRequired, false
			c.change(config)
		}, "smtp")
		if got := b.status(t, "smtp"); got.LastError != c.want {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	// In the helper: one layer that is not there, of those that it would apply.
	layers := []Layer{{Name: layerSealed, Active: true}, {Name: layerParentDeath, Reason: "no"}}
	if layer, ok := missing(layers); !ok || layer.Name != layerParentDeath {
		t.Errorf("missing = %+v, %v", layer, ok)
	}
	layers[1].Active = true
	if layer, ok := missing(layers); !ok || layer.Name != layerNoNewPrivs {
		t.Errorf("missing = %+v, %v", layer, ok)
	}
}

// Where memfds may not be executed a private file is, and the layer says so.
func TestAPrivateFileIsExecutedWhereNoMemfdMayBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, err := os.CreateTemp(dir, "binary-")
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(built, "passmend-smtp"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(content); err != nil {
		t.Fatal(err)
	}
	sealed, err := finishSeal(file, file.Name())
	if err != nil {
		t.Fatal(err)
	}
	private := &binary{file: sealed, path: file.Name(), layer: Layer{Name: layerSealed, Reason: "no memfd"}}
	b := setup(t, nil, "smtp")
	p := b.plugin("smtp")
	running, err := p.run(t.Context(), private, nil)
	if err != nil {
		t.Fatal(err)
	}
	running.stop(time.Second)
	if layers := running.process.layers; len(layers) != len(LayerNames()) || layers[0].Active {
		t.Errorf("layers = %+v", layers)
	}
	if info, err := os.Stat(private.path); err != nil || info.Mode().Perm() != 0o500 {
		t.Errorf("private file: %v, %v", info.Mode(), err)
	}
}

// A sealed copy cannot be changed, grown, shrunk or unsealed, by us neither.
func TestASealedCopyCannotBeChanged(t *testing.T) {
	t.Parallel()
	b, err := seal("smtp", filepath.Join(built, "passmend-smtp"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	_, write := b.file.WriteAt([]byte("x"), 0)
	_, unseal := unix.FcntlInt(b.file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_FUTURE_WRITE)
	for what, err := range map[string]error{
		"write": write, "shrink": b.file.Truncate(1), "grow": b.file.Truncate(1 << 30), "seal": unseal,
	} {
		if err == nil {
			t.Errorf("%s: it could", what)
		}
	}
}

func TestPortsAreWhatThePluginDescribesUnlessApproved(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		grant Grant
		want  []uint16
	}{
		{"described", Grant{}, []uint16{25, 465, 587, 2525}},
		{"described and added", Grant{AddedPorts: []uint16{1025, 25}}, []uint16{25, 465, 587, 1025, 2525}},
		{"approved", Grant{Ports: []uint16{587}}, []uint16{587}},
		{"approved and added", Grant{Ports: []uint16{}, AddedPorts: []uint16{1025}}, []uint16{1025}},
	} {
		b := setup(t, func(config *Config) {
			config.AnyPort = false
			config.Verify = func(string, string, [sha256.Size]byte) (Grant, error) { return c.grant, nil }
		}, "smtp")
		got, all, err := b.AllowedPorts("smtp")
		if err != nil || all != (landlockABI() < abiPorts) || cmp.Diff(c.want, got) != "" {
			t.Errorf("%s: %v, %v, %v", c.name, got, all, err)
		}
		// The start that asks for the ports is told to nobody; the other just after it is up.
		starts := func() int { return count(b.observed.String(), "started smtp") }
		eventually(t, "the start is told", func() bool { return starts() > 0 })
		if starts := starts(); starts != 1 {
			t.Errorf("%s: %d starts are told", c.name, starts)
		}
	}
}

func TestSettingsThatNameAnotherPortAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) {
		c.AnyPort = false
		c.Verify = func(string, string, [sha256.Size]byte) (Grant, error) { return Grant{Ports: []uint16{587, 443}}, nil }
	}, "quiet")
	if landlockABI() < abiPorts {
		return // nothing bounds the ports, and nothing is refused
	}
	for _, c := range []struct{ settings, want string }{
		{`{"port":587}`, ""},
		{`{"port":2525}`, "port: port 2525 is not allowed for this provider; allowed: 443, 587"},
		{`{"server":"https://api.example/x"}`, ""},
		{`{"server":"http://api.example/x"}`, "server: port 80 is not allowed for this provider; allowed: 443, 587"},
		{`{"server":"https://api.example:8443"}`, "server: port 8443 is not allowed for this provider; allowed: 443, 587"},
		{`{"port":"2525","retries":9,"host":"a.example:99"}`, ""}, // nothing that is a port
		{`not JSON`, ""}, // the plugin's to refuse
	} {
		got := ""
		if err := b.Check(t.Context(), "quiet", sdk.Settings{Values: []byte(c.settings)}); err != nil {
			got = sdk.FailureOf(err).Public
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.settings, got, c.want)
		}
	}
}
