package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// targets is what the test offers to be attacked.
type targets struct {
	Host      int    // the host's process
	Dir       string // of the host's own files, with "database" and "config" in it
	Elsewhere int    // a port of 127.0.0.1 that is not the plugin's
	Allowed   int    // one that is
	Socket    string // of another plugin
	Abstract  string // a socket of the host
}

// actions tries everything, each on a line of its own, and becomes another program
// at last.
func actions(settings []byte) {
	signal.Ignore(syscall.SIGXFSZ)
	var t targets
	if err := json.Unmarshal(settings, &t); err != nil {
		panic(err)
	}
	for _, a := range t.list() {
		say(a.name, a.try())
	}
	argv, _ := syscall.SlicePtrFromStrings([]string{"/bin/true"})
	path, _ := syscall.BytePtrFromString("/bin/true")
	_, _, errno := syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&argv[0])), 0)
	say("become another program", failed(errno))
}

func say(name string, err error) {
	if err != nil {
		fmt.Fprintf(realErr, "action %s: denied %v\n", name, err)
		return
	}
	fmt.Fprintf(realErr, "action %s: done\n", name)
}

type action struct {
	name string
	try  func() error
}

func (t targets) list() []action {
	database, config := filepath.Join(t.Dir, "database"), filepath.Join(t.Dir, "config")
	host := uintptr(t.Host)
	return append([]action{
		{"read the configuration", func() error { return read(config) }},
		{"read the database", func() error { return open(database, os.O_RDONLY) }},
		{"write to the database", func() error { return open(database, os.O_WRONLY) }},
		{"truncate the database", func() error { return os.Truncate(database, 0) }},
		{"open the database to everybody", func() error { return os.Chmod(database, 0o666) }},
		{"change the database's times", func() error { return os.Chtimes(database, time.Now(), time.Now()) }},
		{"list the root", func() error { _, err := os.ReadDir("/"); return err }},
		{"read the first process's command line", func() error { return read("/proc/1/cmdline") }},
		{"anyway: read the first process's environment", func() error { return read("/proc/1/environ") }},
		{"read the host's environment", func() error { return read(fmt.Sprintf("/proc/%d/environ", t.Host)) }},
		{"read the host's memory map", func() error { return read(fmt.Sprintf("/proc/%d/maps", t.Host)) }},
		{"write a file beside the host's", func() error { return os.WriteFile(filepath.Join(t.Dir, "left"), []byte("x"), 0o600) }},
		{"write a file in the temporary directory", func() error { return temporary(os.TempDir()) }},
		{"write a file in its own directory", func() error { return temporary(os.Getenv("PLUGIN_UNIX_SOCKET_DIR")) }},
		{"link to the configuration", func() error { return os.Link(config, filepath.Join(t.Dir, "link")) }},
		{"rename the configuration", func() error { return os.Rename(config, config+".gone") }},
		{"run a program", func() error { return exec.Command("/bin/true").Run() }},
		{"make a process", fork},
		{"make an executable in memory", memfd},
		{"signal the host", func() error { return syscall.Kill(t.Host, 0) }},
		{"stop following the host", func() error { return unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0) }},
		{"limit the host", func() error { return limit(t.Host) }},
		{"trace the host", func() error { return trace(t.Host) }},
		{"read the host's memory", func() error { return peek(host) }},
		{"take an open file of the host", func() error { return raw(unix.SYS_PIDFD_OPEN, host, 0) }},
		{"change its directory", func() error { return os.Chdir("/tmp") }},
		{"set up an io_uring", ioUring},
		{"take 512 MiB", func() error { return take(512<<20, syscall.MAP_PRIVATE) }},
		{"take memory that no limit counts", func() error { return take(1<<20, syscall.MAP_SHARED) }},
		{"make a key ring", func() error { return raw(unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, ^uintptr(2), 1) }},
		{"leave its group", leaveGroup},
	}, t.network()...)
}

func (t targets) network() []action {
	return []action{
		{"connect elsewhere", func() error { return dial("tcp", loopback(t.Elsewhere)) }},
		{"connect elsewhere by multipath TCP", func() error { return multipath(t.Elsewhere) }},
		{"connect elsewhere by sending at once", func() error { return fastOpen(t.Elsewhere) }},
		{"listen on a port", func() error { return listenOn("127.0.0.1:0") }},
		{"connect to another plugin", func() error { return dial("unix", t.Socket) }},
		{"connect to an abstract socket", func() error { return dial("unix", t.Abstract) }},
		{"send datagrams to unix sockets", func() error { return socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0) }},
		{"ask the kernel for sockets", func() error { return socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_SOCK_DIAG) }},
		{"talk to the hypervisor", func() error { return socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0) }},
		{"as root: send raw packets", func() error { return socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP) }},
		{"as root: make a mount namespace", func() error { return unshare() }},
		{"as root: load a program into the kernel", bpf},
		{"as root: become somebody else", func() error { return raw(syscall.SYS_SETGROUPS, 0, 0) }},
		// What a provider needs stays possible.
		{"allowed: connect to its port", func() error { return dial("tcp", loopback(t.Allowed)) }},
		{"allowed: read certificates", func() error { _, err := os.ReadDir("/etc/ssl/certs"); return err }},
		{"allowed: read the resolver's configuration", func() error { return read("/etc/resolv.conf") }},
		{"allowed: look a name up", func() error { _, err := net.LookupHost("localhost"); return err }},
		{"allowed: make a thread", thread},
	}
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func read(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.Read(make([]byte, 1))
	if errors.Is(err, io.EOF) { // the first process may have no environment
		return nil
	}
	return err
}

func open(path string, flags int) error {
	file, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return err
	}
	return file.Close()
}

func temporary(dir string) error {
	file, err := os.CreateTemp(dir, "left")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	_, err = file.Write([]byte("x"))
	return err
}

func failed(errno syscall.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

func raw(number uintptr, arguments ...uintptr) error {
	var a [6]uintptr
	copy(a[:], arguments)
	_, _, errno := syscall.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
	return failed(errno)
}

func fork() error {
	id, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && id == 0 {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
	if errno == 0 {
		_, _ = syscall.Wait4(int(id), nil, 0, nil)
	}
	return failed(errno)
}

func memfd() error {
	fd, err := unix.MemfdCreate("x", 0)
	if err == nil {
		_ = unix.Close(fd)
	}
	return err
}

func limit(pid int) error {
	var now unix.Rlimit
	return unix.Prlimit(pid, unix.RLIMIT_CORE, nil, &now)
}

// trace attaches without stopping and lets go again by ending its thread.
func trace(pid int) error { return raw(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, 0) }

func peek(pid uintptr) error {
	var into [8]byte
	local := unix.Iovec{Base: &into[0]}
	local.SetLen(len(into))
	_, _, errno := syscall.Syscall6(unix.SYS_PROCESS_VM_READV, pid, uintptr(unsafe.Pointer(&local)), 1, 0, 0, 0)
	return failed(errno) // nothing is asked for; leave is asked for all the same
}

func ioUring() error {
	var parameters [120]byte
	fd, _, errno := syscall.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&parameters)), 0)
	if errno == 0 {
		_ = syscall.Close(int(fd))
	}
	return failed(errno)
}

func take(size int, kind int) error {
	memory, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, kind|syscall.MAP_ANON)
	if err == nil {
		_ = syscall.Munmap(memory)
	}
	return err
}

// leaveGroup makes a group of its own, which the leader of one is allowed to.
func leaveGroup() error { return syscall.Setpgid(0, 0) }

func unshare() error {
	ended := make(chan error)
	go func() { // the thread is thrown away
		runtime.LockOSThread()
		ended <- unix.Unshare(unix.CLONE_NEWNS)
	}()
	return <-ended
}

func bpf() error {
	attributes := [16]uint32{2, 4, 4, 1} // an array of one number
	fd, _, errno := syscall.Syscall(unix.SYS_BPF, unix.BPF_MAP_CREATE, uintptr(unsafe.Pointer(&attributes)), 64)
	if errno == 0 {
		_ = syscall.Close(int(fd))
	}
	return failed(errno)
}

func thread() error {
	ended := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		close(ended)
	}()
	<-ended
	return nil
}

func dial(network, address string) error {
	conn, err := net.DialTimeout(network, address, time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}

func listenOn(address string) error {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	listener, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return err
	}
	return listener.Close()
}

func socket(domain, kind, protocol int) error {
	fd, err := unix.Socket(domain, kind, protocol)
	if err == nil {
		_ = unix.Close(fd)
	}
	return err
}

func multipath(port int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
}

func fastOpen(port int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, []byte("x"), unix.MSG_FASTOPEN, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
}
