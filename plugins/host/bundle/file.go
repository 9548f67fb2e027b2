package bundle

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// writableByOthers is what no file of a plugin directory may allow.
const writableByOthers fs.FileMode = 0o022

// openRegular opens a regular file of at most limit bytes.
func openRegular(path string, limit int64) (*os.File, fs.FileInfo, error) {
	// O_NONBLOCK: opening a pipe would wait for its writer.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s: not a regular file", path)
	case info.Size() > limit:
		err = fmt.Errorf("%s: longer than %d bytes", path, limit)
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, info, nil
}

// readRegular reads a regular file of at most limit bytes.
func readRegular(path string, limit int64) ([]byte, error) {
	return readGuarded(path, limit, 0)
}

// readGuarded refuses a file whose mode has one of the forbidden bits.
func readGuarded(path string, limit int64, forbidden fs.FileMode) ([]byte, error) {
	file, info, err := openRegular(path, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	if err := guard(path, info, forbidden); err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("%s: longer than %d bytes", path, limit)
	}
	return content, err
}

func guard(path string, info fs.FileInfo, forbidden fs.FileMode) error {
	mode := info.Mode().Perm()
	if mode&forbidden == 0 {
		return nil
	}
	remedy := "g-w,o-w"
	if forbidden&0o004 != 0 {
		remedy = "g-w,o-rwx"
	}
	return fmt.Errorf("%s (mode %04o): %w: run chmod %s %s", path, mode, ErrWritable, remedy, path)
}

// rename is on disk when it returns.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncFolder(to)
}

// remove takes a file away, if it is there; on disk when it returns.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncFolder(path)
}

// syncFolder makes a new or renamed entry durable.
func syncFolder(path string) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
