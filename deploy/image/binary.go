package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// program is a binary, and what the linker wrote into it about its making.
type program struct {
	name    string
	content []byte
	info    *debug.BuildInfo
}

func (b program) sha256() string {
	sum := sha256.Sum256(b.content)
	return hex.EncodeToString(sum[:])
}

// setting gives one of the build's, as CGO_ENABLED.
func (b program) setting(key string) string {
	for _, s := range b.info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// readBinaries reads every command and refuses one that would not run in an image
// that holds nothing else.
func readBinaries(dir string, platform v1.Platform) ([]program, error) {
	var binaries []program
	for _, name := range commands {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		info, err := buildinfo.Read(bytes.NewReader(content))
		if err != nil {
			return nil, fmt.Errorf("%s: is not a Go program: %w", name, err)
		}
		b := program{name: name, content: content, info: info}
		if err := b.runsAlone(platform); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		binaries = append(binaries, b)
	}
	return binaries, nil
}

func (b program) runsAlone(platform v1.Platform) error {
	if system, arch := b.setting("GOOS"), b.setting("GOARCH"); system != platform.OS || arch != platform.Architecture {
		return fmt.Errorf("is built for %s/%s", system, arch)
	}
	if b.setting("CGO_ENABLED") != "0" {
		return errors.New("is not built with CGO_ENABLED=0: it may need a C library")
	}
	file, err := elf.NewFile(bytes.NewReader(b.content))
	if err != nil {
		return fmt.Errorf("is not a Linux program: %w", err)
	}
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP {
			return errors.New("is linked dynamically: the image has no loader")
		}
	}
	return nil
}
