// Package bundle is how a delivery plugin travels and how an operator comes to
// trust it: the one file that a vendor ships, the keys that an operator trusts,
// and the pins that say which bytes may run.
//
// Limits first: a bundle has at most 256 MiB, 16 platforms and 64 MiB a binary; a
// plugin directory has one owner, and whoever may write it may run anything there,
// which is why a directory or file that others can write is refused; a signature
// says who packed, not that the plugin is good; nothing here starts a process.
//
// A bundle is a tar.gz in one fixed form: what [Pack] writes, byte for byte in its
// headers, and nothing else is read.
//
//	SHA256SUMS              every file below, in the order of the archive
//	SHA256SUMS.sig          the vendor's key and its Ed25519 signature of SHA256SUMS
//	passmend-plugin.json    the manifest
//	LICENSE, icon.png, instructions.md, report.json   as the vendor has them
//	bin/GOOS-GOARCH/passmend-NAME                     per platform
//	schema.json             the settings, as the plugin itself describes them
//
// The sums come first, so that everything after them is held against a signature
// while it is read; no entry is looked for by name, each has to be the next line.
//
// In a plugin directory ([Dir]) are the executables, and beside them
//
//	trust.json              the keys, each for a pattern of names
//	installed/NAME.json     the pin: what was installed, from whom, what was approved
//	installed/NAME.next.json   the same of an upgrade that is under way
//
// An install writes the next pin, then the executable, then renames the pin into
// place. A plugin is held against whichever of its pins names the checksum it has,
// so that a machine that stops anywhere in between runs the old one or the new one,
// verified, and never neither.
package bundle

import (
	"errors"
	"fmt"
)

// The reasons for which a plugin or a bundle is refused.
var (
	// ErrBadBundle is in every error about a file that is not a bundle as Pack
	// writes them, or whose content is not what its sums say.
	ErrBadBundle = errors.New("bundle refused")
	// ErrBadSignature says that SHA256SUMS is not what the named key signed.
	ErrBadSignature = errors.New("signature does not verify")
	// ErrUnsigned says that there is no signature.
	ErrUnsigned = errors.New("not signed")
	// ErrUntrusted says that the key is not trusted for this name.
	ErrUntrusted = errors.New("signed by a key that is not trusted for this name")
	// ErrDowngrade says that a newer version is installed.
	ErrDowngrade = errors.New("a newer version is installed")
	// ErrNotInstalled says that no pin has this name.
	ErrNotInstalled = errors.New("not installed by 'passmend plugin install'")
	// ErrChecksum says that an executable is not what was installed.
	ErrChecksum = errors.New("the executable is not the one that was installed")
	// ErrWritable says that others may write what trust rests on.
	ErrWritable = errors.New("others can write it")
	// ErrBusy says that another install works on the same directory.
	ErrBusy = errors.New("another install is under way in this directory")
)

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrBadBundle, fmt.Errorf(format, args...))
}
