package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What the helper finds open, by number.
const (
	sealedFD = 3
	reportFD = 4
)

const (
	maxFiles    = 1024
	maxFileSize = 0 // the socket directory may hold names, not bytes
)

// Cage is the first thing that a main does whose program is Config.Helper:
//
//	if status, cage := host.Cage(os.Args); cage {
//		os.Exit(status)
//	}
//
// It is not of the host process but of a copy of it, started with no environment
// but the plugin's: it puts itself into the cage and becomes the plugin. It comes
// back only when it was not asked to (cage is false) or could not.
func Cage(args []string) (status int, cage bool) {
	if len(args) != 2 || args[0] != helperName {
		return 0, false
	}
	// Layers belong to threads, and the one that executes the plugin is all that is
	// left of the process.
	runtime.LockOSThread()
	debug.SetGCPercent(-1) // no other thread has anything to do
	report := os.NewFile(reportFD, "report")
	if report == nil {
		return 2, true
	}
	var spec cageSpec
	if err := json.Unmarshal([]byte(args[1]), &spec); err != nil {
		return 2, true
	}
	layers, err := spec.enter()
	answer := cageReport{Layers: layers}
	if err == nil && spec.Sandbox == SandboxRequired {
		if layer, ok := missing(layers); ok {
			err = errors.New(refusal(spec.Name, layer))
		}
	}
	if err != nil {
		answer.Error = err.Error()
	}
	encoder := json.NewEncoder(report)
	if encoder.Encode(answer) != nil || err != nil {
		return 2, true
	}
	err = spec.become()
	_ = encoder.Encode(cageReport{Error: "cannot be executed: " + err.Error()})
	return 2, true
}

// enter applies every layer, in an order in which none stops the next.
func (s *cageSpec) enter() ([]Layer, error) {
	if err := s.closeFiles(); err != nil {
		return nil, fmt.Errorf("open files: %w", err)
	}
	if err := s.followParent(); err != nil {
		return nil, err
	}
	layers := []Layer{s.Sealed, layerOf(layerParentDeath, nil)}
	layers = append(layers, layerOf(layerNoNewPrivs, unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)))
	layers = append(layers, s.landlock()...)
	layers = append(layers,
		layerOf(layerCapabilities, dropCapabilities()),
		layerOf(layerSeccomp, filterCalls()),
		layerOf(layerRlimits, s.limit()))
	slices.SortStableFunc(layers, func(a, b Layer) int {
		return slices.Index(LayerNames(), a.Name) - slices.Index(LayerNames(), b.Name)
	})
	return layers, nil
}

func layerOf(name string, err error) Layer {
	if err != nil {
		return Layer{Name: name, Reason: printable(err.Error(), 256)}
	}
	return Layer{Name: name, Active: true}
}

// closeFiles leaves the plugin its three streams, and a script its own text.
func (s *cageSpec) closeFiles() error {
	first := uint(sealedFD)
	if s.Script {
		first = reportFD
	}
	err := unix.CloseRange(first, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) { // before Linux 5.11
		for fd := int(first); fd < maxFiles; fd++ {
			unix.CloseOnExec(fd)
		}
		return nil
	}
	return err
}

// followParent ends the plugin with its host. The signal is the thread's that asks
// for it, and asked for too late it never comes.
func (s *cageSpec) followParent() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("parent-death signal: %w", err)
	}
	if unix.Getppid() != s.Parent {
		return errors.New("the host is gone")
	}
	return nil
}

// dropCapabilities leaves a host that runs as root with plugins that are root by
// number only: under no-new-privileges nothing gives a capability back.
func dropCapabilities() error {
	for capability := uintptr(0); capability <= unix.CAP_LAST_CAP; capability++ {
		// Not ours to drop without CAP_SETPCAP: then there is nothing to drop either.
		_ = unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	return nil
}

// limit bounds what the process may take. RLIMIT_DATA counts private memory, the
// only kind that the filter of calls lets it have; RLIMIT_AS cannot be used, for
// Go reserves far more than it takes.
func (s *cageSpec) limit() error {
	for _, l := range []struct {
		resource int
		name     string
		most     uint64
	}{
		{unix.RLIMIT_CORE, "core", 0},
		{unix.RLIMIT_FSIZE, "file size", maxFileSize},
		{unix.RLIMIT_NOFILE, "files", maxFiles},
		{unix.RLIMIT_DATA, "data", uint64(s.Memory)},
	} {
		var now unix.Rlimit
		if err := unix.Getrlimit(l.resource, &now); err != nil {
			return fmt.Errorf("limit of %s: %w", l.name, err)
		}
		most := min(l.most, now.Max) // without a capability it can only be lowered
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			return fmt.Errorf("limit of %s: %w", l.name, err)
		}
	}
	return nil
}

// become executes the sealed copy, by descriptor: no path is looked up.
func (s *cageSpec) become() error {
	empty, err := unix.BytePtrFromString("")
	if err != nil {
		return err
	}
	arguments, err := syscall.SlicePtrFromStrings([]string{s.Argv0})
	if err != nil {
		return err
	}
	environment, err := syscall.SlicePtrFromStrings(unix.Environ())
	if err != nil {
		return err
	}
	for range 50 {
		_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, sealedFD, uintptr(unsafe.Pointer(empty)),
			uintptr(unsafe.Pointer(&arguments[0])), uintptr(unsafe.Pointer(&environment[0])), unix.AT_EMPTY_PATH, 0)
		err = errno
		if errno != unix.ETXTBSY {
			break
		}
		// A child that the host is just starting still holds the private copy open
		// for writing, for the moment between its fork and its exec.
		pauseBriefly()
	}
	return err
}

func pauseBriefly() {
	_ = unix.Nanosleep(&unix.Timespec{Nsec: 2e6}, nil)
}
