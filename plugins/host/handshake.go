package host

import (
	"bufio"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/passmend/passmend/plugins/sdk/serve"
)

const (
	maxHandshake = 16 << 10
	maxSocket    = 100 // bytes of path; the system's limit is 107
)

// readHandshake gives the first line without its end. io.EOF: there was none.
func readHandshake(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxHandshake:
			return "", &endError{reasonHandshake, "the first line on its standard output is longer than 16 KiB"}
		case err == nil:
			return strings.TrimRight(string(line), "\r\n"), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", io.EOF
		}
	}
}

// checkHandshake accepts "1|VERSION|unix|SOCKET|grpc|CERTIFICATE", with a socket
// directly inside dir, and gives the socket. The line is a stranger's: errors do
// not quote it.
func checkHandshake(line, dir string) (socket string, err error) {
	wrong := func(format string, args ...any) (string, error) {
		return "", &endError{reasonHandshake, "handshake: " + fmt.Sprintf(format, args...)}
	}
	parts := strings.Split(line, "|")
	if len(parts) < 4 || parts[0] != "1" {
		return wrong("the first line on its standard output is not one")
	}
	if version, err := strconv.Atoi(parts[1]); err != nil || version < serve.PreviousProtocolVersion || version > serve.ProtocolVersion {
		return wrong("it speaks neither version %d nor %d of the contract", serve.ProtocolVersion, serve.PreviousProtocolVersion)
	}
	if parts[2] != "unix" {
		return wrong("its address is not a unix socket")
	}
	socket = parts[3]
	if filepath.Clean(socket) != socket || filepath.Dir(socket) != dir || len(socket) >= maxSocket {
		return wrong("its socket is not in the directory it was given")
	}
	if info, err := os.Lstat(socket); err != nil || info.Mode().Type() != os.ModeSocket {
		return wrong("its address is not a unix socket")
	}
	if len(parts) < 6 || parts[4] != "grpc" {
		return wrong("it does not speak gRPC with mutual TLS")
	}
	der, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err == nil {
		_, err = x509.ParseCertificate(der)
	}
	if err != nil {
		return wrong("its certificate cannot be read")
	}
	return socket, nil
}
