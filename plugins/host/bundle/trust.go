package bundle

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

const (
	trustFile    = "trust.json"
	trustVersion = 1
	maxTrustFile = 1 << 20
)

// Trusted is a vendor's key and the plugins that the operator takes from it.
type Trusted struct {
	Key PublicKey `json:"key"`
	// For are patterns of names as path.Match reads them: "acme-*".
	For []string `json:"for"`
	// Publisher is what the operator calls the vendor; may be empty.
	Publisher string    `json:"publisher,omitempty"`
	Added     time.Time `json:"added"`
}

type trustContent struct {
	Version int       `json:"version"`
	Keys    []Trusted `json:"keys"`
}

var patternForm = regexp.MustCompile(`^[a-z0-9*?\[\]^-]{1,64}$`)

// ValidPattern says whether names can be matched with s.
func ValidPattern(s string) bool {
	_, err := path.Match(s, "name")
	return err == nil && patternForm.MatchString(s)
}

// Trusted lists the trusted keys in the order in which they were added. A file
// that others can write, or in a directory that they can, is refused.
func (d Dir) Trusted() ([]Trusted, error) {
	file := filepath.Join(string(d), trustFile)
	text, err := d.readStore(file, maxTrustFile)
	if err != nil {
		return nil, fmt.Errorf("trusted keys: %w", err)
	}
	if text == nil {
		return nil, nil
	}
	var content trustContent
	if err := decodeStrict(text, &content); err != nil || content.Version != trustVersion {
		return nil, fmt.Errorf("trusted keys: %s: not a file that 'passmend plugin trust' of this release wrote", file)
	}
	for _, trusted := range content.Keys {
		if trusted.Key.IsZero() || len(trusted.For) == 0 || slices.ContainsFunc(trusted.For, func(s string) bool { return !ValidPattern(s) }) {
			return nil, fmt.Errorf("trusted keys: %s: a key without a valid pattern", file)
		}
	}
	return content.Keys, nil
}

// trusts gives the entry by which a key is trusted for a name.
func (d Dir) trusts(name string, key PublicKey) (Trusted, error) {
	keys, err := d.Trusted()
	if err != nil {
		return Trusted{}, err
	}
	for _, trusted := range keys {
		for _, pattern := range trusted.For {
			if matched, err := path.Match(pattern, name); err == nil && matched && trusted.Key == key {
				return trusted, nil
			}
		}
	}
	return Trusted{}, fmt.Errorf("%w: key %s, id %s", ErrUntrusted, key, key.ID())
}

// Judge says why a bundle may be installed: by whom it is trusted. The error is
// ErrUnsigned or ErrUntrusted.
func (d Dir) Judge(b *Bundle) (Trusted, error) {
	if b.Signer.IsZero() {
		return Trusted{}, fmt.Errorf("%s %s: %w", b.Manifest.Name, b.Manifest.Version, ErrUnsigned)
	}
	trusted, err := d.trusts(b.Manifest.Name, b.Signer)
	if err != nil {
		return Trusted{}, fmt.Errorf("%s %s: %w", b.Manifest.Name, b.Manifest.Version, err)
	}
	return trusted, nil
}

// Trust takes plugins whose names match the pattern from the owner of a key. A key
// that is trusted already gets the pattern besides; a publisher replaces the old.
func (d Dir) Trust(added Trusted) error {
	if added.Key.IsZero() || len(added.For) == 0 || !isLine(added.Publisher) || slices.ContainsFunc(added.For, func(s string) bool { return !ValidPattern(s) }) {
		return errors.New("trusted keys: needs a key, patterns of names, and a publisher of one line at most")
	}
	return d.changeTrust(func(keys []Trusted) ([]Trusted, error) {
		for i := range keys {
			if keys[i].Key == added.Key {
				keys[i].For = append(keys[i].For, added.For...)
				slices.Sort(keys[i].For)
				keys[i].For = slices.Compact(keys[i].For)
				if added.Publisher != "" {
					keys[i].Publisher = added.Publisher
				}
				return keys, nil
			}
		}
		return append(keys, added), nil
	})
}

// Distrust takes a key away, by its text or its id, and gives what it was. What it
// signed does not start again.
func (d Dir) Distrust(ref string) (removed Trusted, err error) {
	err = d.changeTrust(func(keys []Trusted) ([]Trusted, error) {
		at := slices.IndexFunc(keys, func(t Trusted) bool { return t.Key.String() == ref || t.Key.ID() == ref })
		if at < 0 {
			return nil, errors.New("no such key is trusted")
		}
		removed = keys[at]
		return slices.Delete(keys, at, at+1), nil
	})
	return removed, err
}

func (d Dir) changeTrust(change func([]Trusted) ([]Trusted, error)) error {
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer unlock()
	keys, err := d.Trusted()
	if err != nil {
		return err
	}
	if keys, err = change(keys); err != nil {
		return err
	}
	text, err := encodeJSON(trustContent{trustVersion, keys})
	if err != nil {
		return err
	}
	return d.replace(filepath.Join(string(d), trustFile), text)
}
