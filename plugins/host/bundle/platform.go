package bundle

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// PlatformOf gives the platform of an executable as "GOOS/GOARCH". A script tells
// none: it is the one that its folder is named after, GOOS-GOARCH, or else local.
func PlatformOf(path, local string) (string, error) {
	file, _, err := openRegular(path, maxBinary)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // it was only read
	begin := make([]byte, 4)
	if _, err := io.ReadFull(file, begin); err != nil {
		return "", fmt.Errorf("%s: not an executable", path)
	}
	if bytes.HasPrefix(begin, []byte("#!")) {
		folder := strings.Replace(filepath.Base(filepath.Dir(path)), "-", "/", 1)
		if platformForm.MatchString(folder) {
			return folder, nil
		}
		return local, nil
	}
	if binary, err := elf.NewFile(file); err == nil {
		if arch, known := elfArchitectures()[binary.Machine]; known {
			return "linux/" + arch, nil
		}
	}
	if binary, err := macho.NewFile(file); err == nil {
		if arch, known := machoArchitectures()[binary.Cpu]; known {
			return "darwin/" + arch, nil
		}
	}
	return "", fmt.Errorf("%s: neither an ELF or Mach-O executable of a known machine nor a script", path)
}

func elfArchitectures() map[elf.Machine]string {
	return map[elf.Machine]string{
		elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_386: "386", elf.EM_ARM: "arm",
		elf.EM_RISCV: "riscv64", elf.EM_S390: "s390x",
	}
}

func machoArchitectures() map[macho.Cpu]string {
	return map[macho.Cpu]string{macho.CpuAmd64: "amd64", macho.CpuArm64: "arm64"}
}
