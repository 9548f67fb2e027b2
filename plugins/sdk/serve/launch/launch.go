// Package launch runs a provider's executable for somebody who tests it: the
// conformance kit and the vendor's commands. It speaks to the process as the host
// does, over mutual TLS on a private unix socket.
//
// Limits first: there is no cage, no check of a signature, no supervision and no
// redaction. What the process prints and answers comes back as it is, for that is
// what a test is about. Running providers in earnest is plugins/host's.
package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"

	"github.com/passmend/passmend/plugins/sdk/serve"
)

// Limits of time. StartTimeout is what the host gives to handshake and Describe
// together; StopTimeout is how long a process has to end when it is asked to.
const (
	StartTimeout = 4 * time.Second
	StopTimeout  = 2 * time.Second
)

// Config says what to run.
type Config struct {
	// Path is the executable.
	Path string
	// Versions are the versions of the contract to offer; those that serve speaks
	// by default. One that nobody speaks yet stands for a newer host.
	Versions []int
}

// Process is a provider that runs. Its embedded Client is the provider.
type Process struct {
	*serve.Client
	plugin *plugin.Client
	run    *process
	base   string
}

// Start runs the executable until Stop or Kill. An error says what it did wrong;
// nothing is left of the process then.
func Start(ctx context.Context, config Config) (*Process, error) {
	path, err := filepath.Abs(config.Path)
	if err != nil {
		return nil, fmt.Errorf("executable: %w", err)
	}
	base, err := os.MkdirTemp("", "pm-")
	if err != nil {
		return nil, fmt.Errorf("directory for the socket: %w", err)
	}
	p := &Process{run: newProcess(path), base: base}
	client := serve.ClientConfig(
		func(cmd *exec.Cmd, dir string) (runner.Runner, error) {
			p.run.env, p.run.dir = cmd.Env, dir
			return p.run, nil
		},
		p.run.dial, p.run.output, p.run.output,
	)
	client.StartTimeout = StartTimeout
	client.UnixSocketConfig = &plugin.UnixSocketConfig{TempDir: base}
	if config.Versions != nil {
		ours := client.VersionedPlugins[serve.ProtocolVersion]
		client.VersionedPlugins = make(map[int]plugin.PluginSet)
		for _, version := range config.Versions {
			client.VersionedPlugins[version] = ours
		}
	}
	p.plugin = plugin.NewClient(client)
	if err := p.connect(ctx); err != nil {
		return nil, errors.Join(err, p.Kill())
	}
	return p, nil
}

// connect takes the handshake. go-plugin v1.8.0 panics on some of what a plugin
// may print.
func (p *Process) connect(ctx context.Context) (err error) {
	began := make(chan error, 1)
	go func() {
		defer close(p.run.connected)
		defer func() {
			if recover() != nil {
				began <- errors.New("the process broke the handshake")
			}
		}()
		began <- p.dispense()
	}()
	select {
	case err = <-began:
	case <-ctx.Done():
		p.run.kill()
		<-began //nolint:errcheck // what it says of being killed is no news
		err = fmt.Errorf("start: %w", ctx.Err())
	}
	if err != nil && p.run.fault() != nil {
		err = p.run.fault()
	}
	return err
}

func (p *Process) dispense() error {
	if _, err := p.plugin.Start(); err != nil {
		return fmt.Errorf("the process did not complete the handshake within %s", StartTimeout)
	}
	protocol, err := p.plugin.Client()
	if err != nil {
		return errors.New("the process could not be connected to over mutual TLS")
	}
	dispensed, err := protocol.Dispense(serve.Name)
	if err != nil {
		return errors.New("the process does not offer the provider service")
	}
	p.Client = dispensed.(*serve.Client)
	return nil
}

// Version is the version of the contract that the process chose.
func (p *Process) Version() int { return p.plugin.NegotiatedVersion() }

// Output is what the process printed so far on both streams, without its
// handshake: at most the first 8 MiB. What it prints while it serves comes beside
// its answers, a little later, and not at all when it ends before.
func (p *Process) Output() string { return p.run.output.String() }

// PID is the process's number.
func (p *Process) PID() int { return p.run.pid() }

// Socket is the path on which the process listens.
func (p *Process) Socket() string { return p.run.address() }

// Kill ends the process at once, as kill -9 does, and removes its socket.
func (p *Process) Kill() error {
	p.run.kill()
	return p.end()
}

// Stop asks the process to end. One that does not within StopTimeout is killed,
// which is an error.
func (p *Process) Stop() error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }() // a broken client is being thrown away
		p.plugin.Kill()
	}()
	timer := time.NewTimer(StopTimeout)
	defer timer.Stop()
	var err error
	select {
	case <-p.run.exited:
	case <-timer.C:
		err = fmt.Errorf("the process did not end within %s of being asked to", StopTimeout)
	}
	p.run.kill()
	<-done
	return errors.Join(err, p.end())
}

// end waits until nothing is left of the process. go-plugin's Kill returns at once
// when it is gone.
func (p *Process) end() error {
	p.run.wait()
	func() {
		defer func() { _ = recover() }() // as in Stop
		p.plugin.Kill()
	}()
	return os.RemoveAll(p.base)
}
