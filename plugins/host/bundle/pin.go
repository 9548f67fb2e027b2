package bundle

import (
	"errors"
	"fmt"
	"time"
)

const (
	pinVersion = 1
	maxPin     = 128 << 10
	// unsigned stands in a pin where a signer would.
	unsigned = "unsigned"
)

// Pin is what was installed: which bytes, from whom, and what the operator
// approved. The proof is kept with it and holds before every start.
type Pin struct {
	Manifest Manifest
	// Platform is the one of the executable; SHA256 its checksum in hex.
	Platform string
	SHA256   string
	// Signer is the vendor's key; zero when the bundle was not signed.
	Signer      PublicKey
	Approved    Approval
	InstalledAt time.Time

	receipt receipt
}

// Approval is what the operator lets a plugin have in its cage.
type Approval struct {
	// Ports are all TCP ports that it may connect to, in order: those of its
	// manifest and Added, which the operator put there.
	Ports []uint16 `json:"ports"`
	Added []uint16 `json:"added,omitempty"`
	// Runtime are paths that it may read and execute.
	Runtime []string `json:"runtime,omitempty"`
	// Memory is in bytes; 0 is the host's default.
	Memory int64 `json:"memory,omitempty"`
}

// pinContent is a pin as it is written.
type pinContent struct {
	Format      int       `json:"format"`
	Manifest    Manifest  `json:"manifest"`
	Platform    string    `json:"platform"`
	SHA256      string    `json:"sha256"`
	Signer      string    `json:"signer"`
	Approved    Approval  `json:"approved"`
	InstalledAt time.Time `json:"installedAt"`
	Receipt     receipt   `json:"receipt"`
}

func (p Pin) encode() ([]byte, error) {
	signer := unsigned
	if !p.Signer.IsZero() {
		signer = p.Signer.String()
	}
	return encodeJSON(pinContent{
		Format: pinVersion, Manifest: p.Manifest, Platform: p.Platform, SHA256: p.SHA256, Signer: signer,
		Approved: p.Approved, InstalledAt: p.InstalledAt, Receipt: p.receipt,
	})
}

// readPin reads a pin and proves it: the manifest is the one that was signed, and
// the checksum is the one that it gives. Without the file it is ErrNotInstalled.
func (d Dir) readPin(path, name string) (Pin, error) {
	text, err := d.readStore(path, maxPin)
	if err != nil {
		return Pin{}, fmt.Errorf("pin of %s: %w", name, err)
	}
	if text == nil {
		return Pin{}, fmt.Errorf("%s: %w", name, ErrNotInstalled)
	}
	pin, err := parsePin(text)
	if err != nil {
		return pin, fmt.Errorf("pin of %s: %s: %w", name, path, err)
	}
	if pin.Manifest.Name != name {
		return pin, fmt.Errorf("pin of %s: %s: it is another plugin's", name, path)
	}
	return pin, nil
}

func parsePin(text []byte) (Pin, error) {
	var c pinContent
	if err := decodeStrict(text, &c); err != nil {
		return Pin{}, err
	}
	if c.Format != pinVersion {
		return Pin{}, fmt.Errorf("its format is not %d: install the plugin again", pinVersion)
	}
	if err := c.Manifest.validate(); err != nil {
		return Pin{}, fmt.Errorf("manifest: %w", err)
	}
	signer, err := c.Receipt.proves(c.Manifest)
	if err != nil {
		return Pin{}, err
	}
	binary, offered := c.Manifest.Platforms[c.Platform]
	if !offered || binary.SHA256 != c.SHA256 {
		return Pin{}, fmt.Errorf("%w: its checksum is not in the manifest", ErrChecksum)
	}
	if signer.IsZero() != (c.Signer == unsigned) || !signer.IsZero() && c.Signer != signer.String() {
		return Pin{}, fmt.Errorf("%w: it names another signer", ErrBadSignature)
	}
	return Pin{
		Manifest: c.Manifest, Platform: c.Platform, SHA256: c.SHA256, Signer: signer,
		Approved: c.Approved, InstalledAt: c.InstalledAt, receipt: c.Receipt,
	}, nil
}

// pinFor gives the pin of the executable with this checksum. After an install that
// was cut short there are two. A pin that cannot be read is never as good as none.
func (d Dir) pinFor(name, digest string) (Pin, error) {
	var refusal error
	for _, path := range []string{d.pinPath(name), d.nextPath(name)} {
		pin, err := d.readPin(path, name)
		switch {
		case err == nil && pin.SHA256 == digest:
			return pin, nil
		case err == nil:
			err = fmt.Errorf("%s: %w: install it again, or remove it", name, ErrChecksum)
		case errors.Is(err, ErrNotInstalled):
			continue
		}
		if refusal == nil {
			refusal = err
		}
	}
	if refusal == nil {
		refusal = fmt.Errorf("%s: %w", name, ErrNotInstalled)
	}
	return Pin{}, refusal
}

// Pin gives the pin of an installed plugin, proved within itself; what is in the
// executable, and whether its signer is still trusted, Verifier.Check says.
func (d Dir) Pin(name string) (Pin, error) {
	if !nameForm.MatchString(name) {
		return Pin{}, fmt.Errorf("%s: %w", name, ErrNotInstalled)
	}
	if digest, _, err := checksumFile(d.Path(name)); err == nil {
		if pin, err := d.pinFor(name, digest); err == nil {
			return pin, nil
		}
	}
	return d.readPin(d.pinPath(name), name)
}
