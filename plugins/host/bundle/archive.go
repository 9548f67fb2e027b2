package bundle

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

const block = 512 // of a tar archive, in bytes

// gzipHeader is the only beginning of a bundle: no name, no time, best
// compression, no system. It is what compress/gzip writes.
var gzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 0xff}

// entryHeader is the only header of a file of this name and size: USTAR, a regular
// file of nobody's, without a time. The reader compares whole headers, so that a
// link, a device, an owner, a mode or an extension cannot be written at all.
func entryHeader(name string, size int64) ([]byte, error) {
	mode := int64(0o644)
	if strings.HasPrefix(name, "bin/") {
		mode = 0o755
	}
	var header bytes.Buffer
	err := tar.NewWriter(&header).WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: size, Mode: mode,
		ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR,
	})
	return header.Bytes(), err
}

// archiveWriter writes a bundle in its one form: the same entries give the same
// bytes, with the same release of Go.
type archiveWriter struct{ gz *gzip.Writer }

func newArchiveWriter(w io.Writer) (*archiveWriter, error) {
	gz, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	return &archiveWriter{gz}, err
}

// add writes one entry; content has to have exactly size bytes.
func (a *archiveWriter) add(name string, size int64, content io.Reader) error {
	header, err := entryHeader(name, size)
	if err != nil {
		return err
	}
	if _, err := a.gz.Write(header); err != nil {
		return err
	}
	written, err := io.Copy(a.gz, io.LimitReader(content, size))
	if err == nil && written != size {
		err = fmt.Errorf("%s: changed while it was packed", name)
	}
	if err == nil {
		_, err = a.gz.Write(make([]byte, padding(size)))
	}
	return err
}

func (a *archiveWriter) close() error {
	_, err := a.gz.Write(make([]byte, 2*block))
	return errors.Join(err, a.gz.Close())
}

func padding(size int64) int64 { return (block - size%block) % block }

// archiveReader reads what archiveWriter wrote and refuses everything else. It
// reads forward, holds one block, and decompresses no more than it is asked for.
type archiveReader struct {
	file *bufio.Reader
	gz   *gzip.Reader
	name string // of the header that was read and not yet asked for
	size int64
	ends bool
}

func newArchiveReader(r io.Reader) (*archiveReader, error) {
	a := &archiveReader{file: bufio.NewReader(r)}
	begin, err := a.file.Peek(len(gzipHeader))
	if err != nil || !bytes.Equal(begin, gzipHeader) {
		return nil, errors.New("not a tar.gz that 'passmend plugin pack' wrote")
	}
	if a.gz, err = gzip.NewReader(a.file); err != nil {
		return nil, err
	}
	a.gz.Multistream(false)
	return a, a.advance()
}

// advance reads the next header, or the archive's end.
func (a *archiveReader) advance() error {
	header := make([]byte, block)
	if _, err := io.ReadFull(a.gz, header); err != nil {
		return fmt.Errorf("cut short: %w", err)
	}
	if bytes.Equal(header, make([]byte, block)) {
		return a.end()
	}
	// The library sees this one block: what would need more of the archive to be
	// understood fails.
	parsed, err := tar.NewReader(bytes.NewReader(header)).Next()
	if err != nil {
		return errors.New("an entry's header cannot be read")
	}
	if parsed.Typeflag != tar.TypeReg {
		return errors.New("an entry is not a regular file")
	}
	want, err := entryHeader(parsed.Name, parsed.Size)
	if err != nil || !bytes.Equal(header, want) {
		return errors.New("an entry's header is not as 'passmend plugin pack' writes it")
	}
	a.name, a.size = parsed.Name, parsed.Size
	return nil
}

// end reads the second block of the end and sees that nothing follows it.
func (a *archiveReader) end() error {
	rest := make([]byte, block)
	if _, err := io.ReadFull(a.gz, rest); err != nil {
		return fmt.Errorf("cut short: %w", err)
	}
	// The compression's own checksum is read here: its error is not io.EOF.
	if n, err := a.gz.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) || !bytes.Equal(rest, make([]byte, block)) {
		return errors.New("does not end as an archive does")
	}
	if _, err := a.file.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the archive")
	}
	a.ends = true
	return nil
}

// copy gives the content of the next entry, which must have this name and at most
// limit bytes.
func (a *archiveReader) copy(name string, limit int64, to io.Writer) error {
	switch {
	case a.ends:
		return fmt.Errorf("%s is missing", name)
	case a.name != name:
		return fmt.Errorf("an entry is not %s, which is next", name)
	case a.size > limit:
		return fmt.Errorf("%s is longer than %d bytes", name, limit)
	}
	if _, err := io.CopyN(to, a.gz, a.size); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	gap := make([]byte, padding(a.size))
	if _, err := io.ReadFull(a.gz, gap); err != nil {
		return fmt.Errorf("%s: cut short: %w", name, err)
	}
	if !bytes.Equal(gap, make([]byte, len(gap))) {
		return fmt.Errorf("%s: something follows it", name)
	}
	return a.advance()
}

// read gives a small entry whole.
func (a *archiveReader) read(name string, limit int64) ([]byte, error) {
	var content bytes.Buffer
	err := a.copy(name, limit, &content)
	return content.Bytes(), err
}
