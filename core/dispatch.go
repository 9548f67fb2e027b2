package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

// DispatchConfig is what a Dispatcher works with; every field is needed but
// Breakers and SendTimeout.
type DispatchConfig struct {
	Accounts  AccountFinder
	Logos     LogoLookup
	Ledger    Ledger
	Users     Users
	Providers ProviderLookup
	Sealer    Sealer
	Keys      LinkKeys
	Renderer  Renderer
	Plugins   Plugins
	// Admins is asked for mails of KindAccounts.
	Admins Admins
	// BaseURL is where the hosted pages are reached from outside. Links begin with it, with
	// the account's own host or with its own template, never with a header of a request.
	BaseURL *url.URL
	// DefaultProviders is the chain of accounts that have none of their own.
	DefaultProviders []string
	NewID            func() string
	// Breakers parks what would go to a provider that is known to be down; nil: none.
	Breakers Breakers
	// SendTimeout bounds one attempt; 0 means 30 s. It must stay under LeaseLife.
	SendTimeout time.Duration
}

// Breakers remember how a provider did for an account.
type Breakers interface {
	// Allow says whether the provider may be asked, and if not, when to come back.
	Allow(account tenants.AccountID, provider string) (wait time.Duration, ok bool)
	// Report says how an attempt that was allowed ended.
	Report(account tenants.AccountID, provider string, healthy bool)
}

type noBreakers struct{}

func (noBreakers) Allow(tenants.AccountID, string) (time.Duration, bool) { return 0, true }
func (noBreakers) Report(tenants.AccountID, string, bool)                {}

// LogoLookup gives an account's logo; ErrNotFound when it has none.
type LogoLookup interface {
	Logo(ctx context.Context, account tenants.AccountID) ([]byte, error)
}

// ProviderLookup gives a configured provider by name; ErrNotFound.
type ProviderLookup interface {
	Provider(ctx context.Context, account tenants.AccountID, name string) (Provider, error)
}

// Dispatcher makes one attempt at a mail or a notice.
type Dispatcher struct{ c DispatchConfig }

// NewDispatcher gives a Dispatcher; it starts nothing.
func NewDispatcher(c DispatchConfig) *Dispatcher {
	if c.SendTimeout == 0 {
		c.SendTimeout = 30 * time.Second
	}
	if c.Breakers == nil {
		c.Breakers = noBreakers{}
	}
	return &Dispatcher{c}
}

// Dispatch recomputes the link, renders, chooses the provider, hands the mail
// over, and says what that came to. Its error means that no attempt was made; the
// delivery should be tried again later.
func (d *Dispatcher) Dispatch(ctx context.Context, delivery Delivery) (Settlement, error) {
	if !delivery.NotAfter.IsZero() && !delivery.Now.Before(delivery.NotAfter) {
		return Settlement{State: DeliveryExpired}, nil
	}
	if delivery.Kind == KindAccounts {
		return d.dispatchAccounts(ctx, delivery)
	}
	account, err := d.c.Accounts.Resolve(ctx, string(delivery.Account))
	if err != nil {
		return Settlement{}, fmt.Errorf("account of delivery %s: %w", delivery.ID, err)
	}
	known, err := d.known(ctx, delivery)
	if errors.Is(err, errNotLive) {
		return Settlement{State: DeliverySuperseded}, nil
	}
	if err != nil {
		return Settlement{}, err
	}
	facts, err := d.facts(ctx, account, known, delivery)
	if err != nil {
		return Settlement{}, fmt.Errorf("facts of delivery %s: %w", delivery.ID, err)
	}
	mail, err := d.c.Renderer.Mail(ctx, facts)
	if err != nil {
		return Settlement{}, fmt.Errorf("render delivery %s: %w", delivery.ID, err)
	}
	chain := account.Providers
	if len(chain) == 0 {
		chain = d.c.DefaultProviders
	}
	return d.attempt(ctx, account, chain, delivery, mail)
}

// errNotLive: the user is gone, or the link is spent or disputed or was made for an
// older credential.
var errNotLive = errors.New("nothing to send any more")

// known gives the user and, but for a notice, the link, reading what the delivery
// does not bring along; errNotLive.
func (d *Dispatcher) known(ctx context.Context, delivery Delivery) (Known, error) {
	if delivery.Known != nil {
		return *delivery.Known, nil
	}
	user, err := d.c.Users.User(ctx, delivery.Account, delivery.User)
	if errors.Is(err, ErrNotFound) {
		return Known{}, errNotLive
	}
	if err != nil {
		return Known{}, fmt.Errorf("user of delivery %s: %w", delivery.ID, err)
	}
	known := Known{User: user}
	if delivery.Kind == KindNotice {
		return known, nil
	}
	request, err := linkRequest(ctx, d.c.Ledger, delivery.Account, delivery.Request)
	if err != nil {
		return Known{}, err
	}
	if request.Link.Seed == (Seed{}) || !request.Spent.IsZero() || request.Link.CredentialVersion != user.CredentialVersion {
		return Known{}, errNotLive
	}
	known.Link, known.Expires = request.Link, request.Expires
	return known, nil
}

// facts gathers what the mail says.
func (d *Dispatcher) facts(ctx context.Context, account tenants.Account, known Known, delivery Delivery) (facts MailFacts, err error) {
	facts = MailFacts{
		Template:  MailChanged,
		Account:   account,
		To:        known.User,
		Changed:   delivery.Queued,
		ForgotURL: d.forgotURL(account),
		MessageID: d.messageID(delivery),
	}
	if account.Branding.LogoHash != "" {
		if facts.Logo, err = d.c.Logos.Logo(ctx, account.ID); err != nil && !errors.Is(err, ErrNotFound) {
			return facts, fmt.Errorf("logo: %w", err)
		}
	}
	if delivery.Kind == KindNotice {
		return facts, nil
	}
	token, err := mintToken(d.c.Keys, known.User, known.Link)
	if err != nil {
		return facts, err
	}
	facts.Template = MailReset
	if known.User.PasswordHash == nil {
		facts.Template = MailInvite
	}
	facts.Link = d.link(account, known.User, token)
	facts.Life, facts.Expires = account.LinkLife, known.Expires
	return facts, nil
}

// pages is where an account's pages begin: on its own host, at the service's port, or
// under its name on the service's.
func (d *Dispatcher) pages(account tenants.Account) *url.URL {
	if account.Host == "" {
		return d.c.BaseURL.JoinPath(account.Slug)
	}
	own := *d.c.BaseURL
	own.Host = account.Host
	if port := d.c.BaseURL.Port(); port != "" {
		own.Host = net.JoinHostPort(account.Host, port)
	}
	return &own
}

func (d *Dispatcher) forgotURL(account tenants.Account) string {
	return d.pages(account).JoinPath("forgot").String()
}

func (d *Dispatcher) messageID(delivery Delivery) string {
	return string(delivery.ID) + "@" + d.c.BaseURL.Hostname()
}

// linkRequest gives the request whose link is to be sent: its own, or the earlier
// one that it repeats.
func linkRequest(ctx context.Context, ledger Ledger, account tenants.AccountID, id RequestID) (Request, error) {
	request, err := ledger.Request(ctx, account, id)
	if err == nil && request.LinkRequest != "" {
		request, err = ledger.Request(ctx, account, request.LinkRequest)
	}
	if err != nil {
		return Request{}, fmt.Errorf("request %s: %w", id, err)
	}
	return request, nil
}

func (d *Dispatcher) link(account tenants.Account, user User, token tenants.Secret) tenants.Secret {
	if account.LinkTemplate != "" {
		return tenants.FillLink(account.LinkTemplate, account.ID, string(user.ID), token)
	}
	return tenants.NewSecret(d.pages(account).JoinPath("r", token.Reveal()).String())
}

// attempt hands the mail to the provider that is next in the chain, or to the one
// after it that may be asked. When none may, the delivery is put off and the
// attempt is not counted.
func (d *Dispatcher) attempt(ctx context.Context, account tenants.Account, chain []string, delivery Delivery, mail sdk.Mail) (Settlement, error) {
	if len(chain) == 0 {
		return settle(delivery, chain, "", sdk.Receipt{}, &sdk.Failure{Kind: sdk.Misconfigured, Public: "no provider is configured"}, 0), nil
	}
	due, err := findProvider(ctx, d.c.Providers, account.ID, chain[position(chain, delivery.Provider)])
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Settlement{}, fmt.Errorf("provider of delivery %s: %w", delivery.ID, err)
	}
	if due.Held { // before a breaker counts it
		return park(delivery, due.ID), nil
	}
	name, wait := d.choose(account.ID, chain, delivery.Provider)
	if wait > 0 {
		return snooze(delivery, wait), nil
	}
	provider, err := findProvider(ctx, d.c.Providers, account.ID, name)
	if errors.Is(err, ErrNotFound) {
		return d.failover(settle(delivery, chain, name, sdk.Receipt{}, &sdk.Failure{Kind: sdk.Misconfigured, Public: "there is no provider of this name"}, 0), delivery, name), nil
	}
	if err != nil {
		return Settlement{}, fmt.Errorf("provider %s: %w", name, err)
	}
	if provider.Held {
		return park(delivery, provider.ID), nil
	}
	settings, err := OpenSettings(d.c.Sealer, provider)
	if err != nil {
		return Settlement{}, fmt.Errorf("settings of provider %s: %w", name, err)
	}
	if err := ctx.Err(); err != nil {
		return Settlement{}, err // nothing was sent, and that is known
	}
	bounded, cancel := context.WithTimeout(ctx, d.c.SendTimeout)
	defer cancel()
	begun := time.Now()
	receipt, err := d.c.Plugins.Send(bounded, provider.Plugin, sdk.SendRequest{
		IdempotencyKey: string(delivery.ID),
		Settings:       settings,
		Mail:           &mail,
	})
	if ctx.Err() == nil { // else it was broken off here, which says nothing about the provider
		d.c.Breakers.Report(account.ID, name, healthy(err))
	}
	settlement := settle(delivery, chain, name, receipt, err, time.Since(begun))
	if first := chain[position(chain, delivery.Provider)]; first != name {
		settlement.Event = d.failedOver(delivery, first, name, "not asked: it has failed too often")
	}
	return d.failover(settlement, delivery, name), nil
}

// choose gives the first provider of the chain, from the one that is due, that may
// be asked; else how long until one may.
func (d *Dispatcher) choose(account tenants.AccountID, chain []string, due string) (name string, wait time.Duration) {
	here := position(chain, due)
	for i := range chain {
		name := chain[(here+i)%len(chain)]
		w, ok := d.c.Breakers.Allow(account, name)
		if ok {
			return name, 0
		}
		if wait == 0 || w < wait {
			wait = max(w, time.Millisecond)
		}
	}
	return "", wait
}

// healthy says whether an attempt speaks for the provider: a refusal of one
// address or one message says nothing against it.
func healthy(err error) bool {
	if err == nil {
		return true
	}
	switch sdk.FailureOf(err).Kind {
	case sdk.RecipientRefused, sdk.ContentRefused, sdk.RateLimited, sdk.QuotaExhausted:
		return true
	default:
		return false
	}
}

// failover leaves a trace when the next attempt goes to another provider.
func (d *Dispatcher) failover(settlement Settlement, delivery Delivery, from string) Settlement {
	if settlement.State == DeliveryQueued && settlement.Provider != from {
		settlement.Event = d.failedOver(delivery, from, settlement.Provider, settlement.Attempt.Outcome)
	}
	return settlement
}

// failedOver tells the account's owner of a change of provider.
func (d *Dispatcher) failedOver(delivery Delivery, from, to, why string) *Event {
	facts, err := json.Marshal(map[string]string{"from": from, "to": to, "reason": why})
	if err != nil {
		facts = []byte(`{}`) // cannot happen: strings always encode
	}
	return &Event{
		ID: EventID(d.c.NewID()), Name: EventFailedOver,
		User: delivery.User, Request: delivery.Request, Facts: facts,
	}
}

// findProvider finds a name among the account's own, then among the platform's.
func findProvider(ctx context.Context, providers ProviderLookup, account tenants.AccountID, name string) (Provider, error) {
	provider, err := providers.Provider(ctx, account, name)
	if errors.Is(err, ErrNotFound) {
		return providers.Provider(ctx, "", name)
	}
	return provider, err
}

// OpenSettings gives a provider's settings with the secrets in clear, for one call.
func OpenSettings(sealer Sealer, provider Provider) (sdk.Settings, error) {
	settings := sdk.Settings{Values: provider.Settings}
	if provider.SealedSecrets == nil {
		return settings, nil
	}
	opened, err := sealer.Open(provider.Account, string(provider.ID), provider.SealedSecrets)
	if err != nil {
		return sdk.Settings{}, fmt.Errorf("open secrets: %w", err)
	}
	var values map[string]string
	if err := json.Unmarshal(opened, &values); err != nil {
		return sdk.Settings{}, errors.New("open secrets: not a JSON object of strings")
	}
	settings.Secrets = make(map[string]sdk.Secret, len(values))
	for name, value := range values {
		settings.Secrets[name] = sdk.NewSecret(value)
	}
	return settings, nil
}

// SealSettings puts secrets into the provider's row.
func SealSettings(sealer Sealer, provider *Provider, secrets map[string]tenants.Secret) error {
	if len(secrets) == 0 {
		return nil
	}
	values := make(map[string]string, len(secrets))
	for name, secret := range secrets {
		values[name] = secret.Reveal()
	}
	encoded, err := json.Marshal(values)
	if err != nil {
		return fmt.Errorf("encode secrets: %w", err)
	}
	provider.SealedSecrets, err = sealer.Seal(provider.Account, string(provider.ID), encoded)
	if err != nil {
		return fmt.Errorf("seal secrets: %w", err)
	}
	return nil
}
