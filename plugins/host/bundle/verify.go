package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
)

// Basis is why an executable may run.
type Basis string

// The bases, the best first.
const (
	// BasisSigned: installed from a bundle whose signer is trusted for the name.
	BasisSigned Basis = "signed"
	// BasisFirstParty: the bytes of a plugin of ours that lies beside passmend.
	// Whoever could exchange those could exchange passmend itself.
	BasisFirstParty Basis = "first-party"
	// BasisUnsigned: installed without a signature, by name.
	BasisUnsigned Basis = "unsigned"
	// BasisUnpinned: never installed, and allowed by name in a setting.
	BasisUnpinned Basis = "unpinned"
	// BasisDevelopment: never installed, in development mode, in a directory that
	// holds no pin.
	BasisDevelopment Basis = "development"
)

// Verdict is the last word on a plugin's executable.
type Verdict struct {
	// Basis is empty when it was refused.
	Basis Basis
	// Pin is what was installed; nil for what never was.
	Pin *Pin
	// Trusted says why the signer is trusted; zero unless Basis is BasisSigned.
	Trusted Trusted
}

// VerifierConfig is what a Verifier needs. Only Dir is required.
type VerifierConfig struct {
	// Dir is the plugin directory.
	Dir Dir
	// FirstParty names the plugins that ship with passmend, FirstPartyDir is where
	// they ship: the directory of the running command. Both or neither.
	FirstParty    []string
	FirstPartyDir Dir
	// AllowUnpinned names plugins that may run though they were never installed.
	AllowUnpinned []string
	// Development lets unpinned plugins run out of a directory without pins.
	Development bool
	// Logger takes every verdict; none by default.
	Logger *slog.Logger
}

// Verifier decides before every start whether an executable may run. It reads pins
// and trusted keys anew each time: an upgrade or a key that was taken away counts
// from the next start on.
type Verifier struct {
	config VerifierConfig

	mu       sync.Mutex
	verdicts map[string]Verdict
}

// NewVerifier makes a Verifier.
func NewVerifier(config VerifierConfig) (*Verifier, error) {
	if config.Dir == "" {
		return nil, errors.New("plugin verifier: Dir is required")
	}
	if (len(config.FirstParty) == 0) != (config.FirstPartyDir == "") {
		return nil, errors.New("plugin verifier: FirstParty and FirstPartyDir go together")
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return &Verifier{config: config, verdicts: make(map[string]Verdict)}, nil
}

// Verify says whether the bytes with this checksum may run as the plugin of this
// name. A pinned plugin needs the pinned checksum, whatever else allows it; its
// signer has to be trusted still.
func (v *Verifier) Verify(name string, sum [sha256.Size]byte) (Verdict, error) {
	verdict, err := v.judge(name, hex.EncodeToString(sum[:]))
	v.mu.Lock()
	v.verdicts[name] = verdict
	v.mu.Unlock()
	log := v.config.Logger.With(slog.String("plugin", name))
	switch {
	case err != nil:
		log.Error("plugin refused", slog.String("error", err.Error()))
	case verdict.Basis == BasisSigned:
		log.Info("plugin verified", slog.String("basis", string(verdict.Basis)), slog.String("key", verdict.Pin.Signer.ID()))
	case verdict.Basis == BasisFirstParty:
		log.Info("plugin verified", slog.String("basis", string(verdict.Basis)))
	default:
		log.Warn("plugin runs without a signature that was checked", slog.String("basis", string(verdict.Basis)))
	}
	return verdict, err
}

// Verdict gives the last one about a plugin; the zero value before the first.
func (v *Verifier) Verdict(name string) Verdict {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.verdicts[name]
}

func (v *Verifier) judge(name, digest string) (Verdict, error) {
	pin, err := v.config.Dir.pinFor(name, digest)
	if errors.Is(err, ErrNotInstalled) {
		return v.judgeUnpinned(name, digest)
	}
	if err != nil {
		return Verdict{}, err
	}
	if pin.Signer.IsZero() {
		return Verdict{Basis: BasisUnsigned, Pin: &pin}, nil
	}
	trusted, err := v.config.Dir.trusts(name, pin.Signer)
	if err != nil {
		return Verdict{}, fmt.Errorf("%s: %w", name, err)
	}
	return Verdict{Basis: BasisSigned, Pin: &pin, Trusted: trusted}, nil
}

func (v *Verifier) judgeUnpinned(name, digest string) (Verdict, error) {
	if slices.Contains(v.config.FirstParty, name) {
		shipped, _, err := checksumFile(v.config.FirstPartyDir.Path(name))
		if err == nil && shipped == digest {
			return Verdict{Basis: BasisFirstParty}, nil
		}
	}
	if slices.Contains(v.config.AllowUnpinned, name) {
		return Verdict{Basis: BasisUnpinned}, nil
	}
	if v.config.Development {
		managed, err := v.config.Dir.holdsPins()
		if err == nil && !managed {
			return Verdict{Basis: BasisDevelopment}, nil
		}
	}
	return Verdict{}, fmt.Errorf("%s: %w", name, ErrNotInstalled)
}

// Check holds an installed plugin's executable against its pin, now.
func (v *Verifier) Check(name string) (Verdict, error) {
	digest, _, err := checksumFile(v.config.Dir.Path(name))
	if err != nil {
		return Verdict{}, err
	}
	return v.judge(name, digest)
}
