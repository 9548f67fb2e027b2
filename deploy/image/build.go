package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// commands are the binaries of the image. The first is what it runs.
var commands = []string{"passmend", "passmend-postmark", "passmend-smtp", "passmend-webhook"}

const (
	// user is nobody's on any machine, and the one that the chart's pods run as.
	user = 65532
	home = "/var/lib/passmend"
	// binDir holds the command and the plugins: plugins of ours are found beside it.
	binDir = "/usr/local/bin"
	source = "https://github.com/passmend/passmend"
)

// build is what an image is made of.
type build struct {
	binaries, layout, license string
	platforms                 []string // as linux/amd64
	version, revision         string
	time                      time.Time
}

func (b build) validate() error {
	switch {
	case b.binaries == "" || b.layout == "" || b.license == "":
		return errors.New("-binaries, -layout and -license are needed")
	case len(b.platforms) == 0:
		return errors.New("a platform is needed, as linux/amd64")
	}
	for _, platform := range b.platforms {
		if system, arch, found := strings.Cut(platform, "/"); system != "linux" || !found || arch == "" {
			return fmt.Errorf("platform %q: must be linux/ARCHITECTURE, as linux/amd64", platform)
		}
	}
	return nil
}

// run writes the layout and gives the digest of its image index.
func (b build) run() (v1.Hash, error) {
	if err := b.validate(); err != nil {
		return v1.Hash{}, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	var notes []v1.Image
	for _, name := range b.platforms {
		platform, err := v1.ParsePlatform(name)
		if err != nil {
			return v1.Hash{}, err
		}
		image, about, err := b.image(*platform)
		if err != nil {
			return v1.Hash{}, fmt.Errorf("%s: %w", name, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: platform}})
		notes = append(notes, about...)
	}
	annotated, ok := mutate.Annotations(index, b.annotations()).(v1.ImageIndex)
	if !ok {
		return v1.Hash{}, errors.New("an annotated index is no index")
	}
	digest, err := annotated.Digest()
	if err != nil {
		return digest, err
	}
	return digest, b.write(annotated, notes)
}

// image gives the image for a platform, and what is said about it: its SBOM and its
// provenance, as artifacts that refer to it.
func (b build) image(platform v1.Platform) (v1.Image, []v1.Image, error) {
	dir := filepath.Join(b.binaries, platform.OS+"-"+platform.Architecture)
	binaries, err := readBinaries(dir, platform)
	if err != nil {
		return nil, nil, err
	}
	license, err := os.ReadFile(b.license)
	if err != nil {
		return nil, nil, err
	}
	ground, err := layer(ground(license), b.time)
	if err != nil {
		return nil, nil, err
	}
	var entries []entry
	for _, binary := range binaries {
		entries = append(entries, entry{path: binDir + "/" + binary.name, mode: 0o755, content: binary.content})
	}
	programs, err := layer(entries, b.time)
	if err != nil {
		return nil, nil, err
	}
	bare := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	bare = mutate.ConfigMediaType(bare, types.OCIConfigJSON)
	image, err := mutate.Append(bare,
		mutate.Addendum{Layer: ground, History: b.history("certificate authorities, users, licence")},
		mutate.Addendum{Layer: programs, History: b.history("binaries")},
	)
	if err != nil {
		return nil, nil, err
	}
	image, err = b.configure(image, platform)
	if err != nil {
		return nil, nil, err
	}
	about, err := b.about(image, platform, binaries)
	return image, about, err
}

func (b build) history(what string) v1.History {
	return v1.History{Created: v1.Time{Time: b.time}, CreatedBy: "deploy/image", Comment: what}
}

func (b build) configure(image v1.Image, platform v1.Platform) (v1.Image, error) {
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Variant = platform.OS, platform.Architecture, platform.Variant
	file.Created = v1.Time{Time: b.time}
	file.Config = v1.Config{
		User:       fmt.Sprintf("%d:%d", user, user),
		Entrypoint: []string{binDir + "/" + commands[0]},
		Cmd:        []string{"serve"},
		WorkingDir: home,
		Env: []string{
			"PATH=" + binDir,
			"PASSMEND_DATA_DIR=" + home,
			// In a container, loopback is nobody.
			"PASSMEND_HTTP_ADDR=:8080",
			"PASSMEND_ADMIN_ADDR=:9090",
		},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}, "9090/tcp": {}},
		Labels:       b.annotations(),
	}
	return mutate.ConfigFile(image, file)
}

// annotations are those of the OCI image specification.
func (b build) annotations() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":    "passmend",
		"org.opencontainers.image.version":  b.version,
		"org.opencontainers.image.revision": b.revision,
		"org.opencontainers.image.source":   source,
		"org.opencontainers.image.licenses": "Apache-2.0",
		"org.opencontainers.image.created":  b.time.Format(time.RFC3339),
	}
}

// write replaces the layout: the index of the images, and what refers to them.
func (b build) write(index v1.ImageIndex, notes []v1.Image) error {
	if err := clearLayout(b.layout); err != nil {
		return err
	}
	path, err := layout.Write(b.layout, empty.Index)
	if err != nil {
		return err
	}
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": b.version})); err != nil {
		return err
	}
	for _, note := range notes {
		if err := path.AppendImage(note); err != nil {
			return err
		}
	}
	return nil
}

// clearLayout removes an earlier layout, and nothing else that somebody named by
// mistake.
func clearLayout(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(entries) > 0 && !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == "oci-layout" }) {
		return fmt.Errorf("%s: is no OCI layout and not empty: it is left alone", dir)
	}
	return os.RemoveAll(dir)
}
