package keys

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// MaxPasswordBytes is the longest password that is looked at. The policy's 256
// code points fit in it; it is here for callers that forgot to ask the policy.
const MaxPasswordBytes = 1024

// What Observe is told about; a closed list, fit for a label.
const (
	OpHash     = "hash"
	OpVerify   = "verify"
	OpRejected = "rejected" // core.ErrBusy; its work is zero
)

// PasswordsConfig bounds the work of hashing. One hash takes 19 MiB and about 35 ms
// of one core, and many at once are slower than one after another.
type PasswordsConfig struct {
	Keys     *Keys         // needed
	Parallel int           // jobs at once; 0: GOMAXPROCS
	Queue    int           // callers that may wait; 0: 64
	MaxWait  time.Duration // for a turn; 0: 2 s
	// Observe is told of every job and every rejection: how long it waited for its
	// turn, and how long it worked. ctx is the caller's, who may have left. It is called
	// by many goroutines and must not block. Nil: nobody is told.
	Observe func(ctx context.Context, op string, wait, work time.Duration)
}

func (c *PasswordsConfig) validate() error {
	switch {
	case c.Keys == nil:
		return errors.New("passwords: Keys is missing")
	case c.Parallel < 0, c.Queue < 0, c.MaxWait < 0:
		return errors.New("passwords: Parallel, Queue and MaxWait are zero or more")
	}
	if c.Parallel == 0 {
		c.Parallel = runtime.GOMAXPROCS(0)
	}
	if c.Queue == 0 {
		c.Queue = 64
	}
	if c.MaxWait == 0 {
		c.MaxWait = 2 * time.Second
	}
	if c.Observe == nil {
		c.Observe = func(context.Context, string, time.Duration, time.Duration) {}
	}
	return nil
}

// Passwords hashes passwords with argon2id and seals the hashes under the pepper
// key, so that a copy of the database cannot be searched for passwords. A caller
// whose ctx ends stops waiting; the job it began runs to its end.
type Passwords struct {
	keys    *Keys
	gate    *gate
	observe func(ctx context.Context, op string, wait, work time.Duration)
	// dummy is a sealed hash that no password matches, of no account and no user,
	// for those who have none.
	dummy []byte
}

var _ core.Passwords = (*Passwords)(nil)

// NewPasswords gives Passwords; it starts nothing.
func NewPasswords(c PasswordsConfig) (*Passwords, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	var salt [newSaltBytes]byte
	var key [newKeyBytes]byte
	_, _ = rand.Read(salt[:]) // never fails (crypto/rand, Go 1.24)
	_, _ = rand.Read(key[:])
	dummy, err := c.Keys.sealHash("", "", encodeHash(salt[:], key[:]))
	if err != nil {
		return nil, fmt.Errorf("passwords: %w", err)
	}
	return &Passwords{
		keys: c.Keys, gate: newGate(c.Parallel, c.Queue, c.MaxWait), observe: c.Observe, dummy: dummy,
	}, nil
}

// Hash gives what is stored for a user's password: a PHC string sealed to account
// and user. core.ErrBusy; core.ErrPasswordTooLong over MaxPasswordBytes.
func (p *Passwords) Hash(ctx context.Context, account tenants.AccountID, user core.UserID, password tenants.Secret) ([]byte, error) {
	if len(password.Reveal()) > MaxPasswordBytes {
		return nil, fmt.Errorf("hash password: %w", core.ErrPasswordTooLong)
	}
	var salt [newSaltBytes]byte
	_, _ = rand.Read(salt[:])
	var phc string
	err := p.run(ctx, OpHash, func() {
		typed := []byte(password.Reveal())
		phc = newHash(typed, salt[:])
		clear(typed)
	})
	if err != nil {
		return nil, fmt.Errorf("hash password: %w", err)
	}
	return p.keys.sealHash(account, user, phc)
}

// Verify says whether password is the one stored for the user. With nothing stored
// (no such user, or one without a password), with a password over MaxPasswordBytes,
// and before an error, it does the work of a current hash and says false.
// core.ErrBusy; ErrBadSeal when stored was sealed for another account or user, was
// altered, or its key is gone.
func (p *Passwords) Verify(ctx context.Context, account tenants.AccountID, user core.UserID, stored []byte, password tenants.Secret) (bool, error) {
	known := len(stored) > 0 && len(password.Reveal()) <= MaxPasswordBytes
	if !known {
		account, user, stored = "", "", p.dummy
	}
	candidate, bad := p.read(account, user, stored)
	if bad != nil {
		var err error
		if candidate, err = p.read("", "", p.dummy); err != nil {
			return false, fmt.Errorf("verify password: %w", err)
		}
	}
	var matches bool // the job's until run says that the job has ended
	err := p.run(ctx, OpVerify, func() {
		typed := []byte(password.Reveal()[:min(len(password.Reveal()), MaxPasswordBytes)])
		matches = candidate.matches(typed)
		clear(typed)
	})
	switch {
	case err != nil:
		return false, fmt.Errorf("verify password: %w", err)
	case bad != nil:
		return false, fmt.Errorf("verify password: %w", bad)
	}
	return matches && known, nil
}

// Outdated says whether a stored hash, just verified, should be made anew: its
// parameters are not today's, or the pepper key is not the primary one. from is its
// algorithm, of a closed list: argon2id, argon2i, bcrypt, pbkdf2-sha256, scrypt. It
// costs no hashing. ErrBadSeal as above; nothing stored is not outdated.
func (p *Passwords) Outdated(account tenants.AccountID, user core.UserID, stored []byte) (from string, outdated bool, err error) {
	if len(stored) == 0 {
		return "", false, nil
	}
	read, err := p.read(account, user, stored)
	if err != nil {
		return "", false, fmt.Errorf("age of password hash: %w", err)
	}
	return read.cost.algorithm, read.cost != currentCost() || !p.keys.primaryPepper(stored), nil
}

// Load gives the jobs running and the callers waiting, for gauges.
func (p *Passwords) Load() (running, waiting int) {
	return len(p.gate.permits), len(p.gate.queue)
}

// Stop answers core.ErrBusy to whoever comes or still waits, and returns when the
// running jobs have ended, or ctx has. It may be called again.
func (p *Passwords) Stop(ctx context.Context) error {
	if err := p.gate.close(ctx); err != nil {
		return fmt.Errorf("stop password hashing: %w", err)
	}
	return nil
}

func (p *Passwords) read(account tenants.AccountID, user core.UserID, stored []byte) (hash, error) {
	phc, err := p.keys.openHash(account, user, stored)
	if err != nil {
		return hash{}, err
	}
	return parseHash(phc)
}

// run does job in its turn and tells the observer from the job's own goroutine, so
// that a job whose caller has left is counted too.
func (p *Passwords) run(ctx context.Context, op string, job func()) error {
	asked := time.Now()
	err := p.gate.do(ctx, func() {
		began := time.Now()
		job()
		p.observe(ctx, op, began.Sub(asked), time.Since(began))
	})
	if errors.Is(err, core.ErrBusy) {
		p.observe(ctx, OpRejected, time.Since(asked), 0)
	}
	return err
}
