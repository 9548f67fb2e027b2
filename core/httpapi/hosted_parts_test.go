package httpapi

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"sync"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// memoryAccounts is the resolver and the store of logos.
type memoryAccounts struct {
	mu       sync.Mutex
	accounts []tenants.Account
	logos    map[tenants.AccountID][]byte
	fault    error
}

func (m *memoryAccounts) add(account tenants.Account) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, old := range m.accounts {
		if old.ID == account.ID {
			m.accounts[i] = account
			return
		}
	}
	m.accounts = append(m.accounts, account)
}

func (m *memoryAccounts) Resolve(_ context.Context, ref string) (tenants.Account, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault != nil {
		return tenants.Account{}, m.fault
	}
	id, _ := tenants.ParseUUID(ref)
	for _, account := range m.accounts {
		if account.Slug == ref || account.ID == tenants.AccountID(id) {
			return account, nil
		}
	}
	return tenants.Account{}, tenants.ErrUnknown
}

func (m *memoryAccounts) ResolveHost(_ context.Context, name string) (tenants.Account, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault != nil {
		return tenants.Account{}, m.fault
	}
	for _, account := range m.accounts {
		if account.Host != "" && account.Host == name {
			return account, nil
		}
	}
	return tenants.Account{}, tenants.ErrUnknown
}

func (m *memoryAccounts) Logo(_ context.Context, account tenants.AccountID) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if logo, ok := m.logos[account]; ok {
		return logo, nil
	}
	return nil, core.ErrNotFound
}

func (m *memoryAccounts) UpdateAccount(context.Context, tenants.AccountID, tenants.Account) (tenants.Account, error) {
	return tenants.Account{}, errors.New("not in these tests")
}

func (m *memoryAccounts) SetLogo(context.Context, tenants.AccountID, []byte) error {
	return errors.New("not in these tests")
}

// withLogo gives the account a logo and stores both.
func (s *site) withLogo(account tenants.Account) tenants.Account {
	s.t.Helper()
	picture := image.NewRGBA(image.Rect(0, 0, 220, 60))
	for x := range 220 {
		for y := range 60 {
			dx, dy := x-30, y-30
			if dx*dx+dy*dy < 28*28 || (x > 70 && x < 210 && y > 22 && y < 38) {
				picture.Set(x, y, color.RGBA{R: 0x1f, G: 0x2a, B: 0x44, A: 0xff})
			}
		}
	}
	var encoded bytes.Buffer
	if err := png.Encode(&encoded, picture); err != nil {
		s.t.Fatal(err)
	}
	sum := sha256.Sum256(encoded.Bytes())
	account.Branding.LogoHash = hex.EncodeToString(sum[:])
	s.accounts.add(account)
	s.accounts.mu.Lock()
	defer s.accounts.mu.Unlock()
	s.accounts.logos[account.ID] = encoded.Bytes()
	return account
}

// memoryIntake remembers what was accepted.
type memoryIntake struct {
	mu       sync.Mutex
	accepted []string
	fault    error
}

func (m *memoryIntake) Accept(_ context.Context, account tenants.Account, ask core.Ask) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault != nil {
		return m.fault
	}
	if ask.Deliver != nil {
		return errors.New("a page leaves delivery to the account")
	}
	m.accepted = append(m.accepted, account.Slug+" "+ask.Address.Reveal())
	return nil
}

func (m *memoryIntake) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.accepted...)
}

// memoryLinks inspects and redeems as core.Redeemer does, password policy
// included.
type memoryLinks struct {
	mu       sync.Mutex
	links    map[string]*memoryLink
	redeemed []string // new passwords
	disputed []string // whose links
	fault    error
}

type memoryLink struct {
	account tenants.AccountID
	holder  core.Holder
	expired bool
	spent   bool
}

func (m *memoryLinks) Inspect(_ context.Context, account tenants.Account, raw tenants.Secret) (core.Holder, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.inspect(account, raw)
}

func (m *memoryLinks) inspect(account tenants.Account, raw tenants.Secret) (core.Holder, error) {
	if m.fault != nil {
		return core.Holder{}, m.fault
	}
	link, ok := m.links[raw.Reveal()]
	if !ok || link.account != account.ID || link.spent {
		return core.Holder{}, core.ErrUnknownLink
	}
	if link.expired {
		return link.holder, core.ErrExpiredLink
	}
	return link.holder, nil
}

func (m *memoryLinks) Redeem(_ context.Context, account tenants.Account, _ core.UserRef, raw, password tenants.Secret) (core.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	holder, err := m.inspect(account, raw)
	if err != nil {
		return core.User{}, err
	}
	chosen, err := core.ChoosePassword(account, holder.User, password)
	if err != nil {
		return core.User{}, err
	}
	m.links[raw.Reveal()].spent = true
	m.redeemed = append(m.redeemed, chosen.Reveal())
	return holder.User, nil
}

func (m *memoryLinks) Dispute(_ context.Context, account tenants.Account, raw tenants.Secret) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	holder, err := m.inspect(account, raw)
	if err != nil {
		return err
	}
	m.links[raw.Reveal()].spent = true
	m.disputed = append(m.disputed, holder.User.Address.Reveal())
	return nil
}

func (m *memoryLinks) disputes() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.disputed...)
}

func (m *memoryLinks) passwords() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.redeemed...)
}

// memorySeals seals with AES-GCM under a key of its own; the purpose is bound in.
type memorySeals struct{ aead cipher.AEAD }

func newMemorySeals(t *testing.T) memorySeals {
	t.Helper()
	var key [32]byte
	_, _ = rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	return memorySeals{aead}
}

func (m memorySeals) SealCookie(purpose string, plaintext []byte) (string, error) {
	return base64.RawURLEncoding.EncodeToString(m.aead.Seal(nil, nil, plaintext, []byte(purpose))), nil
}

func (m memorySeals) OpenCookie(purpose, value string) ([]byte, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		return nil, fmt.Errorf("open cookie: %w", err)
	}
	return m.aead.Open(nil, nil, sealed, []byte(purpose))
}

// stoppedClock moves when told to.
type stoppedClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *stoppedClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *stoppedClock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// countedRefusals is the observer.
type countedRefusals struct {
	mu      sync.Mutex
	reasons []string
	opened  []string
}

func (c *countedRefusals) Rejected(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reasons = append(c.reasons, reason)
}

func (c *countedRefusals) RateLimited(string, string) {}

func (c *countedRefusals) LinkOpened(result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened = append(c.opened, result)
}
