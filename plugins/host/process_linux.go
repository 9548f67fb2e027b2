package host

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// attributes puts the process into a group of its own and ends it with the thread
// that started it, which is the spawner's and lives as long as the host.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// waitid's arguments (waitid(2)); package syscall has no names for them.
const (
	idIsPID     = 1          // P_PID
	leaveZombie = 0x01000000 // WNOWAIT
)

// awaitExit returns when the child pid has ended, and leaves it to be waited for.
// False: it cannot be told.
func awaitExit(pid int) bool {
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, idIsPID, uintptr(pid), 0,
			syscall.WEXITED|leaveZombie, 0, 0)
		if errno != syscall.EINTR {
			return errno == 0
		}
	}
}

// command executes the copy without a cage, by its descriptor, which is the first
// after the three streams.
func (b *binary) command() *exec.Cmd {
	cmd := exec.Command(fmt.Sprintf("/proc/self/fd/%d", sealedFD))
	cmd.ExtraFiles = []*os.File{b.file}
	return cmd
}
