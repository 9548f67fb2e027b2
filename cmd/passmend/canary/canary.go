package canary

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/passmend/passmend/tenants"
)

// Stages in their order (operability.md).
const (
	stageAccepted  = "accepted"
	stageDelivered = "delivered"
	stageOpened    = "opened"
	stageRedeemed  = "redeemed"
)

// Desk makes what a reset needs.
type Desk interface {
	// Account gives the canary's account of a provider; it makes it where there is none.
	Account(ctx context.Context, provider string) (tenants.Account, error)
	// Person makes a user with this address and a password that nobody knows, and
	// forgets those of earlier resets.
	Person(ctx context.Context, account tenants.Account, address string) error
}

// Observer hears how far resets came.
type Observer interface {
	CanaryBegan(provider string)
	Canary(provider, stage string, took time.Duration)
	CanaryLink(provider string, intact bool)
}

// Config of a Canary.
type Config struct {
	Providers []string // names; one reset each
	Desk      Desk
	Observer  Observer
	Logger    *slog.Logger
	// Inbox takes the mails; it is started and stopped with the canary.
	Inbox *Inbox
	// Base is where people reach the pages. Via, when set, is HOST:PORT to connect to
	// in place of its host, without TLS.
	Base *url.URL
	Via  string
	// Prove gives what a call to a path carries as the service's own.
	Prove func(path string) string
	// Every is the time between resets, 0: a minute. Patience is how long one may
	// take, 0: 50 s.
	Every, Patience time.Duration
}

func (c *Config) validate() error {
	for _, need := range []struct {
		field  string
		absent bool
	}{
		{"Providers", len(c.Providers) == 0}, {"Desk", c.Desk == nil}, {"Observer", c.Observer == nil}, {"Logger", c.Logger == nil},
		{"Inbox", c.Inbox == nil}, {"Base", c.Base == nil}, {"Prove", c.Prove == nil},
	} {
		if need.absent {
			return fmt.Errorf("canary: %s is missing", need.field)
		}
	}
	if c.Every == 0 {
		c.Every = time.Minute
	}
	if c.Patience == 0 {
		c.Patience = 50 * time.Second
	}
	return nil
}

// Canary resets passwords of its own.
type Canary struct {
	c     Config
	stop  context.CancelFunc
	ended sync.WaitGroup
}

// New gives a canary that does nothing yet.
func New(config Config) (*Canary, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	return &Canary{c: config}, nil
}

// Start opens the inbox and begins; the first resets at once.
func (c *Canary) Start(ctx context.Context) error {
	if err := c.c.Inbox.start(ctx); err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	for _, provider := range c.c.Providers {
		c.c.Observer.CanaryBegan(provider)
		c.ended.Go(func() { c.repeat(running, provider) })
	}
	return nil
}

// Stop ends what is under way and closes the inbox.
func (c *Canary) Stop(ctx context.Context) error {
	c.stop()
	c.ended.Wait()
	return c.c.Inbox.stop(ctx)
}

func (c *Canary) repeat(ctx context.Context, provider string) {
	ticks := time.NewTicker(c.c.Every)
	defer ticks.Stop()
	for {
		c.once(ctx, provider)
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
	}
}

// stalled is a reset that did not reach a stage. reason is for everybody to read.
type stalled struct {
	stage, reason string
	cause         error // nil: the reason says it all
}

func (s *stalled) Error() string { return s.stage + ": " + s.reason }
func (s *stalled) Unwrap() error { return s.cause }

// once does one reset and tells how far it came.
func (c *Canary) once(ctx context.Context, provider string) {
	running, cancel := context.WithTimeout(ctx, c.c.Patience)
	defer cancel()
	begun := time.Now()
	err := c.reset(running, provider, func(stage string) { c.c.Observer.Canary(provider, stage, time.Since(begun)) })
	if err == nil || ctx.Err() != nil {
		return
	}
	attributes := []slog.Attr{slog.String("provider", provider)}
	if at := new(stalled); errors.As(err, &at) {
		attributes = append(attributes, slog.String("stage", at.stage), slog.String("reason", at.reason))
		err = at.cause
	}
	if err != nil {
		attributes = append(attributes, slog.Any("err", err))
	}
	c.c.Logger.LogAttrs(ctx, slog.LevelWarn, "the canary did not come through", attributes...)
}

func (c *Canary) reset(ctx context.Context, provider string, reached func(stage string)) error {
	account, err := c.c.Desk.Account(ctx, provider)
	if err != nil {
		return &stalled{stageAccepted, "the canary's account could not be made", err}
	}
	address := c.c.Inbox.address(newTag())
	if err := c.c.Desk.Person(ctx, account, address); err != nil {
		return &stalled{stageAccepted, "the canary's user could not be made", err}
	}
	mails, forget := c.c.Inbox.await(address)
	defer forget()

	visit, err := c.newVisit(account)
	if err != nil {
		return err
	}
	defer visit.end()
	if err := visit.ask(ctx, address); err != nil {
		return err
	}
	reached(stageAccepted)

	link, err := c.receive(ctx, provider, account, mails, reached)
	if err != nil {
		return err
	}
	page, err := visit.open(ctx, link)
	if err != nil {
		return err
	}
	reached(stageOpened)
	if err := visit.choose(ctx, page); err != nil {
		return err
	}
	reached(stageRedeemed)
	return nil
}

// newTag tells one reset from every other: nobody can guess it.
func newTag() string {
	var random [10]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(random[:])
}

// proofLife is how long a proof is good for, and by how much two clocks may differ.
const proofLife = time.Minute

// Proof is what a call to a path carries as the service's own. sign keys a digest
// that only replicas of this service can make.
func Proof(sign func(text string) []byte, path string, now time.Time) string {
	return hex.EncodeToString(sign(fmt.Sprintf("%d %s", now.Unix()/int64(proofLife.Seconds()), path)))
}

// Proven says whether a proof is one for the path, of this minute or a neighbour.
func Proven(sign func(text string) []byte, path, proof string, now time.Time) bool {
	for _, shift := range []time.Duration{0, -proofLife, proofLife} {
		if equal(Proof(sign, path, now.Add(shift)), proof) {
			return true
		}
	}
	return false
}

// linkPrefix is what an account's links begin with.
func (c *Canary) linkPrefix(account tenants.Account) string {
	return strings.TrimSuffix(c.c.Base.JoinPath(account.Slug, "r").String(), "/") + "/"
}
