package coretest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// ExerciseStore holds a store to the ports of accounts, users, imports, sign-in tries,
// API tokens, providers and the audit log.
func ExerciseStore(t *testing.T, open Open) {
	t.Run("accounts", func(t *testing.T) { t.Parallel(); exerciseAccounts(t, open) })
	t.Run("users", func(t *testing.T) { t.Parallel(); exerciseUsers(t, open) })
	t.Run("imports", func(t *testing.T) { t.Parallel(); exerciseImports(t, open) })
	t.Run("tries", func(t *testing.T) { t.Parallel(); exerciseTries(t, open) })
	t.Run("API tokens", func(t *testing.T) { t.Parallel(); exerciseTokens(t, open) })
	t.Run("providers", func(t *testing.T) { t.Parallel(); exerciseProviders(t, open) })
	t.Run("audit log", func(t *testing.T) { t.Parallel(); exerciseAudit(t, open) })
}

// fullAccount has a value other than the default everywhere.
func fullAccount(slug string) tenants.Account {
	return tenants.Account{
		ID: tenants.AccountID(NewID()), Slug: slug, Name: "Ångström & 'Söhne'", Protected: true,
		Status: tenants.StatusPaused, APIVersion: "1.3", DeliverDefault: true, DeliverPolicy: tenants.DeliverAlways,
		LinkLife: 90 * time.Minute, LinkTemplate: "https://app.example/reset?token={token}",
		Password: tenants.PasswordPolicy{Minimum: 12}, Providers: []string{"first", "second"},
		Branding: tenants.Branding{
			ProductName: "Instruments", Accent: "#112233", SupportAddress: "help@example.com",
			FromName: "The team", FromAddress: "no-reply@example.com",
		},
	}
}

func exerciseAccounts(t *testing.T, open Open) {
	t.Run("a created account reads back whole, by id and by slug", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		want := fullAccount("whole")
		created, err := f.Store.CreateAccount(t.Context(), want)
		f.ok(err)
		recent(t, "created", created.Created)
		want.Created, want.Updated = created.Created, created.Created
		same(t, created, want)
		byID, err := f.Store.AccountByID(t.Context(), want.ID)
		f.ok(err)
		same(t, byID, want)
		bySlug, err := f.Store.AccountBySlug(t.Context(), "whole")
		f.ok(err)
		same(t, bySlug, want)
	})
	t.Run("an account that does not exist is unknown", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		_, err := f.Store.AccountByID(t.Context(), tenants.AccountID(NewID()))
		f.is(err, tenants.ErrUnknown)
		_, err = f.Store.AccountBySlug(t.Context(), "nobody")
		f.is(err, tenants.ErrUnknown)
		_, err = f.Store.UpdateAccount(t.Context(), tenants.AccountID(NewID()), fullAccount("nobody"))
		f.is(err, tenants.ErrUnknown)
		f.is(f.Store.SetLogo(t.Context(), tenants.AccountID(NewID()), []byte("png")), tenants.ErrUnknown)
	})
	t.Run("a slug belongs to one account", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		_, err := f.Store.CreateAccount(t.Context(), fullAccount("taken"))
		f.ok(err)
		_, err = f.Store.CreateAccount(t.Context(), fullAccount("taken"))
		f.is(err, core.ErrSlugTaken)
		_, err = f.Store.UpdateAccount(t.Context(), f.account, fullAccount("taken"))
		f.is(err, core.ErrSlugTaken)
	})
	t.Run("an update replaces everything but id, creation and logo", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.ok(f.Store.SetLogo(t.Context(), f.account, []byte("png")))
		before, err := f.Store.AccountByID(t.Context(), f.account)
		f.ok(err)
		want := fullAccount("changed")
		changed, err := f.Store.UpdateAccount(t.Context(), f.account, want)
		f.ok(err)
		want.ID, want.Created, want.Updated = f.account, before.Created, changed.Updated
		want.Branding.LogoHash = before.Branding.LogoHash
		same(t, changed, want)
		read, err := f.Store.AccountByID(t.Context(), f.account)
		f.ok(err)
		same(t, read, want)
		if changed.Updated.Before(before.Updated) {
			t.Fatalf("updated went back from %s to %s", before.Updated, changed.Updated)
		}
	})
	t.Run("a logo is kept, hashed, replaced and removed", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		_, err := f.Store.Logo(t.Context(), f.account)
		f.is(err, core.ErrNotFound)
		for _, png := range [][]byte{{0x89, 'P', 'N', 'G', 0, '\''}, bytes.Repeat([]byte{0xff}, 100<<10)} {
			f.ok(f.Store.SetLogo(t.Context(), f.account, png))
			stored, err := f.Store.Logo(t.Context(), f.account)
			f.ok(err)
			same(t, stored, png)
			account, err := f.Store.AccountByID(t.Context(), f.account)
			f.ok(err)
			sum := sha256.Sum256(png)
			same(t, account.Branding.LogoHash, hex.EncodeToString(sum[:]))
		}
		f.ok(f.Store.SetLogo(t.Context(), f.account, nil))
		_, err = f.Store.Logo(t.Context(), f.account)
		f.is(err, core.ErrNotFound)
		account, err := f.Store.AccountByID(t.Context(), f.account)
		f.ok(err)
		same(t, account.Branding.LogoHash, "")
	})
	t.Run("accounts are listed by id, from after the one named", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		ids := []tenants.AccountID{f.account, f.newAccount(), f.newAccount()}
		list := func(after tenants.AccountID, limit int) (listed []tenants.AccountID) {
			accounts, err := f.Store.ListAccounts(t.Context(), after, limit)
			f.ok(err)
			for _, account := range accounts {
				listed = append(listed, account.ID)
			}
			return listed
		}
		same(t, list("", 10), ids)
		same(t, list("", 2), ids[:2])
		same(t, list(ids[1], 10), ids[2:])
		same(t, list(ids[2], 10), []tenants.AccountID(nil))

		own := tenants.OwnID("canary")
		_, err := f.Store.CreateAccount(t.Context(), tenants.New(own, "canary-relay", "Canary"))
		f.ok(err)
		same(t, list("", 10), ids) // it is no tenant, and is found by name alone
		found, err := f.Store.AccountBySlug(t.Context(), "canary-relay")
		f.ok(err)
		same(t, found.ID, own)
	})
}

func exerciseProviders(t *testing.T, open Open) {
	newProvider := func(account tenants.AccountID, name string) core.Provider {
		return core.Provider{
			ID: core.ProviderID(NewID()), Account: account, Name: name, Plugin: "smtp",
			Settings: json.RawMessage(`{"host":"mail.example.com?"}`), SealedSecrets: []byte{0, 1, 2},
		}
	}
	t.Run("a provider reads back whole, of an account or the platform", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		for _, owner := range []tenants.AccountID{f.account, ""} {
			want := newProvider(owner, "mail")
			f.ok(f.Store.CreateProvider(t.Context(), owner, want))
			read, err := f.Store.Provider(t.Context(), owner, "mail")
			f.ok(err)
			same(t, read, want)
		}
	})
	t.Run("a name belongs to one provider of its owner", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		for _, owner := range []tenants.AccountID{f.account, f.newAccount(), ""} {
			f.ok(f.Store.CreateProvider(t.Context(), owner, newProvider(owner, "mail")))
			f.is(f.Store.CreateProvider(t.Context(), owner, newProvider(owner, "mail")), core.ErrNameTaken)
		}
		nobody := tenants.AccountID(NewID())
		f.is(f.Store.CreateProvider(t.Context(), nobody, newProvider(nobody, "mail")), tenants.ErrUnknown)
	})
	t.Run("another owner's provider is neither found, listed nor deleted", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		f.ok(f.Store.CreateProvider(t.Context(), f.account, newProvider(f.account, "mail")))
		for _, owner := range []tenants.AccountID{f.newAccount(), ""} {
			_, err := f.Store.Provider(t.Context(), owner, "mail")
			f.is(err, core.ErrNotFound)
			listed, err := f.Store.Providers(t.Context(), owner)
			f.ok(err)
			same(t, len(listed), 0)
			f.is(f.Store.DeleteProvider(t.Context(), owner, "mail"), core.ErrNotFound)
		}
	})
	t.Run("providers are listed by name, and gone when deleted", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		b, a := newProvider(f.account, "b"), newProvider(f.account, "a")
		f.ok(f.Store.CreateProvider(t.Context(), f.account, b))
		f.ok(f.Store.CreateProvider(t.Context(), f.account, a))
		listed, err := f.Store.Providers(t.Context(), f.account)
		f.ok(err)
		same(t, listed, []core.Provider{a, b})
		f.ok(f.Store.DeleteProvider(t.Context(), f.account, "a"))
		_, err = f.Store.Provider(t.Context(), f.account, "a")
		f.is(err, core.ErrNotFound)
		f.is(f.Store.DeleteProvider(t.Context(), f.account, "a"), core.ErrNotFound)
	})
}
