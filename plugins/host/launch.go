package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/serve"
)

// searchPath is the plugins' PATH: fixed, so that nothing of the host's is told.
const searchPath = "/usr/local/bin:/usr/bin:/bin"

// maxSchema bounds the settings schema of a plugin, in bytes.
const maxSchema = 256 << 10

// instance is a process that is up.
type instance struct {
	process     *process
	client      *goplugin.Client
	provider    sdk.Provider
	description sdk.Description
}

// launch starts the process and brings it up within StartTimeout. After an error
// nothing is left of it.
func (p *plugin) launch(ctx context.Context) (*instance, error) {
	ctx, cancel := context.WithTimeout(ctx, p.host.config.StartTimeout)
	defer cancel()
	proc := newProcess(p.path, p.host.spawner, p.lines)
	config := serve.ClientConfig(
		func(cmd *exec.Cmd, dir string) (runner.Runner, error) {
			proc.prepare(p.environment(cmd.Env), dir)
			return proc, nil
		},
		proc.dial,
		p.lines.writer("stdout"),
		p.lines.writer("stderr"),
	)
	config.StartTimeout = p.host.config.StartTimeout
	config.UnixSocketConfig = &goplugin.UnixSocketConfig{TempDir: p.host.base}
	running := &instance{process: proc, client: goplugin.NewClient(config)}

	var err error
	connected := make(chan struct{})
	go func() {
		defer close(connected)
		err = running.connect(ctx)
	}()
	p.setProcess(proc)
	select {
	case <-connected:
	case <-ctx.Done():
		// First the connection, so that go-plugin sees a connection that failed
		// and not a cancelled context: after that it would forget to close it
		// (v1.8.0, newGRPCClient).
		proc.sever()
		proc.kill()
		<-connected
		err = &endError{reasonTimeout, fmt.Sprintf("was not up within %s", p.host.config.StartTimeout)}
	}
	if err == nil {
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

// environment is all that the plugin sees: go-plugin's variables, a fixed PATH
// and the memory limit.
func (p *plugin) environment(handshake []string) []string {
	return append([]string{
		"PATH=" + searchPath,
		"GOMEMLIMIT=" + strconv.FormatInt(p.host.config.MemoryLimit, 10),
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
