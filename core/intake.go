package core

import (
	"context"
	"errors"
	"fmt"

	"github.com/passmend/passmend/tenants"
)

// Ask is what a person or an app asked for, as it came.
type Ask struct {
	Address Address
	Deliver *bool // nil: not said
}

// Intake accepts requests. It has no port to users: it cannot know who exists,
// so neither its answer nor its time can tell (threats.md, rows 1 and 2).
type Intake struct {
	Inbox    Inbox
	Sealer   Sealer
	Digester Digester
	NewID    func() string // UUIDv7
	// TraceParent gives the W3C trace parent of ctx, or nothing; nil: no tracing.
	TraceParent func(ctx context.Context) string
}

// digestAddress is the digest scope of addresses.
const digestAddress = "address"

// Accept stores the request and returns when it is on disk. An address that no
// user can have is stored like any other and suppressed later. Its error wraps
// ErrBusy or ErrNotAccepted, and then nothing was accepted.
func (in *Intake) Accept(ctx context.Context, account tenants.Account, ask Ask) error {
	id := RequestID(in.NewID())
	canonical := ask.Address.Reveal()
	if !ask.Address.Fits() {
		// Bounds the row without a second way through; too long to be anybody's.
		canonical = ""
	}
	sealed, err := in.Sealer.Seal(account.ID, string(id), []byte(canonical))
	if err != nil {
		return fmt.Errorf("%w: seal address of %s: %w", ErrNotAccepted, id, err)
	}
	request := Request{
		ID: id, Account: account.ID, State: StatePending,
		SealedAddress: sealed,
		AddressDigest: in.Digester.Digest(digestAddress, account.ID, []byte(ask.Address.Reveal())),
		Deliver:       account.Delivers(ask.Deliver),
	}
	if in.TraceParent != nil {
		request.TraceParent = in.TraceParent(ctx)
	}
	if err := in.Inbox.Accept(ctx, account.ID, request); err != nil {
		if errors.Is(err, ErrBusy) {
			return fmt.Errorf("accept %s: %w", id, err)
		}
		return fmt.Errorf("%w: %s: %w", ErrNotAccepted, id, err)
	}
	return nil
}
