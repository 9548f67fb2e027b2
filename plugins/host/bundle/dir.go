package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Dir is a plugin directory, by its path. It need not exist before the first
// install or the first trusted key.
type Dir string

const (
	pinFolder  = "installed"
	pinSuffix  = ".json"
	nextSuffix = ".next.json"
	lockFile   = ".lock"
	stagePart  = ".stage-"
)

// Path is where the executable of a plugin is.
func (d Dir) Path(name string) string { return filepath.Join(string(d), Executable(name)) }

func (d Dir) pinPath(name string) string {
	return filepath.Join(string(d), pinFolder, name+pinSuffix)
}

func (d Dir) nextPath(name string) string {
	return filepath.Join(string(d), pinFolder, name+nextSuffix)
}

// guarded refuses a directory in which others could exchange files.
func (d Dir) guarded() error {
	for _, path := range []string{string(d), filepath.Join(string(d), pinFolder)} {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if err := guard(path, info, writableByOthers); err != nil {
			return err
		}
	}
	return nil
}

// readStore reads a file that trust rests on; nil when it is not there.
func (d Dir) readStore(path string, limit int64) ([]byte, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err := d.guarded(); err != nil {
		return nil, err
	}
	return readGuarded(path, limit, writableByOthers)
}

// replace puts content in path's place in one step, on disk when it returns. Only
// under the lock.
func (d Dir) replace(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Join(string(d), pinFolder), stagePart)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		// Readable: the service may run as another user than whoever installs, and
		// nothing here is secret.
		err = file.Chmod(0o644)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name()) // just made here
	}
	return err
}

// lock makes the directory if need be and keeps other installs out until unlock,
// or until the process ends.
func (d Dir) lock() (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Join(string(d), pinFolder), 0o755); err != nil { //nolint:gosec // the service reads it, maybe as another user
		return nil, err
	}
	if err := d.guarded(); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(string(d), pinFolder, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrBusy
		}
		return nil, fmt.Errorf("lock plugin directory: %w", err)
	}
	return func() { _ = file.Close() }, nil // closing unlocks
}

// holdsPins says whether anything was ever installed and not removed.
func (d Dir) holdsPins() (bool, error) {
	pins, err := filepath.Glob(filepath.Join(string(d), pinFolder, "*"+pinSuffix))
	return len(pins) > 0, err
}

// settle brings the files of a plugin to rest after an install that was cut
// short: the next pin counts if its executable is in place, and goes if not.
// Staged executables are removed, but for keep: nobody took them. Only under the lock.
func (d Dir) settle(name, keep string) error {
	stale, err := filepath.Glob(filepath.Join(string(d), pinFolder, stagePart+"*"))
	if err != nil {
		return err
	}
	for _, path := range stale {
		if path == keep {
			continue
		}
		if err := remove(path); err != nil {
			return err
		}
	}
	next, err := d.readPin(d.nextPath(name), name)
	if errors.Is(err, ErrNotInstalled) {
		return nil
	}
	if err != nil {
		return err
	}
	digest, _, err := checksumFile(d.Path(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if digest == next.SHA256 {
		return rename(d.nextPath(name), d.pinPath(name))
	}
	return remove(d.nextPath(name))
}

// Names lists the plugins that are installed, in order.
func (d Dir) Names() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(string(d), pinFolder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		name := strings.TrimSuffix(entry.Name(), pinSuffix)
		if name != entry.Name() && nameForm.MatchString(name) {
			names = append(names, name)
		}
	}
	return names, nil
}
