package host

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// forbidden are the calls that no provider makes: becoming another process, looking
// into one, administering the machine, and ways round the other layers (io_uring is
// filtered by nobody; a memfd or shared memory is counted by no limit; a directory
// of its own makes the path of any socket short).
//
// It is a list of what is forbidden, not of what is allowed, so that a plugin may
// be written in any language; what is not on it is left to Landlock, the lack of
// capabilities and the limits.
var forbidden = []string{
	"fork", "vfork", "execve",
	"setsid", "setpgid", // the host ends it by its group
	"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp",
	"pidfd_open", "pidfd_getfd", "pidfd_send_signal", "tkill",
	"bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
	"keyctl", "add_key", "request_key",
	"mount", "umount", "umount2", "pivot_root", "chroot", "chdir", "fchdir", "move_mount", "open_tree", "mount_setattr",
	"fsopen", "fsconfig", "fsmount", "fspick", "setns", "unshare", "name_to_handle_at", "open_by_handle_at",
	"mknod", "mknodat", "truncate", "fanotify_init", "quotactl", "quotactl_fd", "swapon", "swapoff", "acct",
	"chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat",
	"setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr", "utime", "utimes", "futimesat", "utimensat",
	"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "syslog", "vhangup",
	"sethostname", "setdomainname", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex",
	"ioperm", "iopl", "modify_ldt", "personality", "lookup_dcookie",
	"setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups", "capset",
	"setpriority", "ioprio_set", "migrate_pages", "move_pages",
	"memfd_create", "memfd_secret", "shmget", "shmat", "shmctl", "semget", "msgget", "mq_open",
}

// filterCalls refuses calls by number and, where a number alone says too little, by
// their arguments. What an argument points to cannot be seen. The filter is on
// while the helper becomes the plugin, so one way of executing stays open: the
// descriptor of the sealed copy with an empty path. What a plugin could put there
// later has to be executable under Landlock, and would be in the same cage.
func filterCalls() error {
	instructions, err := program(unix.Getpid())
	if err != nil {
		return err
	}
	raw, err := bpf.Assemble(instructions)
	if err != nil {
		return fmt.Errorf("assemble the filter: %w", err)
	}
	return loadFilter(raw)
}

// program is the filter. own is the process's number, which it keeps when it
// becomes the plugin.
func program(own int) ([]bpf.Instruction, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return nil, fmt.Errorf("assemble the filter: %w", err)
	}
	policy := seccomp.Policy{DefaultAction: seccomp.ActionAllow, Syscalls: groups(info, own)}
	instructions, err := policy.Assemble()
	if err != nil {
		return nil, fmt.Errorf("assemble the filter: %w", err)
	}
	// The library lets calls of another architecture pass (v1.6.0): on a 64-bit
	// processor the 32-bit ones would be a way round the whole list.
	return append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: offsetArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(info.ID), SkipTrue: 1},
		bpf.RetConstant{Val: uint32(answer(unix.ENOSYS))},
	}, instructions...), nil
}

// offsetArch is where struct seccomp_data has the architecture.
const offsetArch = 4

func loadFilter(raw []bpf.RawInstruction) error {
	filter := make([]unix.SockFilter, len(raw))
	for i, instruction := range raw {
		filter[i] = unix.SockFilter{Code: instruction.Op, Jt: instruction.Jt, Jf: instruction.Jf, K: instruction.K}
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
	if errno == unix.ENOSYS {
		return errors.New("the kernel has no seccomp filters")
	}
	if errno != 0 {
		return fmt.Errorf("load the filter: %w", errno)
	}
	return nil
}

func answer(errno unix.Errno) seccomp.Action {
	return seccomp.ActionErrno | seccomp.Action(errno)
}

// groups are the calls by what is answered.
func groups(info *arch.Info, own int) []seccomp.SyscallGroup {
	refuse := seccomp.SyscallGroup{Action: answer(unix.EPERM)}
	for _, name := range forbidden {
		if _, known := info.SyscallNames[name]; known { // not every processor has every call
			refuse.Names = append(refuse.Names, name)
		}
	}
	refuse.NamesWithCondtions = []seccomp.NameWithConditions{
		// A thread, not a process.
		rule("clone", bitsNotSet(0, unix.CLONE_THREAD)),
		rule("execveat", notEqual(0, sealedFD)),
		rule("execveat", bitsNotSet(4, unix.AT_EMPTY_PATH)),
		// Signals, limits and priorities of nobody else.
		rule("kill", notEqual(0, own)),
		rule("tgkill", notEqual(0, own)),
		rule("rt_sigqueueinfo", notEqual(0, own)),
		rule("rt_tgsigqueueinfo", notEqual(0, own)),
		rule("prlimit64", notEqual(0, 0), notEqual(0, own)),
		rule("sched_setaffinity", notEqual(0, 0), notEqual(0, own)),
		rule("sched_setattr", notEqual(0, 0), notEqual(0, own)),
		rule("sched_setparam", notEqual(0, 0), notEqual(0, own)),
		rule("sched_setscheduler", notEqual(0, 0), notEqual(0, own)),
		rule("fcntl", low(1, unix.F_SETOWN)...),
		rule("fcntl", low(1, fcntlSetOwnEx)...),
		rule("ioctl", low(1, ioctlFIOSetOwn)...),
		rule("ioctl", low(1, ioctlSetGroup)...),
		rule("ioctl", low(1, unix.TIOCSTI)...),
		// It dies with its host.
		rule("prctl", low(0, unix.PR_SET_PDEATHSIG)...),
		// Shared memory without a file is memory that no limit counts.
		rule("mmap", bitsSet(3, unix.MAP_SHARED), bitsSet(3, unix.MAP_ANONYMOUS)),
		// The path of a unix socket of another service is longer than an address of
		// the internet, and connecting by datagram shows no address.
		rule("connect", notEqual(2, unix.SizeofSockaddrInet4), notEqual(2, unix.SizeofSockaddrInet6)),
		// Opening a connection by sending is not seen by Landlock.
		rule("sendto", bitsSet(3, unix.MSG_FASTOPEN)),
		rule("sendmsg", bitsSet(2, unix.MSG_FASTOPEN)),
		rule("sendmmsg", bitsSet(3, unix.MSG_FASTOPEN)),
	}
	sockets := seccomp.SyscallGroup{Action: answer(unix.EAFNOSUPPORT), NamesWithCondtions: []seccomp.NameWithConditions{
		rule("socket", notEqual(0, unix.AF_UNIX), notEqual(0, unix.AF_INET), notEqual(0, unix.AF_INET6)),
		// Of unix sockets, streams: 1 in the lowest four bits.
		rule("socket", append(low(0, unix.AF_UNIX), bitsSet(1, 0xe))...),
		rule("socket", append(low(0, unix.AF_UNIX), bitsNotSet(1, unix.SOCK_STREAM))...),
		rule("socketpair", bitsSet(1, 0xe)),
		rule("socketpair", bitsNotSet(1, unix.SOCK_STREAM)),
		// Multipath TCP and the rest have ports that Landlock does not see; nor has
		// a raw socket any.
		rule("socket", notEqual(2, 0), notEqual(2, unix.IPPROTO_TCP), notEqual(2, unix.IPPROTO_UDP)),
		rule("socket", bitsSet(1, unix.SOCK_STREAM), bitsSet(1, unix.SOCK_DGRAM)),
	}}
	// ENOSYS, so that the C library falls back on clone, whose flags can be seen.
	unknown := seccomp.SyscallGroup{Action: answer(unix.ENOSYS), Names: []string{"clone3"}}
	return []seccomp.SyscallGroup{refuse, sockets, unknown}
}

// Numbers that package unix has no names for (fcntl(2), sockios.h).
const (
	fcntlSetOwnEx  = 15
	ioctlFIOSetOwn = 0x8901
	ioctlSetGroup  = 0x8902
)

// rule refuses a call of which every condition holds; two rules of a name refuse
// one of which either does.
func rule(name string, conditions ...seccomp.Condition) seccomp.NameWithConditions {
	return seccomp.NameWithConditions{Name: name, Conditions: conditions}
}

func notEqual(argument uint32, value int) seccomp.Condition {
	return seccomp.Condition{Argument: argument, Operation: seccomp.NotEqual, Value: uint64(value)}
}

func bitsSet(argument uint32, bits uint64) seccomp.Condition {
	return seccomp.Condition{Argument: argument, Operation: seccomp.BitsSet, Value: bits}
}

func bitsNotSet(argument uint32, bits uint64) seccomp.Condition {
	return seccomp.Condition{Argument: argument, Operation: seccomp.BitsNotSet, Value: bits}
}

// low holds where the lower half of the argument is value. The kernel looks no
// further at what it takes for an int, so a comparison of the whole would be
// passed by with any bit set in the upper half.
func low(argument uint32, value uint32) []seccomp.Condition {
	conditions := []seccomp.Condition{bitsNotSet(argument, uint64(^value))}
	for bit := uint32(1); bit != 0; bit <<= 1 {
		if value&bit != 0 {
			conditions = append(conditions, bitsSet(argument, uint64(bit)))
		}
	}
	return conditions
}
