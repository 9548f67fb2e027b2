package core

import (
	"context"
	"fmt"
	"time"

	"github.com/passmend/passmend/tenants"
)

const (
	// MostListed is how many accounts a mail of KindAccounts lists.
	MostListed = 100
	// accountsLife is for how long such a mail is worth sending.
	accountsLife = 24 * time.Hour
)

// Admins finds where somebody is an admin; System does.
type Admins interface {
	AdministeredAccounts(ctx context.Context, address Address, limit int) ([]tenants.Account, error)
}

// resolveRecover plans the mail that lists the accounts of an address (contract.md,
// A8). It holds nothing but its budgets: what it lists is read when it is sent.
func (r *Resolver) resolveRecover(ctx context.Context, delivery Delivery) (Plan, error) {
	address, err := openAddress(r.Sealer, delivery, delivery.Asked.SealedAddress)
	if err != nil {
		return Plan{}, err
	}
	if !address.Fits() {
		return Plan{Request: delivery.Request, Suppress: ReasonAddressTooLong}, nil
	}
	accounts, err := r.Admins.AdministeredAccounts(ctx, address, 1)
	if err != nil {
		return Plan{}, fmt.Errorf("accounts of request %s: %w", delivery.Request, err)
	}
	if len(accounts) == 0 {
		return Plan{Request: delivery.Request, Suppress: ReasonUnknownUser}, nil
	}
	return Plan{
		Request:  delivery.Request,
		Address:  delivery.Asked.AddressDigest,
		LinkLife: accountsLife,
		Budgets:  r.budgets(delivery.Account, address),
		Mail:     &NewDelivery{ID: DeliveryID(r.NewID()), Lease: LeaseID(r.NewID())},
	}, nil
}

// dispatchAccounts is Dispatch for KindAccounts. The mail goes to the address that was
// asked for, which is an admin's address: nobody else is written to.
func (d *Dispatcher) dispatchAccounts(ctx context.Context, delivery Delivery) (Settlement, error) {
	request, err := d.c.Ledger.Request(ctx, delivery.Account, delivery.Request)
	if err != nil {
		return Settlement{}, fmt.Errorf("request %s: %w", delivery.Request, err)
	}
	address, err := openAddress(d.c.Sealer, delivery, request.SealedAddress)
	if err != nil {
		return Settlement{}, err
	}
	accounts, err := d.c.Admins.AdministeredAccounts(ctx, address, MostListed+1)
	if err != nil {
		return Settlement{}, fmt.Errorf("accounts of delivery %s: %w", delivery.ID, err)
	}
	if len(accounts) == 0 {
		return Settlement{State: DeliverySuperseded}, nil
	}
	own := tenants.Recover(d.c.BaseURL.Hostname())
	facts := MailFacts{
		Template: MailAccounts, Account: own, To: User{Address: address},
		More: len(accounts) > MostListed, MessageID: d.messageID(delivery),
	}
	for _, account := range accounts[:min(len(accounts), MostListed)] {
		facts.Accounts = append(facts.Accounts, AccountEntry{account, d.forgotURL(account)})
	}
	mail, err := d.c.Renderer.Mail(ctx, facts)
	if err != nil {
		return Settlement{}, fmt.Errorf("render delivery %s: %w", delivery.ID, err)
	}
	return d.attempt(ctx, own, d.c.DefaultProviders, delivery, mail)
}
