package coretest

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

func exerciseUsers(t *testing.T, open Open) {
	t.Run("a created user reads back whole, by id and by address", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		want := core.User{
			ID: core.UserID(NewID()), Account: f.account, Address: address(t, "o'hara?@example.com"),
			FirstName: "Ö'Hara ?0", LastName: `"\`, Role: core.RoleAdmin, Banned: true, PasswordHash: []byte{0, 1, 0xff},
			CredentialVersion: 7, Metadata: json.RawMessage(`{"a":[1,"?"]}`),
		}
		created, err := f.Store.CreateUser(t.Context(), f.account, want)
		f.ok(err)
		recent(t, "created", created.Created)
		want.Created, want.Updated = created.Created, created.Created
		same(t, created, want)
		byID, err := f.Store.User(t.Context(), f.account, want.ID)
		f.ok(err)
		same(t, byID, want)
		byAddress, err := f.Store.UserByAddress(t.Context(), f.account, want.Address)
		f.ok(err)
		same(t, byAddress, want)
	})
	t.Run("a user without password has none, and begins at credential version 1", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user, err := f.Store.CreateUser(t.Context(), f.account,
			core.User{ID: core.UserID(NewID()), Address: address(t, "new@example.com"), Role: core.RoleUser})
		f.ok(err)
		if user.PasswordHash != nil || user.CredentialVersion != 1 {
			t.Fatalf("hash of %d bytes, version %d; want none and 1", len(user.PasswordHash), user.CredentialVersion)
		}
	})
	t.Run("an address belongs to one user of an account, compared byte by byte", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		create := func(account tenants.AccountID, typed string) error {
			_, err := f.Store.CreateUser(t.Context(), account,
				core.User{ID: core.UserID(NewID()), Address: address(t, typed), Role: core.RoleUser})
			return err
		}
		f.ok(create(f.account, "ada@example.com"))
		f.is(create(f.account, "Ada@Example.com"), core.ErrAddressTaken)
		f.ok(create(f.newAccount(), "ada@example.com"))
		f.ok(create(f.account, "ſtrasse@example.com"))
		f.ok(create(f.account, "strasse@example.com"))
		_, err := f.Store.UserByAddress(t.Context(), f.account, address(t, "\u212Aada@example.com"))
		f.is(err, core.ErrNotFound)
	})
	t.Run("another account's user is not found", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user, other := f.newUser(f.account), f.newAccount()
		_, err := f.Store.User(t.Context(), other, user.ID)
		f.is(err, core.ErrNotFound)
		_, err = f.Store.UserByAddress(t.Context(), other, user.Address)
		f.is(err, core.ErrNotFound)
		listed, err := f.Store.Users(t.Context(), other, core.UserQuery{Limit: 10})
		f.ok(err)
		same(t, len(listed), 0)
		_, err = f.Store.User(t.Context(), f.account, core.UserID(NewID()))
		f.is(err, core.ErrNotFound)
	})
	t.Run("of a crowd that asks at once everybody finds who was asked for", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		other := f.newAccount()
		var asking sync.WaitGroup
		for i := range 40 {
			shared := "u" + strconv.Itoa(i) + "@example.com"
			for _, account := range []tenants.AccountID{f.account, other} {
				made, err := f.Store.CreateUser(t.Context(), account, core.User{ID: core.UserID(NewID()), Address: address(t, shared), Role: core.RoleUser})
				f.ok(err)
				asking.Go(func() {
					if found, err := f.Store.UserByAddress(t.Context(), account, made.Address); err != nil || found.ID != made.ID || found.Account != account {
						t.Errorf("asked for %s, found %s: %v", made.ID, found.ID, err)
					}
					if found, err := f.Store.UserByAddress(t.Context(), account, address(t, "no"+shared)); !errors.Is(err, core.ErrNotFound) {
						t.Errorf("asked for nobody, found %q: %v", found.ID, err)
					}
					if found, err := f.Store.AccountByID(t.Context(), account); err != nil || found.ID != account {
						t.Errorf("asked for account %s, found %s: %v", account, found.ID, err)
					}
					if found, err := f.Store.AccountByID(t.Context(), tenants.AccountID(NewID())); !errors.Is(err, tenants.ErrUnknown) {
						t.Errorf("asked for no account, found %q: %v", found.ID, err)
					}
				})
			}
		}
		asking.Wait()
	})
	t.Run("a user of no account is refused", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		_, err := f.Store.CreateUser(t.Context(), tenants.AccountID(NewID()),
			core.User{ID: core.UserID(NewID()), Address: address(t, "x@example.com"), Role: core.RoleUser})
		f.is(err, tenants.ErrUnknown)
	})
	exerciseUserLists(t, open)
	exerciseUserChanges(t, open)
	exerciseUserEnds(t, open)
}

// recorded says how many events of the name, the user and the facts there are.
func (f *fixture) recorded(name core.EventName, user core.UserID, facts string) int {
	f.t.Helper()
	return f.Count(f.t, `SELECT count(*) FROM events WHERE account_id = ? AND name = ? AND user_id = ? AND facts = ?`,
		string(f.account), string(name), string(user), facts)
}

func newEvent(name core.EventName, user core.UserID) core.Event {
	return core.Event{ID: core.EventID(NewID()), Name: name, User: user}
}

func exerciseUserLists(t *testing.T, open Open) {
	list := func(f *fixture, query core.UserQuery) (ids []core.UserID) {
		f.t.Helper()
		users, err := f.Store.Users(f.t.Context(), f.account, query)
		f.ok(err)
		for _, user := range users {
			one, err := f.Store.User(f.t.Context(), f.account, user.ID)
			f.ok(err)
			same(f.t, user, one)
			ids = append(ids, user.ID)
		}
		return ids
	}
	t.Run("users are listed by id, from either end, on from the one named, past so many", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		a, b, c := f.newUser(f.account).ID, f.newUser(f.account).ID, f.newUser(f.account).ID
		f.newUser(f.newAccount())
		same(t, list(f, core.UserQuery{Limit: 10}), []core.UserID{a, b, c})
		same(t, list(f, core.UserQuery{Limit: 2}), []core.UserID{a, b})
		same(t, list(f, core.UserQuery{Limit: 10, After: a}), []core.UserID{b, c})
		same(t, list(f, core.UserQuery{Limit: 10, Newest: true}), []core.UserID{c, b, a})
		same(t, list(f, core.UserQuery{Limit: 10, Newest: true, After: c}), []core.UserID{b, a})
		same(t, list(f, core.UserQuery{Limit: 1, Newest: true, Skip: 1}), []core.UserID{b})
		same(t, len(list(f, core.UserQuery{Limit: 10, After: c})), 0)
		same(t, len(list(f, core.UserQuery{})), 0)
	})
	t.Run("users are chosen by role, standing and members of their metadata", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		create := func(role core.Role, banned bool, metadata string) core.UserID {
			id := core.UserID(NewID())
			_, err := f.Store.CreateUser(t.Context(), f.account, core.User{
				ID: id, Address: address(t, string(id)+"@example.com"), Role: role, Banned: banned, Metadata: json.RawMessage(metadata),
			})
			f.ok(err)
			return id
		}
		plain := create(core.RoleUser, false, ``)
		gold := create(core.RoleUser, false, `{"plan":"gold","seats":3,"trial":true,"x.y \"'?$":"odd","big":1e400,"nested":{"plan":"lead"},"none":null}`)
		banned := create(core.RoleUser, true, `{"plan":"lead","seats":"3"}`)
		admin := create(core.RoleAdmin, false, `{"plan":"gold"}`)
		yes, no := true, false
		for name, c := range map[string]struct {
			query core.UserQuery
			want  []core.UserID
		}{
			"nothing said":           {core.UserQuery{}, []core.UserID{plain, gold, banned, admin}},
			"a role":                 {core.UserQuery{Roles: []core.Role{core.RoleAdmin}}, []core.UserID{admin}},
			"two roles":              {core.UserQuery{Roles: []core.Role{core.RoleAdmin, core.RoleUser}}, []core.UserID{plain, gold, banned, admin}},
			"banned":                 {core.UserQuery{Banned: &yes}, []core.UserID{banned}},
			"not banned":             {core.UserQuery{Banned: &no}, []core.UserID{plain, gold, admin}},
			"a string":               {core.UserQuery{Metadata: map[string]string{"plan": "gold"}}, []core.UserID{gold, admin}},
			"a string and a role":    {core.UserQuery{Roles: []core.Role{core.RoleUser}, Metadata: map[string]string{"plan": "gold"}}, []core.UserID{gold}},
			"a number, or its text":  {core.UserQuery{Metadata: map[string]string{"seats": "3"}}, []core.UserID{gold, banned}},
			"a boolean":              {core.UserQuery{Metadata: map[string]string{"trial": "true"}}, []core.UserID{gold}},
			"several at once":        {core.UserQuery{Metadata: map[string]string{"plan": "gold", "seats": "3"}}, []core.UserID{gold}},
			"an odd name":            {core.UserQuery{Metadata: map[string]string{`x.y "'?$`: "odd"}}, []core.UserID{gold}},
			"null is no text":        {core.UserQuery{Metadata: map[string]string{"none": "null"}}, nil},
			"names are whole":        {core.UserQuery{Metadata: map[string]string{"Plan": "gold"}}, nil},
			"below is not looked at": {core.UserQuery{Metadata: map[string]string{"nested.plan": "lead"}}, nil},
		} {
			c.query.Limit = 10
			if got := list(f, c.query); !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
			c.query.Limit, c.query.Skip = 1, 5
			n, err := f.Store.CountUsers(t.Context(), f.account, c.query)
			f.ok(err)
			if n != len(c.want) {
				t.Errorf("%s: %d are counted, want %d", name, n, len(c.want))
			}
		}
		n, err := f.Store.CountUsers(t.Context(), f.newAccount(), core.UserQuery{})
		f.ok(err)
		same(t, n, 0)
	})
}

func exerciseUserChanges(t *testing.T, open Open) {
	t.Run("a new user's event is in the same commit", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := core.User{ID: core.UserID(NewID()), Address: address(t, "ada@example.com"), Role: core.RoleUser}
		_, err := f.Store.CreateUser(t.Context(), f.account, user, newEvent(core.EventUserCreated, user.ID))
		f.ok(err)
		same(t, f.recorded(core.EventUserCreated, user.ID, `{}`), 1)
		other := user
		other.ID = core.UserID(NewID())
		_, err = f.Store.CreateUser(t.Context(), f.account, other, newEvent(core.EventUserCreated, other.ID))
		f.is(err, core.ErrAddressTaken)
		same(t, f.recorded(core.EventUserCreated, other.ID, `{}`), 0)
	})
	t.Run("a change touches what it names, and records its events", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user, bystander := f.newUser(f.account), f.newUser(f.account)
		first, role, metadata := "Ada", core.RoleReadOnly, json.RawMessage(`{"a":1}`)
		changed, err := f.Store.UpdateUser(t.Context(), f.account, user.ID, core.UserChange{
			FirstName: &first, Role: &role, Metadata: &metadata,
			Events: []core.Event{newEvent(core.EventUserUpdated, user.ID)},
		})
		f.ok(err)
		want := user
		want.FirstName, want.Role, want.Metadata, want.Updated = first, role, metadata, changed.Updated
		same(t, changed, want)
		read, err := f.Store.User(t.Context(), f.account, user.ID)
		f.ok(err)
		same(t, read, want)
		same(t, f.recorded(core.EventUserUpdated, user.ID, `{}`), 1)
		read, err = f.Store.User(t.Context(), f.account, bystander.ID)
		f.ok(err)
		same(t, read, bystander)
		if changed.Updated.Before(user.Updated) {
			t.Fatalf("updated went back from %s to %s", user.Updated, changed.Updated)
		}
	})
	t.Run("another address, another standing and any password end the links", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		elsewhere, banned, hash, none := address(t, "new@example.com"), true, []byte("new"), []byte(nil)
		for name, change := range map[string]core.UserChange{
			"address": {Address: &elsewhere}, "ban": {Banned: &banned}, "password": {PasswordHash: &hash}, "no password": {PasswordHash: &none},
		} {
			user := f.newUser(f.account)
			request, _ := f.resolved(user, func(p *core.Plan) { p.Mail = nil })
			changed, err := f.Store.UpdateUser(t.Context(), f.account, user.ID, change)
			f.ok(err)
			if changed.CredentialVersion != user.CredentialVersion+1 {
				t.Fatalf("%s: the credential's version is %d, was %d", name, changed.CredentialVersion, user.CredentialVersion)
			}
			_, err = f.Store.Redeem(t.Context(), f.account, redemption(request.ID, user))
			f.is(err, core.ErrUnknownLink)
		}
		// The control: of two users who stay as they are, or keep their address, the links work.
		last := "L"
		for _, change := range []core.UserChange{{LastName: &last}, {}} {
			user := f.newUser(f.account)
			change.Address = &user.Address
			request, _ := f.resolved(user, func(p *core.Plan) { p.Mail = nil })
			_, err := f.Store.UpdateUser(t.Context(), f.account, user.ID, change)
			f.ok(err)
			r := redemption(request.ID, user)
			r.Notice = ""
			_, err = f.Store.Redeem(t.Context(), f.account, r)
			f.ok(err)
		}
	})
	t.Run("a change for another credential does nothing", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		hash := []byte("new")
		change := core.UserChange{For: user.CredentialVersion + 1, PasswordHash: &hash, Events: []core.Event{newEvent(core.EventPasswordChanged, user.ID)}}
		_, err := f.Store.UpdateUser(t.Context(), f.account, user.ID, change)
		f.is(err, core.ErrOutdated)
		same(t, f.recorded(core.EventPasswordChanged, user.ID, `{}`), 0)
		change.For = user.CredentialVersion
		f.ok(OneWins(20, core.ErrOutdated, func() error {
			change := change
			change.Events = []core.Event{newEvent(core.EventPasswordChanged, user.ID)}
			_, err := f.Store.UpdateUser(t.Context(), f.account, user.ID, change)
			return err
		}))
		same(t, f.recorded(core.EventPasswordChanged, user.ID, `{}`), 1)
	})
	t.Run("a change may end the API tokens but one", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user, other := f.newUser(f.account), f.newUser(f.account)
		for i, owner := range []core.User{user, user, other} {
			_, err := f.Store.CreateAPIToken(t.Context(), f.account, core.APIToken{ID: core.TokenID(NewID()), User: owner.ID, Digest: []byte{byte(i)}})
			f.ok(err)
		}
		kept, err := f.Store.APIToken(t.Context(), []byte{1})
		f.ok(err)
		hash := []byte("new")
		_, err = f.Store.UpdateUser(t.Context(), f.account, user.ID, core.UserChange{PasswordHash: &hash, EndTokens: true, KeepToken: kept.ID})
		f.ok(err)
		_, err = f.Store.APIToken(t.Context(), []byte{0})
		f.is(err, core.ErrNotFound)
		for _, digest := range [][]byte{{1}, {2}} {
			_, err = f.Store.APIToken(t.Context(), digest)
			f.ok(err)
		}
	})
	t.Run("an address that another user has is refused, and nothing changes", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user, other := f.newUser(f.account), f.newUser(f.account)
		_, err := f.Store.UpdateUser(t.Context(), f.account, user.ID,
			core.UserChange{Address: &other.Address, Events: []core.Event{newEvent(core.EventUserUpdated, user.ID)}})
		f.is(err, core.ErrAddressTaken)
		read, err := f.Store.User(t.Context(), f.account, user.ID)
		f.ok(err)
		same(t, read, user)
		same(t, f.recorded(core.EventUserUpdated, user.ID, `{}`), 0)
	})
	t.Run("a hash is upgraded if it still is the one that was read; links and times stay", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		for _, c := range []struct {
			account  tenants.AccountID
			from, to string
			done     bool
		}{
			{f.account, "another", "lost", false},
			{f.newAccount(), string(user.PasswordHash), "lost", false},
			{f.account, string(user.PasswordHash), "anew", true},
			{f.account, string(user.PasswordHash), "twice", false},
		} {
			done, err := f.Store.UpgradePassword(t.Context(), c.account, user.ID, []byte(c.from), []byte(c.to))
			f.ok(err)
			same(t, done, c.done)
		}
		read, err := f.Store.User(t.Context(), f.account, user.ID)
		f.ok(err)
		user.PasswordHash = []byte("anew")
		same(t, read, user)
	})
}

func exerciseUserEnds(t *testing.T, open Open) {
	tells := func(facts string) core.UserEvent {
		return func(was core.User) (core.Event, error) {
			event := newEvent(core.EventUserDeleted, was.ID)
			event.Facts = json.RawMessage(facts)
			return event, nil
		}
	}
	t.Run("a deleted user is gone with tokens and links; the event shows who it was", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user, other := f.newUser(f.account), f.newUser(f.account)
		request, _ := f.resolved(user, func(p *core.Plan) { p.Mail = nil })
		_, err := f.Store.CreateAPIToken(t.Context(), f.account, core.APIToken{ID: core.TokenID(NewID()), User: user.ID, Digest: []byte("d")})
		f.ok(err)
		f.ok(f.Store.DeleteUser(t.Context(), f.account, user.ID, func(was core.User) (core.Event, error) {
			same(t, was, user)
			return tells(`{"data":1}`)(was)
		}))
		_, err = f.Store.User(t.Context(), f.account, user.ID)
		f.is(err, core.ErrNotFound)
		_, err = f.Store.APIToken(t.Context(), []byte("d"))
		f.is(err, core.ErrNotFound)
		_, err = f.Store.Redeem(t.Context(), f.account, redemption(request.ID, user))
		f.is(err, core.ErrUnknownLink)
		same(t, f.recorded(core.EventUserDeleted, user.ID, `{"data":1}`), 1)
		_, err = f.Store.User(t.Context(), f.account, other.ID)
		f.ok(err)
		f.is(f.Store.DeleteUser(t.Context(), f.account, user.ID, tells(`{}`)), core.ErrNotFound)
		_, err = f.Store.CreateUser(t.Context(), f.account, core.User{ID: core.UserID(NewID()), Address: user.Address, Role: core.RoleUser})
		f.ok(err)
	})
	t.Run("an event that cannot be made deletes nobody", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user := f.newUser(f.account)
		f.is(f.Store.DeleteUser(t.Context(), f.account, user.ID, func(core.User) (core.Event, error) { return core.Event{}, core.ErrBusy }), core.ErrBusy)
		_, err := f.Store.User(t.Context(), f.account, user.ID)
		f.ok(err)
	})
	t.Run("another account's user is neither changed nor deleted", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		user, other := f.newUser(f.account), f.newAccount()
		banned := true
		_, err := f.Store.UpdateUser(t.Context(), other, user.ID, core.UserChange{Banned: &banned})
		f.is(err, core.ErrNotFound)
		f.is(f.Store.DeleteUser(t.Context(), other, user.ID, tells(`{}`)), core.ErrNotFound)
		read, err := f.Store.User(t.Context(), f.account, user.ID)
		f.ok(err)
		same(t, read, user)
	})
}
