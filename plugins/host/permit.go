package host

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/passmend/passmend/plugins/sdk"
)

// choose gives what is to be started: the executable in the directory, or the copy
// of it that is there already. One that was tried and did not come up is not tried
// again in place of one that did.
func (p *plugin) choose() (*binary, error) {
	if p.binary != nil && !p.replaced() && exists(p.path) {
		return p.binary, nil
	}
	b, err := seal(p.name, p.path, p.host.base.path)
	if err != nil {
		return nil, &endError{reasonStart, err.Error()}
	}
	return b, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// replaced tells that an executable lies in the directory that is neither the one
// that was started last nor one that did not come up. A missing one is no new one.
func (p *plugin) replaced() bool {
	info, err := os.Stat(p.path)
	if err != nil || p.binary == nil {
		return false
	}
	found := identify(info)
	return found != p.binary.source && (p.rejected == nil || found != *p.rejected)
}

// adopt keeps b for the next start.
func (p *plugin) adopt(b *binary) {
	if b == p.binary {
		return
	}
	if p.binary != nil {
		p.binary.close()
	}
	p.binary, p.rejected = b, nil
}

// reject lets go of b, unless it is the one that worked before.
func (p *plugin) reject(b *binary) {
	if b == p.binary {
		return
	}
	p.rejected = &b.source
	b.close()
}

// verify asks for leave to execute exactly these bytes, before every start.
func (p *plugin) verify(b *binary) error {
	if p.host.config.Verify == nil {
		return nil
	}
	grant, err := p.host.config.Verify(p.name, p.path, b.sum)
	if err != nil {
		return &endError{reasonVerify, "is not verified: " + printable(err.Error(), 512)}
	}
	b.grant = grant
	return nil
}

// asksForPorts tells that the ports are the plugin's own choice, that it has not
// been asked for it, and that the kernel can hold it to it.
func (p *plugin) asksForPorts(b *binary) bool {
	return b.asked == nil && b.grant.Ports == nil && p.caged() && !p.host.config.AnyPort && landlockABI() >= abiPorts
}

func (p *plugin) caged() bool {
	return p.host.config.Sandbox != SandboxOff && p.host.config.Helper != ""
}

// memory is the most memory of a process, in bytes: what was approved, or what it
// asks for up to the host's limit.
func (b *binary) memory(limit int64, asked *sdk.Permissions) int64 {
	if b.grant.MemoryBytes > 0 {
		return b.grant.MemoryBytes
	}
	if asked != nil && asked.MemoryBytes > 0 {
		return min(limit, asked.MemoryBytes)
	}
	return limit
}

// ports are those that a process may connect to, in order.
func (b *binary) ports(asked *sdk.Permissions) []uint16 {
	ports := slices.Clone(b.grant.AddedPorts)
	if b.grant.Ports != nil {
		ports = append(ports, b.grant.Ports...)
	} else if asked != nil {
		ports = append(ports, asked.Ports...)
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// cage prepares the cage of proc, or says why there is none.
func (p *plugin) cage(proc *process, memory int64, asked *sdk.Permissions) error {
	config, b := &p.host.config, proc.binary
	switch {
	case config.Sandbox == SandboxOff:
		proc.layers = uncaged("the sandbox is off")
		return nil
	case config.Helper == "":
		proc.layers = uncaged("the host has no cage helper")
		if config.Sandbox == SandboxRequired {
			return &endError{reasonStart, refusal(p.name, proc.layers[0])}
		}
		return nil
	}
	spec := &cageSpec{
		Name:    p.name,
		Argv0:   p.path,
		Parent:  os.Getpid(),
		Sandbox: config.Sandbox,
		Sealed:  b.layer,
		Ports:   b.ports(asked),
		AnyPort: config.AnyPort,
		Runtime: b.grant.RuntimePaths,
		Private: b.path,
		Script:  b.script,
		Memory:  memory,
	}
	if b.script && !among(b.interpreter, spec.Runtime) {
		return &endError{reasonStart, "needs the interpreter " + printable(b.interpreter, 128) +
			", which is not among its approved runtime paths"}
	}
	if !b.script {
		spec.Loader = b.interpreter
	}
	proc.cage, proc.helper = spec, config.Helper
	return nil
}

// among tells whether path, or a directory above it, is one of approved.
func among(path string, approved []string) bool {
	return slices.ContainsFunc(approved, func(allowed string) bool {
		rest, err := filepath.Rel(allowed, path)
		return err == nil && rest != ".." && !strings.HasPrefix(rest, "../")
	})
}

// told keeps what a process that came up was started with, and tells the observer.
func (p *plugin) told(proc *process, b *binary) {
	<-proc.reported // it is up, so the helper is long done
	proc.mu.Lock()
	layers := proc.layers
	proc.mu.Unlock()
	p.mu.Lock()
	before := gapsOf(p.layers)
	p.layers = layers
	p.checksum = hex.EncodeToString(b.sum[:])
	p.ports = b.ports(b.asked)
	p.anyPort = !active(layers, layerPorts)
	p.mu.Unlock()
	for _, layer := range layers {
		p.host.config.Sandboxed(p.name, layer.Name, layer.Active)
	}
	// A restart has the gaps that the start before it had: that is no news.
	if gaps := gapsOf(layers); len(gaps) > 0 && !slices.Equal(gaps, before) {
		p.log.Warn("plugin cage has gaps", "layers", namesOf(gaps), "reason", reasonOf(gaps), "remedy", p.host.config.remedy(gaps))
	}
}

func active(layers []Layer, name string) bool {
	return slices.ContainsFunc(layers, func(l Layer) bool { return l.Name == name && l.Active })
}
