package core_test

import (
	"context"
	"errors"
	"testing"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// shelf is a ProviderLookup that counts.
type shelf struct {
	has   map[string]core.Provider
	asked int
	err   error
	hook  func()
}

func (s *shelf) Provider(_ context.Context, account tenants.AccountID, name string) (core.Provider, error) {
	s.asked++
	provider, ok := s.has[string(account)+"/"+name]
	if s.hook != nil {
		s.hook()
	}
	switch {
	case s.err != nil:
		return core.Provider{}, s.err
	case !ok:
		return core.Provider{}, core.ErrNotFound
	}
	return provider, nil
}

func TestProviderCache(t *testing.T) {
	t.Parallel()
	s := &shelf{has: map[string]core.Provider{"a/smtp": {Name: "smtp", Plugin: "one"}}}
	cache := core.NewProviderCache(s)
	plugin := func(account tenants.AccountID) string {
		t.Helper()
		provider, err := cache.Provider(t.Context(), account, "smtp")
		if err != nil {
			return err.Error()
		}
		return provider.Plugin
	}
	for range 3 {
		if got := plugin("a") + "," + plugin("b"); got != "one,"+core.ErrNotFound.Error() {
			t.Fatalf("found %s", got)
		}
	}
	if s.asked != 2 {
		t.Errorf("asked %d times, want once for each account", s.asked)
	}
	s.has["a/smtp"] = core.Provider{Plugin: "two"}
	if got := plugin("a"); got != "one" {
		t.Errorf("found %s before Clear", got)
	}
	cache.Clear()
	if got := plugin("a"); got != "two" {
		t.Errorf("found %s after Clear", got)
	}
}

func TestProviderCacheKeepsNoFailure(t *testing.T) {
	t.Parallel()
	s := &shelf{err: errors.New("database is away")}
	cache := core.NewProviderCache(s)
	for range 2 {
		if _, err := cache.Provider(t.Context(), "a", "smtp"); !errors.Is(err, s.err) {
			t.Errorf("Provider = %v", err)
		}
	}
	if s.asked != 2 {
		t.Errorf("asked %d times, want 2", s.asked)
	}
}

// What was read before a change and comes back after it is not kept.
func TestProviderCacheForgetsWhatWasOnItsWay(t *testing.T) {
	t.Parallel()
	s := &shelf{has: map[string]core.Provider{"a/smtp": {Plugin: "old"}}}
	cache := core.NewProviderCache(s)
	s.hook = func() {
		s.hook = nil
		s.has["a/smtp"] = core.Provider{Plugin: "new"}
		cache.Clear()
	}
	for _, want := range []string{"old", "new"} {
		if provider, err := cache.Provider(t.Context(), "a", "smtp"); err != nil || provider.Plugin != want {
			t.Errorf("found %s (%v), want %s", provider.Plugin, err, want)
		}
	}
}
