package core

import (
	"context"
	"errors"
	"sync"

	"github.com/passmend/passmend/tenants"
)

// mostProviders bounds a ProviderCache; beyond it, it begins anew.
const mostProviders = 10_000

// ProviderCache remembers configured providers, and which names there are none of:
// most accounts use the platform's. Secrets stay sealed in it. Safe for many
// goroutines.
type ProviderCache struct {
	next ProviderLookup

	mu      sync.Mutex
	cleared uint64 // counts Clear, so that what was read before it is not kept after it
	found   map[providerKey]foundProvider
}

type providerKey struct {
	account tenants.AccountID
	name    string
}

type foundProvider struct {
	provider Provider
	missing  bool
}

// NewProviderCache gives an empty cache in front of next.
func NewProviderCache(next ProviderLookup) *ProviderCache {
	return &ProviderCache{next: next, found: make(map[providerKey]foundProvider)}
}

// Clear forgets everything; call it when an account or a provider has changed.
func (c *ProviderCache) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cleared++
	clear(c.found)
}

// Provider implements ProviderLookup.
func (c *ProviderCache) Provider(ctx context.Context, account tenants.AccountID, name string) (Provider, error) {
	key := providerKey{account, name}
	c.mu.Lock()
	found, ok := c.found[key]
	cleared := c.cleared
	c.mu.Unlock()
	if !ok {
		provider, err := c.next.Provider(ctx, account, name)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return Provider{}, err
		}
		found = foundProvider{provider: provider, missing: err != nil}
		c.keep(key, found, cleared)
	}
	if found.missing {
		return Provider{}, ErrNotFound
	}
	return found.provider, nil
}

func (c *ProviderCache) keep(key providerKey, found foundProvider, cleared uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cleared != cleared {
		return
	}
	if len(c.found) >= mostProviders {
		clear(c.found)
	}
	c.found[key] = found
}
