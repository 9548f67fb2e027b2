package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	mediaSPDX       types.MediaType = "application/spdx+json"
	mediaProvenance types.MediaType = "application/vnd.in-toto+json"
)

// about makes the SBOM and the provenance of an image, as artifacts that refer to
// it (OCI distribution, referrers) and as files beside the layout.
func (b build) about(image v1.Image, platform v1.Platform, binaries []program) ([]v1.Image, error) {
	digest, err := image.Digest()
	if err != nil {
		return nil, err
	}
	subject, err := partial.Descriptor(image)
	if err != nil {
		return nil, err
	}
	var artifacts []v1.Image
	for _, note := range []struct {
		suffix string
		media  types.MediaType
		text   any
	}{
		{"spdx.json", mediaSPDX, b.sbom(platform, digest, binaries)},
		{"provenance.json", mediaProvenance, b.provenance(platform, digest, binaries)},
	} {
		text, err := json.MarshalIndent(note.text, "", "  ")
		if err != nil {
			return nil, err
		}
		text = append(text, '\n')
		if err := b.writeBeside(platform, note.suffix, text); err != nil {
			return nil, err
		}
		artifact, err := refer(text, note.media, *subject)
		if err != nil {
			return nil, err
		}
		artifacts = append(artifacts, artifact)
	}
	return artifacts, nil
}

func (b build) writeBeside(platform v1.Platform, suffix string, text []byte) error {
	path := fmt.Sprintf("%s-%s-%s.%s", filepath.Clean(b.layout), platform.OS, platform.Architecture, suffix)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // a folder of build output, for everybody to read
		return err
	}
	return os.WriteFile(path, text, 0o644) //nolint:gosec // nothing in it is secret
}

// refer wraps a text as an artifact about subject. Its type is its config's media
// type, which readers fall back to where a manifest names no artifactType.
func refer(text []byte, media types.MediaType, subject v1.Descriptor) (v1.Image, error) {
	image := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	image = mutate.ConfigMediaType(image, media)
	image, err := mutate.Append(image, mutate.Addendum{Layer: static.NewLayer(text, media)})
	if err != nil {
		return nil, err
	}
	subject.Platform, subject.Annotations = nil, nil
	artifact, ok := mutate.Subject(image, subject).(v1.Image)
	if !ok {
		return nil, errors.New("an artifact with a subject is no image")
	}
	return artifact, nil
}
