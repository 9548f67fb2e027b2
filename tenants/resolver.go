package tenants

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/maypok86/otter/v2"
)

// Directory looks accounts up where they are stored. All answer ErrUnknown.
type Directory interface {
	AccountByID(ctx context.Context, id AccountID) (Account, error)
	AccountBySlug(ctx context.Context, slug string) (Account, error)
	// AccountByHost finds the account whose verified domain has that host, in the
	// spelling of ParseHost.
	AccountByHost(ctx context.Context, host string) (Account, error)
}

// resolverEntries bounds the cache. An account takes 0.7 kB, and the heap grows to
// several times what lives: a service of 100,000 accounts is to need about the memory of
// one of ten. Whoever is not remembered costs a share of a statement (Directory).
const resolverEntries = 4_000

// Resolver turns what stands for {ACCOUNT}, or a host name, into an account,
// remembering the last 4,000. It forgets everything on Clear, and is told to by whoever
// watches the database for changes; it never asks by itself.
type Resolver struct {
	directory Directory
	cache     *otter.Cache[known, Account]
	era       atomic.Uint64 // counts the Clears
}

// known is what an account was found by, and in which era: what a look-up read before
// a Clear and gives after it is remembered for nobody.
type known struct {
	era uint64
	ref string
}

// NewResolver gives an empty resolver over directory.
func NewResolver(directory Directory) (*Resolver, error) {
	cache, err := otter.New(&otter.Options[known, Account]{MaximumSize: resolverEntries})
	if err != nil {
		return nil, fmt.Errorf("account cache: %w", err)
	}
	return &Resolver{directory: directory, cache: cache}, nil
}

// Resolve takes a UUID in any letter case, hyphens optional, or an exact slug
// (contract.md, B). ErrUnknown when there is no such account; that answer is not
// remembered. Concurrent look-ups of one account share a query.
func (r *Resolver) Resolve(ctx context.Context, ref string) (Account, error) {
	load := func(ctx context.Context, slug string) (Account, error) {
		if !ValidSlug(slug) {
			return Account{}, ErrUnknown
		}
		return r.directory.AccountBySlug(ctx, slug)
	}
	if id, ok := ParseUUID(ref); ok {
		ref = id
		load = func(ctx context.Context, id string) (Account, error) {
			return r.directory.AccountByID(ctx, AccountID(id))
		}
	}
	return r.get(ctx, ref, load)
}

// ResolveHost gives the account whose own the host name is: in any letter case,
// without a port. ErrUnknown, which is not remembered. A host has a dot and so is
// never taken for a slug.
func (r *Resolver) ResolveHost(ctx context.Context, name string) (Account, error) {
	host, ok := ParseHost(name)
	if !ok {
		return Account{}, ErrUnknown
	}
	return r.get(ctx, host, r.directory.AccountByHost)
}

func (r *Resolver) get(ctx context.Context, ref string, load func(context.Context, string) (Account, error)) (Account, error) {
	return r.cache.Get(ctx, known{r.era.Load(), ref}, otter.LoaderFunc[known, Account](func(ctx context.Context, k known) (Account, error) {
		return load(ctx, k.ref)
	}))
}

// Clear forgets every account, those that are being looked up just now as well.
func (r *Resolver) Clear() {
	r.era.Add(1)
	r.cache.InvalidateAll()
}
