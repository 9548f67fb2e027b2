package host

import (
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/passmend/passmend/plugins/sdk"
)

// maxBinary bounds an executable, in bytes: a copy of it is kept in memory.
const maxBinary = 256 << 20

// binary is the copy of an executable that is verified and executed: nobody can
// change it any more. It is kept across restarts.
type binary struct {
	file   *os.File // open for reading and executing
	path   string   // of a private file; empty for a memfd
	sum    [sha256.Size]byte
	source identity
	// interpreter is what the kernel executes first: the loader of a dynamically
	// linked binary, the interpreter of a script; empty for a static binary.
	interpreter string
	script      bool
	layer       Layer
	grant       Grant            // by Verify, at the last start
	asked       *sdk.Permissions // what it describes; nil until it was asked
}

// identity tells whether a file is still the one that was copied. A change that
// keeps all of it goes unseen until the host starts again, and is not executed.
type identity struct {
	dev, inode  uint64
	size        int64
	mtime       int64
	ctime       int64
	permissions os.FileMode
}

func identify(info os.FileInfo) identity {
	id := identity{size: info.Size(), mtime: info.ModTime().UnixNano(), permissions: info.Mode()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		id.dev, id.inode = stat.Dev, stat.Ino
		id.ctime = changeTime(stat)
	}
	return id
}

// seal copies the executable at path into a memfd that is then sealed, or where
// that may not be executed, into a private file in dir, and hashes what it copies.
func seal(name, path, dir string) (*binary, error) {
	source, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %s", startProblem(err))
	}
	defer func() { _ = source.Close() }()
	info, err := source.Stat()
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %s", startProblem(err))
	}
	if !info.Mode().IsRegular() || info.Size() > maxBinary || info.Mode().Perm()&0o111 == 0 {
		return nil, errors.New("is not an executable file of at most 256 MiB")
	}
	b := &binary{source: identify(info)}
	err = b.copyFrom(source, name, dir)
	if err == nil {
		err = b.inspect()
	}
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// copyFrom fills b. A memfd that is refused is no error: the private file is
// another way to the same end.
func (b *binary) copyFrom(source io.Reader, name, dir string) error {
	hash := sha256.New()
	reader := io.TeeReader(io.LimitReader(source, maxBinary+1), hash)
	target, layer := newSealable(name)
	b.layer = layer
	if target == nil {
		file, err := os.CreateTemp(dir, "binary-")
		if err != nil {
			return fmt.Errorf("private copy: %w", err)
		}
		target, b.path = file, file.Name()
	}
	n, err := io.Copy(target, reader)
	if err == nil && n > maxBinary {
		err = errors.New("it grew")
	}
	if err == nil {
		b.file, err = finishSeal(target, b.path)
	}
	if err != nil {
		_ = target.Close()
		b.close()
		return fmt.Errorf("private copy: %s", startProblem(err))
	}
	b.sum = [sha256.Size]byte(hash.Sum(nil))
	return nil
}

// inspect reads what the kernel will execute first.
func (b *binary) inspect() error {
	head := make([]byte, 256)
	n, err := b.file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("private copy: %s", startProblem(err))
	}
	if rest, ok := strings.CutPrefix(string(head[:n]), "#!"); ok {
		line, _, _ := strings.Cut(rest, "\n")
		b.interpreter, _, _ = strings.Cut(strings.TrimSpace(line), " ")
		b.script = true
		return nil
	}
	b.interpreter = loaderOf(b.file)
	return nil
}

// loaderOf gives the loader that an ELF file asks for; empty for any other file,
// the kernel says what it thinks of that. Package elf does not promise to survive
// every file.
func loaderOf(file io.ReaderAt) (loader string) {
	defer func() {
		if recover() != nil {
			loader = ""
		}
	}()
	parsed, err := elf.NewFile(file)
	if err != nil {
		return ""
	}
	for _, program := range parsed.Progs {
		if program.Type != elf.PT_INTERP || program.Filesz > 4096 {
			continue
		}
		text := make([]byte, program.Filesz)
		if _, err := program.ReadAt(text, 0); err == nil {
			return strings.TrimRight(string(text), "\x00")
		}
	}
	return ""
}

func (b *binary) close() {
	if b.file != nil {
		_ = b.file.Close()
		b.file = nil
	}
	if b.path != "" {
		_ = os.Remove(b.path)
	}
}
