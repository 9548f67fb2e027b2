package host

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func changeTime(stat *syscall.Stat_t) int64 { return stat.Ctim.Nano() }

// newSealable gives a memfd that may be executed, or nil and the reason: the
// kernel can be told to refuse them (vm.memfd_noexec=2).
func newSealable(name string) (*os.File, Layer) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("passmend-"+name, flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3, where every memfd may be executed
		fd, err = unix.MemfdCreate("passmend-"+name, flags)
	}
	if err != nil {
		return nil, Layer{Name: layerSealed, Reason: "no memfd may be executed (" + err.Error() + "): a private file is"}
	}
	return os.NewFile(uintptr(fd), "passmend-"+name), Layer{Name: layerSealed, Active: true}
}

// finishSeal makes a memfd unchangeable for everybody, or a private file readable
// and executable and nothing else, opened anew so that no writer is left.
func finishSeal(file *os.File, path string) (*os.File, error) {
	if path != "" {
		return reopen(file)
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return file, nil
}

func reopen(file *os.File) (*os.File, error) {
	if err := file.Chmod(0o500); err != nil {
		return nil, err
	}
	// By descriptor, so that it is the file that was written.
	again, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
	if err != nil {
		return nil, err
	}
	return again, file.Close()
}
