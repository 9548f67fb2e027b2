package host

import (
	big "encoding/binary"
	"os"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The filter as a program, asked about calls that cannot all be made here: those of
// another architecture, and arguments with bits that the kernel does not look at.
func TestTheFilterOfCalls(t *testing.T) {
	t.Parallel()
	info, err := arch.GetInfo("")
	if err != nil {
		t.Fatal(err)
	}
	const garbage = 1 << 40
	own := os.Getpid()
	allowed, refused := uint32(unix.SECCOMP_RET_ALLOW), errno(unix.EPERM)
	noFamily, noCall := errno(unix.EAFNOSUPPORT), errno(unix.ENOSYS)
	for _, c := range []struct {
		name string
		args [6]uint64
		want uint32
	}{
		{"read", [6]uint64{}, allowed},
		{"execve", [6]uint64{}, refused},
		{"execveat", [6]uint64{sealedFD, 1, 1, 1, unix.AT_EMPTY_PATH}, allowed},
		{"execveat", [6]uint64{sealedFD, 1, 1, 1, 0}, refused},
		{"execveat", [6]uint64{sealedFD + 1, 1, 1, 1, unix.AT_EMPTY_PATH}, refused},
		{"clone", [6]uint64{unix.CLONE_THREAD | unix.CLONE_VM}, allowed},
		{"clone", [6]uint64{uint64(unix.SIGCHLD)}, refused},
		{"clone3", [6]uint64{}, noCall},
		{"kill", [6]uint64{uint64(own)}, allowed},
		{"kill", [6]uint64{uint64(own) + 1}, refused},
		{"kill", [6]uint64{^uint64(0)}, refused},
		{"tgkill", [6]uint64{uint64(own), 7}, allowed},
		{"prlimit64", [6]uint64{0}, allowed},
		{"prlimit64", [6]uint64{1}, refused},
		{"prctl", [6]uint64{unix.PR_SET_NAME}, allowed},
		{"prctl", [6]uint64{unix.PR_SET_PDEATHSIG}, refused},
		{"prctl", [6]uint64{unix.PR_SET_PDEATHSIG | garbage}, refused},
		{"fcntl", [6]uint64{3, unix.F_SETFD}, allowed},
		{"fcntl", [6]uint64{3, unix.F_SETOWN | garbage}, refused},
		{"fcntl", [6]uint64{3, fcntlSetOwnEx}, refused},
		{"ioctl", [6]uint64{3, unix.TIOCINQ}, allowed},
		{"ioctl", [6]uint64{3, ioctlFIOSetOwn | garbage}, refused},
		{"ioctl", [6]uint64{3, ioctlSetGroup}, refused},
		{"mmap", [6]uint64{0, 1, 3, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS}, allowed},
		{"mmap", [6]uint64{0, 1, 3, unix.MAP_SHARED}, allowed},
		{"mmap", [6]uint64{0, 1, 3, unix.MAP_SHARED | unix.MAP_ANONYMOUS}, refused},
		{"mmap", [6]uint64{0, 1, 3, unix.MAP_SHARED_VALIDATE | unix.MAP_ANONYMOUS}, refused},
		{"connect", [6]uint64{3, 1, 16}, allowed},
		{"connect", [6]uint64{3, 1, 28}, allowed},
		{"connect", [6]uint64{3, 1, 110}, refused},
		{"sendto", [6]uint64{3, 1, 1, 0}, allowed},
		{"sendto", [6]uint64{3, 1, 1, unix.MSG_FASTOPEN | garbage}, refused},
		{"sendmsg", [6]uint64{3, 1, unix.MSG_FASTOPEN}, refused},
		{"socket", [6]uint64{unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_CLOEXEC, unix.IPPROTO_TCP}, allowed},
		{"socket", [6]uint64{unix.AF_INET6, unix.SOCK_DGRAM | unix.SOCK_NONBLOCK, 0}, allowed},
		{"socket", [6]uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}, noFamily},
		{"socket", [6]uint64{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_UDP}, noFamily},
		{"socket", [6]uint64{unix.AF_UNIX, unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK, 0}, allowed},
		{"socket", [6]uint64{unix.AF_UNIX, unix.SOCK_DGRAM, 0}, noFamily},
		{"socket", [6]uint64{unix.AF_UNIX | garbage, unix.SOCK_DGRAM, 0}, noFamily},
		{"socket", [6]uint64{unix.AF_UNIX, unix.SOCK_SEQPACKET, 0}, noFamily},
		{"socket", [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, 0}, noFamily},
		{"socketpair", [6]uint64{unix.AF_UNIX, unix.SOCK_STREAM, 0}, allowed},
		{"socketpair", [6]uint64{unix.AF_UNIX, unix.SOCK_DGRAM, 0}, noFamily},
	} {
		number, ok := info.SyscallNames[c.name]
		if !ok {
			t.Fatalf("no call %s", c.name)
		}
		if got := judge(t, uint32(info.ID), uint32(number), c.args); got != c.want {
			t.Errorf("%s%v = %#x, want %#x", c.name, c.args, got, c.want)
		}
	}
	// Of another architecture nothing is let through: there the number that is read
	// here means something else.
	if got := judge(t, uint32(info.ID)+1, uint32(info.SyscallNames["read"]), [6]uint64{}); got != noCall {
		t.Errorf("another architecture = %#x", got)
	}
	for _, name := range forbidden {
		if number, ok := info.SyscallNames[name]; ok && judge(t, uint32(info.ID), uint32(number), [6]uint64{}) != refused {
			t.Errorf("%s is let through", name)
		}
	}
}

func errno(number unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(number) }

// judge runs the program as the kernel does. The words of struct seccomp_data are
// the machine's; the virtual machine reads them the network's way round.
func judge(t *testing.T, architecture, number uint32, args [6]uint64) uint32 {
	t.Helper()
	program, err := program(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	data := big.BigEndian.AppendUint32(nil, number)
	data = big.BigEndian.AppendUint32(data, architecture)
	data = append(data, make([]byte, 8)...) // the instruction pointer
	for _, arg := range args {
		data = big.BigEndian.AppendUint32(data, uint32(arg))
		data = big.BigEndian.AppendUint32(data, uint32(arg>>32))
	}
	got, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(got)
}
