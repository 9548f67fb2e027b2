package tenants

import (
	"context"
	"fmt"

	"github.com/maypok86/otter/v2"
)

// Directory looks accounts up where they are stored. Both answer ErrUnknown.
type Directory interface {
	AccountByID(ctx context.Context, id AccountID) (Account, error)
	AccountBySlug(ctx context.Context, slug string) (Account, error)
}

// resolverEntries bounds the cache; an account takes about a kilobyte.
const resolverEntries = 20_000

// Resolver turns what stands for {ACCOUNT} into an account, remembering the last
// 20,000. It forgets everything on Clear, and is told to by whoever watches the
// database for changes; it never asks by itself.
type Resolver struct {
	directory Directory
	cache     *otter.Cache[string, Account]
}

// NewResolver gives an empty resolver over directory.
func NewResolver(directory Directory) (*Resolver, error) {
	cache, err := otter.New(&otter.Options[string, Account]{MaximumSize: resolverEntries})
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
	return r.cache.Get(ctx, ref, otter.LoaderFunc[string, Account](load))
}

// Clear forgets every account.
func (r *Resolver) Clear() { r.cache.InvalidateAll() }
