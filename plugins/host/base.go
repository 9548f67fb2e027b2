package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

const (
	basePrefix = "passmend-"
	// ownerFile is locked for as long as the host lives: a lock goes with its
	// process however that ends, and unlike a process number is never somebody
	// else's later.
	ownerFile = "owner"
)

// base is the host's private directory, with the sockets of its plugins.
type base struct {
	path  string
	owner *os.File
}

// newBase makes a directory inside sockets that nobody else can look into.
func newBase(sockets string) (*base, error) {
	sockets, err := filepath.Abs(sockets)
	if err != nil {
		return nil, err
	}
	// Another host that starts at this moment may take the directory for one that
	// was left behind, until it is locked.
	for range 10 {
		b := &base{}
		if b.path, err = os.MkdirTemp(sockets, basePrefix); err != nil {
			return nil, err
		}
		if len(b.path) > maxBase {
			_ = os.Remove(b.path) // just made and empty
			return nil, fmt.Errorf("the path of SocketDir is too long: at most %d bytes",
				maxBase-len(filepath.Base(b.path))-1)
		}
		if b.lock() {
			return b, nil
		}
		_ = b.remove()
	}
	return nil, errors.New("it is taken away again and again")
}

// lock tells whether the directory is ours and still there.
func (b *base) lock() bool {
	path := filepath.Join(b.path, ownerFile)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false
	}
	b.owner = file
	if syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return false
	}
	locked, err := file.Stat()
	if err != nil {
		return false
	}
	found, err := os.Stat(path)
	return err == nil && os.SameFile(locked, found)
}

// remove takes the directory away with everything in it.
func (b *base) remove() error {
	err := os.RemoveAll(b.path)
	if b.owner != nil {
		_ = b.owner.Close()
	}
	return err
}

// sweep takes away what hosts that were killed left in sockets, and gives how
// many: directories of ours whose owner's lock is free. What cannot be read or
// locked is left.
func sweep(sockets string) int {
	found, err := filepath.Glob(filepath.Join(sockets, basePrefix+"*", ownerFile))
	if err != nil {
		return 0
	}
	swept := 0
	for _, path := range found {
		if !oursAlone(filepath.Dir(path)) {
			continue
		}
		owner, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		if syscall.Flock(int(owner.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil && os.RemoveAll(filepath.Dir(path)) == nil {
			swept++
		}
		_ = owner.Close()
	}
	return swept
}

// oursAlone tells of a directory, not a link to one, that nobody else may enter.
func oursAlone(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}
