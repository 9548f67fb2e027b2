package host

import (
	"fmt"
	"slices"
	"strings"
)

// Sandbox says what becomes of a plugin for which a layer of the cage is missing.
type Sandbox string

// The three ways.
const (
	// SandboxBestEffort starts it with the layers that there are. The default.
	SandboxBestEffort Sandbox = "best-effort"
	// SandboxRequired does not start it.
	SandboxRequired Sandbox = "required"
	// SandboxOff applies none. What is verified is still what is executed.
	SandboxOff Sandbox = "off"
)

// helperName is the helper's own name: a main called so is asked to be it.
const helperName = "passmend-cage"

// SelfHelper is Config.Helper of a program whose main calls Cage first.
const SelfHelper = "/proc/self/exe"

// Grant is what the operator approved for one plugin when it was installed.
type Grant struct {
	// Ports are the TCP ports that it may connect to; nil means those that its
	// Describe names, up to the plugin to say. Port 53 is always allowed.
	Ports []uint16
	// AddedPorts are allowed beside them.
	AddedPorts []uint16
	// RuntimePaths are files and directories that it may read and execute: the
	// interpreter and the libraries of a plugin that is not one static binary.
	RuntimePaths []string
	// MemoryBytes is the most memory of the process. 0 means what Describe names,
	// at most Config.MemoryLimit.
	MemoryBytes int64
}

// Layer is one layer of a plugin's cage as it was at the last start.
type Layer struct {
	Name   string // one of LayerNames
	Active bool
	Reason string // why it is not active
}

// The layers. What each keeps a plugin from is said where it is applied.
const (
	layerSealed       = "sealed_binary"
	layerParentDeath  = "parent_death"
	layerNoNewPrivs   = "no_new_privs"
	layerCapabilities = "capabilities"
	layerRlimits      = "rlimits"
	layerSeccomp      = "seccomp"
	layerFiles        = "landlock_files"
	layerPorts        = "landlock_ports"
	layerScope        = "landlock_scope"
	layerUnix         = "landlock_unix"
	layerUDP          = "landlock_udp"
)

// LayerNames gives every layer of the cage, from the outside in.
func LayerNames() []string {
	return append(requiredLayers(), layerUnix, layerUDP)
}

// Required says whether SandboxRequired starts nothing without a layer.
func Required(layer string) bool { return slices.Contains(requiredLayers(), layer) }

// requiredLayers are those without which SandboxRequired starts nothing. The two
// others need Landlock's ABI 9 and 10, which hardly a kernel in service has: they
// are told, not asked for.
func requiredLayers() []string {
	return []string{
		layerSealed, layerParentDeath, layerNoNewPrivs, layerCapabilities, layerRlimits, layerSeccomp,
		layerFiles, layerPorts, layerScope,
	}
}

// uncaged tells of every layer that the process is outside of it, and why.
func uncaged(reason string) []Layer {
	var layers []Layer
	for _, name := range LayerNames() {
		layers = append(layers, Layer{Name: name, Reason: reason})
	}
	return layers
}

// gapsOf gives the layers that are not active.
func gapsOf(layers []Layer) []Layer {
	return slices.DeleteFunc(slices.Clone(layers), func(l Layer) bool { return l.Active })
}

func namesOf(layers []Layer) string {
	names := make([]string, len(layers))
	for i, layer := range layers {
		names[i] = layer.Name
	}
	return strings.Join(names, ", ")
}

// reasonOf says why layers are not active: once, where it is the same for all of them.
func reasonOf(gaps []Layer) string {
	if !slices.ContainsFunc(gaps, func(l Layer) bool { return l.Reason != gaps[0].Reason }) {
		return gaps[0].Reason
	}
	reasons := make([]string, len(gaps))
	for i, gap := range gaps {
		reasons[i] = gap.Name + ": " + gap.Reason
	}
	return strings.Join(reasons, "; ")
}

// remedy is what an operator can do about gaps.
func (c *Config) remedy(gaps []Layer) string {
	required := slices.ContainsFunc(gaps, func(l Layer) bool {
		return Required(l.Name) && !(c.AnyPort && l.Name == layerPorts)
	})
	switch {
	case c.Sandbox == SandboxOff:
		return "PASSMEND_PLUGIN_SANDBOX=best-effort or required puts plugins into a cage"
	case c.Helper == "":
		return "run plugins on Linux, by a program that is its own cage helper"
	case required:
		return "run it on a kernel, and in a container, that have these layers; with PASSMEND_PLUGIN_SANDBOX=required no plugin starts without them"
	case c.AnyPort:
		return "none is needed for development; 'passmend serve' opens a plugin's own ports only"
	default:
		return "none is needed; a newer kernel brings these layers"
	}
}

// missing gives the first required layer that is not active.
func missing(layers []Layer) (Layer, bool) {
	for _, name := range requiredLayers() {
		i := slices.IndexFunc(layers, func(l Layer) bool { return l.Name == name })
		if i < 0 {
			return Layer{Name: name, Reason: "it was not applied"}, true
		}
		if !layers[i].Active {
			return layers[i], true
		}
	}
	return Layer{}, false
}

// cageSpec is what the helper is told. It travels as the helper's argument and
// holds no secret.
type cageSpec struct {
	Name    string // of the plugin, for errors
	Argv0   string // what the plugin sees as its own name
	Parent  int    // the host's process number
	Sandbox Sandbox
	Sealed  Layer    // what the host did itself
	Sockets string   // the one directory to write in
	Ports   []uint16 // besides 53
	AnyPort bool
	Runtime []string // read and execute
	Private string   // path of the copy when it is not in a memfd
	Loader  string   // of a dynamically linked binary
	Script  bool     // the kernel has to open the copy again for its interpreter
	Memory  int64
}

// cageReport is what the helper answers before it becomes the plugin.
type cageReport struct {
	Layers []Layer
	Error  string // why it did not become the plugin
}

func (r cageReport) err() error {
	if r.Error == "" {
		return nil
	}
	return &endError{reasonStart, printable(r.Error, 512)}
}

// refusal is why SandboxRequired does not start a plugin.
func refusal(name string, layer Layer) string {
	return fmt.Sprintf("plugin %q: the sandbox is required and its layer %s is missing: %s", name, layer.Name, layer.Reason)
}
