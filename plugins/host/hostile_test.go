package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/smtp/smtptest"
)

// end is how a plugin ended, for the observer and for the operator.
type end struct{ reason, text string }

// T33: none of these comes up, each says why, and the plugin beside them works all the
// while.
func TestT33APluginThatDoesNotComeUp(t *testing.T) {
	t.Parallel()
	want := map[string]end{
		"exit":            {reasonExit, "ended (exit status 3) before it was up"},
		"exit-late":       {reasonExit, "ended (exit status 2) before it was up"},
		"garbage":         {reasonHandshake, "handshake: the first line on its standard output is not one"},
		"long-before":     {reasonHandshake, "the first line on its standard output is longer than 16 KiB"},
		"endless":         {reasonHandshake, "the first line on its standard output is longer than 16 KiB"},
		"tcp":             {reasonHandshake, "handshake: its address is not a unix socket"},
		"file":            {reasonHandshake, "handshake: its address is not a unix socket"},
		"outside":         {reasonHandshake, "handshake: its socket is not in the directory it was given"},
		"version":         {reasonHandshake, "handshake: it speaks neither version 2 nor 1 of the contract"},
		"no-certificate":  {reasonHandshake, "handshake: its certificate cannot be read"},
		"bad-certificate": {reasonHandshake, "handshake: its certificate cannot be read"},
		"no-tls":          {reasonDescribe, "Describe: the provider process ended during the call gRPC Unavailable"},
		"wrong-name":      {reasonDescribe, "Describe: the name is not that of the executable"},
		"no-contents":     {reasonDescribe, "Describe: no contents"},
		"describe-fails":  {reasonDescribe, "Describe: the provider gave no usable answer not today"},
		"describe-exits":  {reasonExit, "ended (exit status 4) before it was up"},
	}
	server := smtptest.Start(t, smtptest.Options{})
	b := setup(t, func(c *Config) {
		c.Sandbox = SandboxOff            // it would keep some from getting so far
		c.StartTimeout = 30 * time.Second // nothing here is to depend on it
		// Once each: twenty processes that start again and again tell nothing more.
		c.BackoffMin = time.Minute
	}, append(slices.Collect(maps.Keys(want)), "smtp")...)
	if _, err := b.Send(t.Context(), "smtp", plain(string(server.Settings("")))); err != nil {
		t.Errorf("the plugin beside them: %v", err)
	}
	if diff := cmp.Diff(want, b.ends(t, slices.Collect(maps.Keys(want))), cmp.AllowUnexported(end{})); diff != "" {
		t.Errorf("ends (-want +got):\n%s", diff)
	}
	for name, end := range want { // as an operator reads it
		if told := fmt.Sprintf(`"plugin":%q,"reason":%q,"error":%q`, name, end.reason, end.text); !strings.Contains(b.log.String(), told) {
			t.Errorf("the log lacks %s", told)
		}
	}
	if strings.Contains(b.log.String(), "somebody connected") {
		t.Error("the host dialled the TCP address")
	}
	if others := processesIn(t, b.dir); len(others) != 1 {
		t.Errorf("running: %v", others)
	}
}

// ends gives how plugins that are not up ended.
func (b *bundle) ends(t *testing.T, names []string) map[string]end {
	t.Helper()
	ends := make(map[string]end)
	for _, name := range names {
		status := b.status(t, name)
		if status.State != StateBackoff || status.PID != 0 {
			t.Errorf("%s: status = %+v", name, status)
		}
		reason := ""
		for line := range strings.Lines(b.observed.String()) {
			if rest, ok := strings.CutPrefix(line, "exited "+name+" "); ok {
				reason = strings.TrimSpace(rest)
			}
		}
		ends[name] = end{reason, status.LastError}
	}
	return ends
}

func TestAPluginThatTakesTooLongToComeUp(t *testing.T) {
	t.Parallel()
	names := []string{"silent", "mute", "describe-hangs"}
	began := time.Now()
	b := setup(t, func(c *Config) { c.StartTimeout, c.BackoffMin = 700*time.Millisecond, time.Minute }, names...)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s to give up", took)
	}
	want := make(map[string]end)
	for _, name := range names {
		want[name] = end{reasonTimeout, "was not up within 700ms"}
	}
	if diff := cmp.Diff(want, b.ends(t, names), cmp.AllowUnexported(end{})); diff != "" {
		t.Errorf("ends (-want +got):\n%s", diff)
	}
	if left := processesIn(t, b.dir); len(left) != 0 {
		t.Errorf("running: %v", left)
	}
}

// One plugin's start never delays another's.
func TestASilentPluginDelaysNobody(t *testing.T) {
	t.Parallel()
	b := &bundle{dir: pluginDir(t, "smtp", "silent"), sockets: socketDir(t)}
	h, err := New(Config{Dir: b.dir, SocketDir: b.sockets, StartTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	b.Host = h
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer b.stop(t)
	eventually(t, "smtp is up", func() bool { return b.status(t, "smtp").State == StateUp })
	if state := b.status(t, "silent").State; state != StateStarting {
		t.Errorf("silent is %s", state)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := h.Ready(short); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `"silent"`) {
		t.Errorf("Ready = %v", err)
	}
	if _, err := h.Send(short, "silent", plain("{}")); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Send = %v", err)
	}
}

func TestT32APluginThatMisbehavesInACall(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, "panic", "die", "huge", "giant", "long-line", "flood", "eat", "bomb", "hang")
	short := func(name string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := b.Send(ctx, name, plain("{}"))
		return err
	}
	for _, c := range []struct {
		name   string
		want   sdk.Outcome
		public string
	}{
		{"panic", sdk.Unknown, "the provider broke down during the call"},
		{"die", sdk.Unknown, "the provider process ended during the call"},
		{"huge", sdk.Unknown, "the provider's answer is too large"},
		{"giant", sdk.Unknown, "the provider's answer is too large"},
		{"eat", sdk.Unknown, "the provider process ended during the call"},
		{"bomb", sdk.Temporary, "no process can be made"},
	} {
		err := short(c.name)
		if failure := sdk.FailureOf(err); err == nil || failure.Kind != c.want || failure.Public != c.public {
			t.Errorf("%s: %+v", c.name, failure)
		}
		if err != nil && !strings.HasPrefix(err.Error(), fmt.Sprintf("plugin %q: %s: %s", c.name, c.want, c.public)) {
			t.Errorf("%s: the error is %v", c.name, err)
		}
	}
	b.everyCallHangs(t)
	for _, name := range []string{"long-line", "flood"} {
		for range 2 { // a wedged plugin would not answer the second time
			if err := short(name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if err := b.Check(t.Context(), "panic", sdk.Settings{}); kindOf(err) != sdk.Unknown {
		t.Errorf("Check = %v", err)
	}
	for _, name := range []string{"panic", "huge", "giant", "long-line", "flood", "bomb", "hang"} {
		if status := b.status(t, name); status.State != StateUp || status.Restarts != 0 {
			t.Errorf("%s: %+v", name, status)
		}
	}
	eventually(t, "die is up again", func() bool {
		status := b.status(t, "die")
		return status.State == StateUp && status.Restarts == 1 && status.LastError == "ended (exit status 7)"
	})
	eventually(t, "dropped lines are told", func() bool { return strings.Contains(b.log.String(), "plugin lines dropped") })
	if n := count(b.log.String(), "a line like any other"); n == 0 || n > 2000 {
		t.Errorf("%d of 40,000 lines were logged", n)
	}
	eventually(t, "the panic is logged", func() bool { return strings.Contains(b.log.String(), "panic in Send") })
}

// everyCallHangs: Send, Check and ParseEvent of a plugin that hangs in each end with
// the caller's deadline.
func (b *bundle) everyCallHangs(t *testing.T) {
	t.Helper()
	for method, call := range map[string]func(context.Context) error{
		"Send":  func(ctx context.Context) error { _, err := b.Send(ctx, "hang", plain("{}")); return err },
		"Check": func(ctx context.Context) error { return b.Check(ctx, "hang", sdk.Settings{}) },
		"ParseEvent": func(ctx context.Context) error {
			_, err := b.ParseEvent(ctx, "hang", sdk.Settings{}, sdk.Callback{})
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := call(ctx)
		cancel()
		if want := `plugin "hang": unknown: the provider did not answer in time`; err == nil || err.Error() != want {
			t.Errorf("%s = %v, want %s", method, err, want)
		}
	}
}

func TestAnUnhealthyPluginIsReplaced(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) {
		c.HealthEvery, c.HealthTimeout = 20*time.Millisecond, 200*time.Millisecond
	}, "ill", "health-hangs", "smtp")
	stopped := b.status(t, "smtp").PID
	if err := syscall.Kill(stopped, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ill", "health-hangs", "smtp"} {
		eventually(t, name+" is replaced", func() bool {
			status := b.status(t, name)
			return status.Restarts > 0 && status.LastError == "did not answer three health calls in a row"
		})
	}
	eventually(t, "the stopped process is gone", func() bool { return syscall.Kill(stopped, 0) == syscall.ESRCH })
	if !strings.Contains(b.observed.String(), "exited ill health") {
		t.Errorf("observed %q", b.observed.String())
	}
}

func TestAPluginSeesNothingOfTheHostsEnvironment(t *testing.T) {
	t.Setenv("PASSMEND_CANARY", "x")
	b := setup(t, nil, "environment")
	receipt, err := b.Send(t.Context(), "environment", plain("{}"))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(receipt.MessageID)
	slices.Sort(got)
	want := []string{
		"GOMEMLIMIT", "PASSMEND_PLUGIN", "PATH", "PLUGIN_CLIENT_CERT", "PLUGIN_MAX_PORT", "PLUGIN_MIN_PORT",
		"PLUGIN_PROTOCOL_VERSIONS", "PLUGIN_UNIX_SOCKET_DIR",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	// The control: what the host's own process has is more than that.
	if !slices.ContainsFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PASSMEND_CANARY=") }) {
		t.Error("the host has no canary")
	}
}

// What a plugin prints of a request comes out redacted, on every stream it has.
func TestSecretsThatAPluginPrintsAreRedacted(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.MaxLines = 1000 }, "prints", "quotes")
	if _, err := b.Send(t.Context(), "prints", request("{}")); err != nil {
		t.Fatal(err)
	}
	// The control: the lines do arrive, with what is not secret.
	eventually(t, "every line", func() bool { return count(b.log.String(), `"plugin line"`) == 12 })
	log := b.log.String()
	if n := count(log, "subject harmless-subject to [redacted] link [redacted] token [redacted] password [redacted]"); n != 4 {
		t.Errorf("%d redacted lines, want 4", n)
	}
	_, err := b.Send(t.Context(), "quotes", request("{}"))
	failure := sdk.FailureOf(err)
	if failure.Kind != sdk.RecipientRefused || !strings.Contains(failure.Private, "harmless-subject") {
		t.Errorf("failure = %+v", failure)
	}
	if strings.ContainsAny(failure.Public, "\r\n\x1b") {
		t.Errorf("public text = %q", failure.Public)
	}
	for _, text := range []string{log, failure.Public, failure.Private, err.Error()} {
		if hit := leak(text); hit != "" {
			t.Errorf("%s is told", hit)
		}
	}
	// The control of the search: without redaction each would be found.
	for _, text := range []string{canaryLink, canaryToken, canaryAddress, canaryPassword} {
		if leak("line "+text+" line") == "" {
			t.Errorf("the search does not find %q", text)
		}
	}
}

// leak names what text tells of a request, in whole or in good part.
func leak(text string) string {
	for name, part := range map[string]string{
		"the token": canaryToken[:24], "the address": canaryAddress, "the password": canaryPassword[:12],
		"the link in base64": "aHR0cHM6Ly9yZXNldC5leGFtcGxl", "the link": "reset.example.com/r",
	} {
		if strings.Contains(text, part) {
			return name
		}
	}
	return ""
}

// A plugin that holds every call must not keep another from answering.
func TestOneHangingPluginDelaysNobody(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Options{})
	b := setup(t, func(c *Config) { c.DrainTimeout = time.Millisecond }, "hang", "smtp")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var hanging sync.WaitGroup
	defer hanging.Wait()
	defer cancel()
	for range 64 {
		hanging.Go(func() { _, _ = b.Send(ctx, "hang", plain("{}")) })
	}
	eventually(t, "all hang", func() bool { return len(b.plugin("hang").slots) == 64 })
	for range 20 {
		began := time.Now()
		if _, err := b.Send(t.Context(), "smtp", plain(string(server.Settings("")))); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("a call took %s", took)
		}
	}
}

// T32: everything at once; BenchmarkBesideHostilePlugins measures each. The host stays up, a good provider answers, and
// nothing is left behind (which setup looks for).
func TestT32AGoodProviderAnswersBesideAllOfThem(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) {
		c.StartTimeout, c.DrainTimeout, c.BackoffMin = 10*time.Second, time.Millisecond, 100*time.Millisecond
	}, append(misbehaviours(), "quiet")...)
	eventually(t, "the good one is up", func() bool { return b.status(t, "quiet").State == StateUp })
	ctx, cancel := context.WithCancel(t.Context())
	var calling sync.WaitGroup
	defer calling.Wait()
	defer cancel()
	b.provoke(ctx, &calling, misbehaviours())
	for range 200 {
		began := time.Now()
		if _, err := b.Send(t.Context(), "quiet", plain("{}")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("a call took %s", took)
		}
	}
	if status := b.status(t, "quiet"); status.Restarts != 0 {
		t.Errorf("status = %+v", status)
	}
}

// misbehaviours are the ways to behave badly that a plugin has here.
func misbehaviours() []string {
	return []string{
		"no-tls", "tcp", "long-before", "long-line", "silent", "exit", "panic", "hang", "describe-hangs", "health-hangs",
		"huge", "giant", "flood", "bomb", "eat", "prints", "die", "endless",
	}
}

// provoke calls every one of names again and again until ctx ends.
func (b *bundle) provoke(ctx context.Context, calling *sync.WaitGroup, names []string) {
	for _, name := range names {
		calling.Go(func() {
			for ctx.Err() == nil {
				short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
				_, _ = b.Send(short, name, plain("{}"))
				_ = b.Check(short, name, sdk.Settings{})
				<-short.Done() // five times a second each
				cancel()
			}
		})
	}
}
