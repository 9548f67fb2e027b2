//go:build unix && !linux

package host

import (
	"os/exec"
	"syscall"
)

// attributes puts the process into a group of its own. There is no signal on the
// parent's death outside Linux.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func awaitExit(int) bool { return false }

// command executes the private copy.
func (b *binary) command() *exec.Cmd { return exec.Command(b.path) }
