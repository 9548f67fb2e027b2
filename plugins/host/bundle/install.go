package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Options is how a bundle is installed.
type Options struct {
	// Platform is the one of this machine, "GOOS/GOARCH".
	Platform string
	// Oldest and Newest are the versions of the contract that the host speaks.
	Oldest, Newest int
	// AllowUnsigned names the plugin that may come without a signature.
	AllowUnsigned string
	// AllowDowngrade lets an older version take the place of a newer one.
	AllowDowngrade bool
	// Ports are allowed besides those that the manifest asks for, and besides those
	// that were added before.
	Ports []uint16
	// Now is the time that the pin gets.
	Now time.Time
}

// Staged is a bundle that was read, verified and found trusted, with its
// executable already in the directory, where nothing runs it. It ends with Install
// or Discard.
type Staged struct {
	Bundle *Bundle
	// Trusted says why the signer is trusted; zero when nobody signed.
	Trusted Trusted
	// Installed is what is there now; nil for a first install.
	Installed *Pin
	// Approval is what the plugin gets.
	Approval Approval

	dir    Dir
	file   string // the staged executable
	pin    Pin
	unlock func()
}

// Stage prepares an install. Of the refusals, ErrUntrusted, ErrUnsigned and
// ErrDowngrade can be answered by the operator.
func (d Dir) Stage(file string, options Options) (_ *Staged, err error) {
	unlock, err := d.lock()
	if err != nil {
		return nil, err
	}
	s := &Staged{dir: d, unlock: unlock}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Discard())
		}
	}()
	if err := s.read(file, options.Platform); err != nil {
		return nil, err
	}
	if err := d.settle(s.Bundle.Manifest.Name, s.file); err != nil {
		return nil, err
	}
	if err := s.admit(options); err != nil {
		return nil, err
	}
	s.approve(options)
	return s, nil
}

// read verifies the whole bundle; its executable lands beside the pins.
func (s *Staged) read(file, platform string) error {
	staged, err := os.CreateTemp(filepath.Join(string(s.dir), pinFolder), stagePart)
	if err != nil {
		return err
	}
	s.file = staged.Name()
	if s.Bundle, err = Open(file, platform, staged); err == nil {
		err = staged.Chmod(0o755)
	}
	if err == nil {
		err = staged.Sync()
	}
	return errors.Join(err, staged.Close())
}

// admit decides whether this bundle may take the place of what is there.
func (s *Staged) admit(options Options) error {
	m, name := s.Bundle.Manifest, s.Bundle.Manifest.Name
	if m.Protocol < options.Oldest {
		return fmt.Errorf("%s %s speaks version %d of the contract; this release speaks %d to %d",
			name, m.Version, m.Protocol, options.Oldest, options.Newest)
	}
	trusted, err := s.dir.Judge(s.Bundle)
	if err != nil && (!errors.Is(err, ErrUnsigned) || options.AllowUnsigned != name) {
		return err
	}
	s.Trusted = trusted
	installed, err := s.dir.readPin(s.dir.pinPath(name), name)
	if errors.Is(err, ErrNotInstalled) {
		return s.dir.vacant(name)
	}
	if err != nil {
		return err
	}
	s.Installed = &installed
	if compareVersions(m.Version, installed.Manifest.Version) < 0 && !options.AllowDowngrade {
		return fmt.Errorf("%s %s: %w: %s", name, m.Version, ErrDowngrade, installed.Manifest.Version)
	}
	return nil
}

// vacant refuses to overwrite an executable that somebody put there by hand.
func (d Dir) vacant(name string) error {
	_, err := os.Lstat(d.Path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%s is there and %w: move it away first", d.Path(name), ErrNotInstalled)
}

// approve joins what the manifest asks for with what the operator added, now and
// before.
func (s *Staged) approve(options Options) {
	m := s.Bundle.Manifest
	added := slices.Clone(options.Ports)
	if s.Installed != nil {
		added = append(added, s.Installed.Approved.Added...)
	}
	slices.Sort(added)
	added = slices.Compact(added)
	ports := slices.Concat(m.Permissions.Ports, added)
	slices.Sort(ports)
	s.Approval = Approval{Ports: slices.Compact(ports), Added: added, Runtime: m.Runtime, Memory: m.Permissions.Memory}
	s.pin = Pin{
		Manifest: m, Platform: options.Platform, SHA256: m.Platforms[options.Platform].SHA256, Signer: s.Bundle.Signer,
		Approved: s.Approval, InstalledAt: options.Now.UTC().Truncate(time.Second), receipt: s.Bundle.receipt,
	}
}

// Install puts the plugin in place. Wherever it is cut short, the directory holds
// the old one or the new one, pinned.
func (s *Staged) Install() error {
	defer s.unlock()
	for _, step := range s.steps() {
		if err := step(); err != nil {
			return fmt.Errorf("install %s: %w", s.pin.Manifest.Name, err)
		}
	}
	return nil
}

// steps are what an install changes, in order; each is whole or not done.
func (s *Staged) steps() []func() error {
	name := s.pin.Manifest.Name
	return []func() error{
		func() error {
			text, err := s.pin.encode()
			if err != nil {
				return err
			}
			return s.dir.replace(s.dir.nextPath(name), text)
		},
		func() error { return rename(s.file, s.dir.Path(name)) },
		func() error { return rename(s.dir.nextPath(name), s.dir.pinPath(name)) },
	}
}

// Discard gives up a staged bundle and leaves nothing of it. After Install it does
// nothing.
func (s *Staged) Discard() error {
	defer s.unlock()
	if s.file == "" {
		return nil
	}
	return remove(s.file)
}

// Remove takes an installed plugin away; its key stays trusted.
func (d Dir) Remove(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("%s: %w", name, ErrNotInstalled)
	}
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer unlock()
	pinned := false
	for _, path := range []string{d.pinPath(name), d.nextPath(name)} {
		if _, err := os.Lstat(path); err == nil {
			pinned = true
		}
	}
	if !pinned {
		return fmt.Errorf("%s: %w", name, ErrNotInstalled)
	}
	// The pins last: what is cut short leaves a pin without an executable, which
	// can be removed again, and never an executable that nothing speaks for.
	for _, path := range []string{d.Path(name), d.nextPath(name), d.pinPath(name)} {
		if err := remove(path); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}
