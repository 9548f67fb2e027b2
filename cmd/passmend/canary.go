package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/passmend/passmend/cmd/passmend/canary"
	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// canaryKeeps is for how long people of the canary's are kept after they were made:
// the notice of their new password is on its way.
const canaryKeeps = 10 * time.Minute

func (c *config) readCanary(value func(string) string) (err error) {
	if c.canary, err = strconv.ParseBool(value("canary")); err != nil {
		return badSetting("canary", value("canary"), "true or false")
	}
	c.canaryAddress, c.canaryInbox, c.canaryVia = value("canary_address"), value("canary_inbox"), value("canary_via")
	if c.canaryAddress != "" {
		if _, err := canary.NewInbox(c.canaryInbox, c.canaryAddress); err != nil {
			return badSetting("canary_address", c.canaryAddress, "an address as canary@probe.example.com, with at most 30 characters before the @ and no +")
		}
	}
	for key, text := range map[string]string{"canary_inbox": c.canaryInbox, "canary_via": c.canaryVia} {
		if host, port, err := net.SplitHostPort(text); text != "" && (err != nil || strings.ContainsAny(host, " /") || !isPort(port)) {
			return badSetting(key, text, "HOST:PORT with a port of 0 to 65535, as 127.0.0.1:2526")
		}
	}
	return nil
}

// checkCanary refuses to start with a canary that could never come through.
func (s *service) checkCanary(context.Context) error {
	switch {
	case !s.config.canary:
		return nil
	case s.options.development:
		return badSetting("canary", "true", "false in development: every mail goes to the mailbox")
	case s.config.onlyAccount != "":
		return badSetting("canary", "true", "false with PASSMEND_ACCOUNT: the canary has accounts of its own, and paths name them")
	case s.config.canaryAddress == "":
		return missingSetting("canary_address", "an address whose mail is brought to the canary's inbox, as canary@probe.example.com")
	}
	return nil
}

// signCanary makes what proves that a call is the service's own, in every replica
// with the same keys.
func (s *service) signCanary(text string) []byte { return s.keys.Digest("canary", "", []byte(text)) }

func (s *service) provenCanary(path, proof string) bool {
	return canary.Proven(s.signCanary, path, proof, time.Now())
}

// startCanary begins to reset passwords of the service's own, when it is switched on.
func (s *service) startCanary(ctx context.Context) error {
	if !s.config.canary {
		return nil
	}
	inbox, err := canary.NewInbox(s.config.canaryInbox, s.config.canaryAddress)
	if err != nil {
		return err
	}
	bird, err := canary.New(canary.Config{
		Providers: s.config.defaultProviders,
		Desk:      &canaryDesk{store: s.store, passwords: s.passwords},
		Observer:  s.telemetry, Logger: s.logger, Inbox: inbox,
		Base: s.config.baseURL, Via: s.config.canaryVia,
		Prove: func(path string) string { return canary.Proof(s.signCanary, path, time.Now()) },
	})
	if err != nil {
		return err
	}
	if err := bird.Start(ctx); err != nil {
		return err
	}
	s.onStop("canary", bird.Stop)
	s.logger.InfoContext(ctx, "the canary is on", slog.String("inbox", inbox.Addr()), slog.Int("count", len(s.config.defaultProviders)))
	return nil
}

// canaryStore is what the canary's desk works at.
type canaryStore interface {
	core.System
	core.Users
	core.UserChanges
}

// canaryDesk makes the canary's accounts and people.
type canaryDesk struct {
	store     canaryStore
	passwords core.Passwords
}

// mostAccounts is how often an operator may delete a provider's canary account: the
// id of one that was deleted is never used again.
const mostAccounts = 32

// Account implements canary.Desk. Its slug has nothing of the provider's name: links
// are the same length for all, and stand in mails.
func (d *canaryDesk) Account(ctx context.Context, provider string) (tenants.Account, error) {
	var taken error
	for n := range mostAccounts {
		id := tenants.OwnID(fmt.Sprintf("canary %s %d", provider, n))
		account, err := d.store.AccountByID(ctx, id)
		if !errors.Is(err, tenants.ErrUnknown) {
			return account, err
		}
		account = tenants.New(id, "canary-"+string(id[len(id)-12:]), "Canary of "+provider)
		account.Providers, account.DeliverPolicy, account.LinkLife = []string{provider}, tenants.DeliverAlways, tenants.MinLinkLife
		created, err := d.store.CreateAccount(ctx, account)
		if err == nil {
			return created, nil
		}
		// Another replica was faster, or this one was deleted.
		if account, taken = d.store.AccountByID(ctx, id); !errors.Is(taken, tenants.ErrUnknown) {
			return account, taken
		}
		taken = err
	}
	return tenants.Account{}, taken
}

// Person implements canary.Desk. The password is random and not kept: nobody signs
// in as this user, and no API token is made.
func (d *canaryDesk) Person(ctx context.Context, account tenants.Account, address string) error {
	parsed, err := core.ParseUserAddress(address)
	if err != nil {
		return err
	}
	user := core.User{ID: core.UserID(newID()), Account: account.ID, Address: parsed, Role: core.RoleUser}
	var password [32]byte
	_, _ = rand.Read(password[:]) // never fails (crypto/rand, Go 1.24)
	user.PasswordHash, err = d.passwords.Hash(ctx, account.ID, user.ID, tenants.NewSecret(hex.EncodeToString(password[:])))
	if err != nil {
		return err
	}
	created, err := d.store.CreateUser(ctx, account.ID, user)
	if err != nil {
		return err
	}
	return d.forget(ctx, account.ID, created.Created.Add(-canaryKeeps))
}

// forget deletes the people who were made before a time of the database's clock.
func (d *canaryDesk) forget(ctx context.Context, account tenants.AccountID, before time.Time) error {
	people, err := d.store.Users(ctx, account, core.UserQuery{Limit: listPage})
	if err != nil {
		return err
	}
	admin := &core.UserAdmin{Users: d.store, Changes: d.store, NewID: newID}
	for _, person := range people {
		if !person.Created.Before(before) {
			continue
		}
		if err := admin.Delete(ctx, account, person.ID); err != nil && !errors.Is(err, core.ErrNotFound) {
			return err
		}
	}
	return nil
}
