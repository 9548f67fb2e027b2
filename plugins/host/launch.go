package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/serve"
)

// searchPath is the plugins' PATH: fixed, so that nothing of the host's is told.
const searchPath = "/usr/local/bin:/usr/bin:/bin"

// sameDeadline is how much earlier the plugin's end of a call may notice a deadline
// than the host's own timer.
const sameDeadline = 20 * time.Millisecond

// maxSchema bounds the settings schema of a plugin, in bytes.
const maxSchema = 256 << 10

// instance is a process that is up.
type instance struct {
	process     *process
	client      *goplugin.Client
	provider    sdk.Provider
	description sdk.Description
	calls       sync.WaitGroup // in flight; Add only under plugin.mu and while it is plugin.instance
}

// launch brings a process up within StartTimeout: of the executable as it lies in
// the directory now, verified. After an error nothing is left of it.
func (p *plugin) launch(ctx context.Context) (*instance, error) {
	ctx, cancel := context.WithTimeout(ctx, p.host.config.StartTimeout)
	defer cancel()
	b, err := p.choose()
	if err != nil {
		return nil, err
	}
	running, err := p.launchBinary(ctx, b)
	if err != nil {
		p.reject(b)
		return nil, err
	}
	p.adopt(b)
	return running, nil
}

// launchBinary verifies and starts b. Where its ports are to be its own choice and
// are not known yet, it is asked for them first, in a cage without any.
func (p *plugin) launchBinary(ctx context.Context, b *binary) (*instance, error) {
	if err := p.verify(b); err != nil {
		return nil, err
	}
	if p.asksForPorts(b) {
		asked, err := p.run(ctx, b, &sdk.Permissions{})
		if err != nil {
			return nil, err
		}
		b.asked = &asked.description.Permissions
		asked.stop(p.host.config.StopTimeout)
	}
	running, err := p.run(ctx, b, b.asked)
	if err != nil {
		return nil, err
	}
	p.told(running.process, b)
	return running, nil
}

// run starts a process and brings it up. asked is what it may have of what is its
// own choice; nil: there is no choice.
func (p *plugin) run(ctx context.Context, b *binary, asked *sdk.Permissions) (*instance, error) {
	memory := b.memory(p.host.config.MemoryLimit, asked)
	proc := newProcess(p.path, b, p.host.spawner, p.lines)
	if err := p.cage(proc, memory, asked); err != nil {
		return nil, err
	}
	config := serve.ClientConfig(
		func(cmd *exec.Cmd, dir string) (runner.Runner, error) {
			proc.prepare(environment(cmd.Env, memory), dir)
			return proc, nil
		},
		proc.dial,
		p.lines.writer("stdout"),
		p.lines.writer("stderr"),
	)
	config.StartTimeout = p.host.config.StartTimeout
	config.UnixSocketConfig = &goplugin.UnixSocketConfig{TempDir: p.host.base.path}
	running := &instance{process: proc, client: goplugin.NewClient(config)}

	var err error
	connected := make(chan struct{})
	go func() {
		defer close(connected)
		err = running.connect(ctx)
	}()
	p.addProcess(proc)
	select {
	case <-connected:
	case <-ctx.Done():
		// First the connection, so that go-plugin sees a connection that failed
		// and not a cancelled context: after that it would forget to close it
		// (v1.8.0, newGRPCClient).
		proc.sever()
		proc.kill()
		<-connected
	}
	deadline, _ := ctx.Deadline()
	switch {
	case ctx.Err() != nil, err != nil && time.Until(deadline) < sameDeadline:
		err = &endError{reasonTimeout, fmt.Sprintf("was not up within %s", p.host.config.StartTimeout)}
	case err == nil:
		err = p.acceptable(running.description)
	}
	if err != nil {
		err = proc.explain(err)
		running.stop(p.host.config.StopTimeout)
		p.lines.flush()
		return nil, err
	}
	return running, nil
}

// environment is all that the plugin sees: go-plugin's variables, a fixed PATH and
// a goal for Go's collector that leaves a tenth of the memory to everything else.
func environment(handshake []string, memory int64) []string {
	return append([]string{
		"PATH=" + searchPath,
		"GOMEMLIMIT=" + strconv.FormatInt(memory/10*9, 10),
	}, handshake...)
}

// connect takes the handshake and asks for the description. go-plugin panics on
// some of what a plugin may print, so every step is guarded.
func (i *instance) connect(ctx context.Context) (err error) {
	defer i.process.setConnected()
	defer func() {
		if value := recover(); value != nil {
			err = &endError{reasonHandshake, "broke the handshake"}
		}
	}()
	if _, err := i.client.Start(); err != nil {
		return &endError{reasonHandshake, "did not complete the handshake"}
	}
	protocol, err := i.client.Client()
	if err != nil {
		return &endError{reasonHandshake, "could not be connected to"}
	}
	dispensed, err := protocol.Dispense(serve.Name)
	if err != nil {
		return &endError{reasonHandshake, "does not offer the provider service"}
	}
	provider, ok := dispensed.(sdk.Provider)
	if !ok {
		return &endError{reasonHandshake, "does not offer the provider service"}
	}
	i.provider = provider
	i.description, err = provider.Describe(ctx)
	if err != nil {
		return &endError{reasonDescribe, "Describe: " + describeFailure(err)}
	}
	return nil
}

func describeFailure(err error) string {
	failure := sdk.FailureOf(err)
	return printable(strings.TrimSpace(failure.Public+" "+failure.Private), 256)
}

// acceptable holds the description against sdk.Description's rules.
func (p *plugin) acceptable(d sdk.Description) error {
	wrong := func(what string) error { return &endError{reasonDescribe, "Describe: " + what} }
	switch {
	case d.Name != p.name:
		return wrong("the name is not that of the executable")
	case d.Version == "" || len(d.Version) > 64 || d.Version != printable(d.Version, 64):
		return wrong("the version is not 1 to 64 printable characters")
	case len(d.Contents) == 0:
		return wrong("no contents")
	case len(d.SettingsSchema) > maxSchema || !isObject(d.SettingsSchema):
		return wrong("the settings schema is not a JSON object of at most 256 KiB")
	}
	for _, content := range d.Contents {
		if content != sdk.ContentMail && content != sdk.ContentEvent {
			return wrong("unknown content")
		}
	}
	return nil
}

func isObject(text []byte) bool {
	var object map[string]json.RawMessage
	return json.Unmarshal(text, &object) == nil && object != nil
}

// stop asks the process to end, and kills its group when it has not after the
// given time. It returns when the process is gone and go-plugin has let go of it.
// go-plugin's Kill alone has no deadline (v1.8.0).
func (i *instance) stop(timeout time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }() // a broken client is being thrown away
		i.client.Kill()
	}()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	i.process.kill()
	<-done
	i.process.wait()
}

// explain prefers what the process itself is known to have done over the error
// that go-plugin saw, which may come a moment earlier.
func (p *process) explain(err error) error {
	if fault := p.faultError(); fault != nil {
		return fault
	}
	var end *endError
	if errors.As(err, &end) && end.reason == reasonTimeout {
		return err
	}
	select {
	case <-p.exited:
		if cause := p.end(); cause != nil {
			return &endError{reasonExit, cause.Error() + " before it was up"}
		}
	case <-time.After(2 * outputGrace):
	}
	return err
}
