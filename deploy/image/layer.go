package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// entry is a file or, with a path that ends in "/", a folder.
type entry struct {
	path    string
	mode    int64
	owner   int // user and group
	content []byte
}

// ground is what every Linux program looks for.
func ground(license []byte) []entry {
	const passwd = "root:x:0:0:root:/:/sbin/nologin\npassmend:x:65532:65532:passmend:" + home + ":/sbin/nologin\n"
	return []entry{
		{path: "/etc/group", mode: 0o644, content: []byte("root:x:0:\npassmend:x:65532:\n")},
		{path: "/etc/passwd", mode: 0o644, content: []byte(passwd)},
		{path: "/etc/ssl/certs/ca-certificates.crt", mode: 0o644, content: authorities()},
		{path: "/tmp/", mode: 0o1777},
		{path: "/usr/share/doc/passmend/LICENSE", mode: 0o644, content: license},
		{path: home + "/", mode: 0o700, owner: user},
	}
}

// authorities are Mozilla's, as Go's own pinned module has them. Those that are
// trusted for some certificates only are left out: a bundle cannot say which.
func authorities() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
	}
	return out.Bytes()
}

// layer packs entries, and the folders above them, in order of their paths.
func layer(entries []entry, at time.Time) (v1.Layer, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, e := range withFolders(entries) {
		header := &tar.Header{
			Name: strings.TrimPrefix(e.path, "/"), Mode: e.mode, Uid: e.owner, Gid: e.owner,
			Size: int64(len(e.content)), ModTime: at, Typeflag: tar.TypeReg, Format: tar.FormatPAX,
		}
		if strings.HasSuffix(e.path, "/") {
			header.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("%s: %w", e.path, err)
		}
		if _, err := w.Write(e.content); err != nil {
			return nil, fmt.Errorf("%s: %w", e.path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}

func withFolders(entries []entry) []entry {
	all := make(map[string]entry)
	for _, e := range entries {
		for i, c := range e.path[1:] {
			if folder := e.path[:i+2]; c == '/' && all[folder].path == "" {
				all[folder] = entry{path: folder, mode: 0o755}
			}
		}
	}
	for _, e := range entries {
		all[e.path] = e
	}
	var ordered []entry
	for _, e := range all {
		ordered = append(ordered, e)
	}
	slices.SortFunc(ordered, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	return ordered
}
