package coretest

import (
	"crypto/sha256"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

func exerciseTokens(t *testing.T, open Open) {
	create := func(f *fixture, account tenants.AccountID, token core.APIToken) (core.APIToken, error) {
		token.ID = core.TokenID(NewID())
		return f.Store.CreateAPIToken(t.Context(), account, token)
	}
	digest := func(value string) []byte { sum := sha256.Sum256([]byte(value)); return sum[:] }

	t.Run("a user's token reads back with the user's role", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		expires := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
		created, err := create(f, f.account, core.APIToken{User: user.ID, Digest: digest("a"), Name: "laptop", Expires: expires})
		f.ok(err)
		recent(t, "created", created.Created)
		same(t, created, core.APIToken{
			ID: created.ID, Account: f.account, User: user.ID, Role: core.RoleUser, Digest: digest("a"), Name: "laptop",
			Expires: expires, Created: created.Created, Updated: created.Created,
		})
		read, err := f.Store.APIToken(t.Context(), digest("a"))
		f.ok(err)
		same(t, read, created)
	})
	t.Run("an operator's token has no account, user, role or end", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		_, err := create(f, "", core.APIToken{Digest: digest("o")})
		f.ok(err)
		read, err := f.Store.APIToken(t.Context(), digest("o"))
		f.ok(err)
		if !read.Operator() || read.User != "" || read.Role != "" || !read.Expires.IsZero() || read.Expired {
			t.Fatalf("unexpected token: %+v", read)
		}
	})
	t.Run("a digest that no token has is not found", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		_, err := f.Store.APIToken(t.Context(), digest("unknown"))
		f.is(err, core.ErrNotFound)
		_, err = f.Store.APIToken(t.Context(), nil)
		f.is(err, core.ErrNotFound)
	})
	t.Run("a token's end is judged by the database's clock", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		_, err := create(f, f.account, core.APIToken{User: user.ID, Digest: digest("e"), Expires: time.Now().Add(time.Hour)})
		f.ok(err)
		f.Exec(t, `UPDATE api_tokens SET expires_at = expires_at - ?`, 2*time.Hour.Microseconds())
		read, err := f.Store.APIToken(t.Context(), digest("e"))
		f.ok(err)
		same(t, read.Expired, true)
	})
	t.Run("a token for another account's user is refused", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		_, err := create(f, f.newAccount(), core.APIToken{User: user.ID, Digest: digest("x")})
		f.is(err, core.ErrNotFound)
	})
	t.Run("a token goes with its user", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		_, err := create(f, f.account, core.APIToken{User: user.ID, Digest: digest("g")})
		f.ok(err)
		f.Exec(t, `DELETE FROM users WHERE id = ?`, string(user.ID))
		_, err = f.Store.APIToken(t.Context(), digest("g"))
		f.is(err, core.ErrNotFound)
	})
	exerciseTokenLists(t, open)
	exerciseTokenEnds(t, open)
}

// tokenEvent shows the token's id and name.
func tokenEvent(name core.EventName) core.TokenEvent {
	return func(token core.APIToken) (core.Event, error) {
		event := newEvent(name, token.User)
		event.Facts = json.RawMessage(`{"data":"` + string(token.ID) + token.Name + `"}`)
		return event, nil
	}
}

func (f *fixture) newToken(user core.UserID, digest string, events ...core.TokenEvent) core.APIToken {
	f.t.Helper()
	token, err := f.Store.CreateAPIToken(f.t.Context(), f.account,
		core.APIToken{ID: core.TokenID(NewID()), User: user, Digest: []byte(digest), Name: "n", Life: time.Hour}, events...)
	f.ok(err)
	return token
}

func exerciseTokenLists(t *testing.T, open Open) {
	t.Run("tokens are listed by id, from either end, everybody's or one user's", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		ada, bob := f.newUser(f.account).ID, f.newUser(f.account).ID
		a, b, c := f.newToken(ada, "a"), f.newToken(bob, "b"), f.newToken(ada, "c")
		_, err := f.Store.CreateAPIToken(t.Context(), "", core.APIToken{ID: core.TokenID(NewID()), Digest: []byte("operator")})
		f.ok(err)
		for name, l := range map[string]struct {
			query core.TokenQuery
			want  []core.APIToken
			count int
		}{
			"all":       {core.TokenQuery{Limit: 10}, []core.APIToken{a, b, c}, 3},
			"newest":    {core.TokenQuery{Limit: 2, Newest: true}, []core.APIToken{c, b}, 3},
			"after":     {core.TokenQuery{Limit: 2, Newest: true, After: b.ID}, []core.APIToken{a}, 3},
			"skip":      {core.TokenQuery{Limit: 1, Skip: 1}, []core.APIToken{b}, 3},
			"ada's":     {core.TokenQuery{Limit: 10, User: ada}, []core.APIToken{a, c}, 2},
			"nobody's":  {core.TokenQuery{Limit: 10, User: core.UserID(NewID())}, []core.APIToken{}, 0},
			"none told": {core.TokenQuery{}, []core.APIToken{}, 3},
		} {
			tokens, err := f.Store.APITokens(t.Context(), f.account, l.query)
			f.ok(err)
			if diff := cmp.Diff(l.want, tokens); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
			n, err := f.Store.CountAPITokens(t.Context(), f.account, l.query)
			f.ok(err)
			same(t, n, l.count)
		}
		tokens, err := f.Store.APITokens(t.Context(), f.newAccount(), core.TokenQuery{Limit: 10})
		f.ok(err)
		same(t, len(tokens), 0)
		one, err := f.Store.APITokenByID(t.Context(), f.account, b.ID)
		f.ok(err)
		same(t, one, b)
	})
	t.Run("another account's token is not found, regenerated nor deleted", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		token := f.newToken(f.newUser(f.account).ID, "a")
		for _, account := range []tenants.AccountID{f.newAccount(), ""} {
			_, err := f.Store.APITokenByID(t.Context(), account, token.ID)
			f.is(err, core.ErrNotFound)
			_, err = f.Store.RegenerateAPIToken(t.Context(), account, token.ID, []byte("x"), time.Hour, tokenEvent(core.EventTokenRegenerated))
			f.is(err, core.ErrNotFound)
			f.is(f.Store.DeleteAPIToken(t.Context(), account, token.ID, tokenEvent(core.EventTokenRevoked)), core.ErrNotFound)
		}
		read, err := f.Store.APIToken(t.Context(), []byte("a"))
		f.ok(err)
		same(t, read, token)
	})
}

func exerciseTokenEnds(t *testing.T, open Open) {
	t.Run("a token's events show it as it is stored", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account).ID
		token := f.newToken(user, "a", tokenEvent(core.EventTokenGenerated))
		facts := `{"data":"` + string(token.ID) + `n"}`
		same(t, f.recorded(core.EventTokenGenerated, user, facts), 1)
		f.Exec(t, `UPDATE api_tokens SET created_at = created_at - 3600000000, expires_at = expires_at - 3000000000`)
		renewed, err := f.Store.RegenerateAPIToken(t.Context(), f.account, token.ID, []byte("b"), 2*time.Hour, tokenEvent(core.EventTokenRegenerated))
		f.ok(err)
		recent(t, "the new end less its life", renewed.Expires.Add(-2*time.Hour))
		recent(t, "updated", renewed.Updated)
		token.Created = token.Created.Add(-time.Hour)
		token.Digest, token.Expires, token.Updated = []byte("b"), renewed.Expires, renewed.Updated
		same(t, renewed, token)
		same(t, f.recorded(core.EventTokenRegenerated, user, facts), 1)
		_, err = f.Store.APIToken(t.Context(), []byte("a"))
		f.is(err, core.ErrNotFound)
		f.ok(f.Store.DeleteAPIToken(t.Context(), f.account, token.ID, tokenEvent(core.EventTokenRevoked)))
		_, err = f.Store.APIToken(t.Context(), []byte("b"))
		f.is(err, core.ErrNotFound)
		same(t, f.recorded(core.EventTokenRevoked, user, facts), 1)
		f.is(f.Store.DeleteAPIToken(t.Context(), f.account, token.ID, tokenEvent(core.EventTokenRevoked)), core.ErrNotFound)
	})
	t.Run("a token without an end has none when it is regenerated", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		token, err := f.Store.CreateAPIToken(t.Context(), f.account,
			core.APIToken{ID: core.TokenID(NewID()), User: f.newUser(f.account).ID, Digest: []byte("a")})
		f.ok(err)
		renewed, err := f.Store.RegenerateAPIToken(t.Context(), f.account, token.ID, []byte("b"), time.Hour, tokenEvent(core.EventTokenRegenerated))
		f.ok(err)
		same(t, renewed.Expires, time.Time{})
	})
	t.Run("operators' tokens are listed, found and ended by themselves", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		theirs := f.newToken(f.newUser(f.account).ID, "a")
		operators, err := f.Store.CreateAPIToken(t.Context(), "", core.APIToken{ID: core.TokenID(NewID()), Digest: []byte("o"), Name: "ops"})
		f.ok(err)
		list, err := f.Store.APITokens(t.Context(), "", core.TokenQuery{Limit: 10})
		f.ok(err)
		same(t, list, []core.APIToken{operators})
		n, err := f.Store.CountAPITokens(t.Context(), "", core.TokenQuery{})
		f.ok(err)
		same(t, n, 1)
		_, err = f.Store.APITokenByID(t.Context(), "", theirs.ID)
		f.is(err, core.ErrNotFound)
		_, err = f.Store.APITokenByID(t.Context(), f.account, operators.ID)
		f.is(err, core.ErrNotFound)
		f.is(f.Store.DeleteAPIToken(t.Context(), "", theirs.ID, nil), core.ErrNotFound)
		f.is(f.Store.DeleteAPIToken(t.Context(), f.account, operators.ID, nil), core.ErrNotFound)
		f.ok(f.Store.DeleteAPIToken(t.Context(), "", operators.ID, nil))
		_, err = f.Store.APIToken(t.Context(), []byte("o"))
		f.is(err, core.ErrNotFound)
		_, err = f.Store.APIToken(t.Context(), []byte("a"))
		f.ok(err)
	})
	t.Run("an event that cannot be made changes no token", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		token := f.newToken(f.newUser(f.account).ID, "a")
		broken := func(core.APIToken) (core.Event, error) { return core.Event{}, core.ErrBusy }
		_, err := f.Store.RegenerateAPIToken(t.Context(), f.account, token.ID, []byte("b"), time.Hour, broken)
		f.is(err, core.ErrBusy)
		f.is(f.Store.DeleteAPIToken(t.Context(), f.account, token.ID, broken), core.ErrBusy)
		read, err := f.Store.APIToken(t.Context(), []byte("a"))
		f.ok(err)
		same(t, read, token)
	})
}
