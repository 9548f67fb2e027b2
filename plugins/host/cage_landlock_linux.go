package host

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// Files that every plugin may read: name resolution, certificates, time zones, and
// what language runtimes ask at their start.
var (
	readableFiles = []string{
		"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols",
		"/etc/localtime", "/etc/mime.types", "/etc/ssl/openssl.cnf", "/dev/urandom", "/dev/random",
		"/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "/proc/sys/net/core/somaxconn", "/proc/sys/vm/overcommit_memory",
	}
	readableDirs = []string{
		"/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
		"/etc/ca-certificates", "/usr/share/zoneinfo",
	}
	// Of a dynamically linked binary also the system's shared libraries.
	libraryDirs = []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"}
)

const (
	readFile = landlock.AccessFSSet(ll.AccessFSReadFile)
	readTree = readFile | ll.AccessFSReadDir
	execute  = landlock.AccessFSSet(ll.AccessFSExecute)
	// serve is what go-plugin does in the directory of its socket (v1.8.0): it
	// makes a file for its name, removes it, and makes the socket.
	serveSocket = readTree | ll.AccessFSWriteFile | ll.AccessFSMakeReg | ll.AccessFSMakeSock | ll.AccessFSRemoveFile
	nameService = 53
)

// The versions of Landlock's ABI that brought each layer.
const (
	abiFiles = 1
	abiPorts = 4
	abiScope = 6
	abiUnix  = 9
	abiUDP   = 10
)

// landlockABI is what the kernel has; 0: nothing.
func landlockABI() int {
	version, err := ll.LandlockGetABIVersion()
	if err != nil {
		return 0
	}
	return version
}

// landlock leaves the plugin the files above, its socket directory, name
// resolution and its ports; no TCP port to listen on; signals and abstract sockets
// of nobody outside. It cannot tell one address from another.
func (s *cageSpec) landlock() []Layer {
	abi := landlockABI()
	config := landlock.V11
	if s.AnyPort {
		config.HandledAccessNet &^= ll.AccessNetConnectTCP | ll.AccessNetConnectSendUDP
	}
	err := config.BestEffort().Restrict(s.landlockRules(config)...)
	layer := func(name string, since int) Layer {
		switch {
		case err != nil:
			return layerOf(name, err)
		case abi == 0:
			return Layer{Name: name, Reason: "the kernel has no Landlock, or it is not switched on"}
		case abi < since:
			return Layer{Name: name, Reason: fmt.Sprintf("the kernel has version %d of Landlock, this needs %d", abi, since)}
		case s.AnyPort && (since == abiPorts || since == abiUDP):
			return Layer{Name: name, Reason: "development: every port is allowed"}
		}
		return Layer{Name: name, Active: true}
	}
	return []Layer{
		layer(layerFiles, abiFiles), layer(layerPorts, abiPorts), layer(layerScope, abiScope),
		layer(layerUnix, abiUnix), layer(layerUDP, abiUDP),
	}
}

func (s *cageSpec) landlockRules(config landlock.Config) []landlock.Rule {
	rules := []landlock.Rule{
		landlock.PathAccess(readFile, readableFiles...).IgnoreIfMissing(),
		landlock.PathAccess(readFile|ll.AccessFSWriteFile, "/dev/null").IgnoreIfMissing(),
		landlock.PathAccess(readTree, append(resolverDirs(), readableDirs...)...).IgnoreIfMissing(),
		landlock.PathAccess(serveSocket, s.Sockets),
		landlock.BindUDP(0), // a client's own port, which the kernel chooses
	}
	for _, path := range s.Runtime {
		access := readTree | execute
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			access = readFile | execute
		}
		rules = append(rules, landlock.PathAccess(access, path).IgnoreIfMissing())
	}
	if s.Loader != "" {
		rules = append(rules,
			landlock.PathAccess(readFile|execute, s.Loader).IgnoreIfMissing(),
			landlock.PathAccess(readFile, "/etc/ld.so.cache").IgnoreIfMissing(),
			landlock.PathAccess(readTree, libraryDirs...).IgnoreIfMissing())
	}
	if s.Private != "" {
		rules = append(rules, landlock.PathAccess(readFile|execute, s.Private))
	}
	if !s.AnyPort {
		rules = append(rules, landlock.ConnectSendUDP(nameService), landlock.ConnectTCP(nameService))
		for _, port := range s.Ports {
			rules = append(rules, landlock.ConnectTCP(port))
		}
	}
	return rules
}

// resolverDirs gives the directory of resolv.conf where that is a link out of
// /etc: its file there is replaced, and the new one has to be readable too.
func resolverDirs() []string {
	target, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil || filepath.Dir(target) == "/etc" || filepath.Dir(target) == "/" {
		return nil
	}
	return []string{filepath.Dir(target)}
}
