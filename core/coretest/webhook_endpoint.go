package coretest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

func wantedEndpoint(subscriptions ...core.EventName) core.Endpoint {
	if len(subscriptions) == 0 {
		subscriptions = []core.EventName{core.AllEvents}
	}
	return core.Endpoint{
		ID: core.EndpointID(NewID()), URL: "https://hook.example/x?a='1'", Subscriptions: subscriptions, Algorithm: core.SignatureECDSA,
		APIVersion: "1.3", Recipient: "age1", SealedSecret: []byte("sealed"),
	}
}

func (f *fixture) newEndpoint(subscriptions ...core.EventName) core.Endpoint {
	f.t.Helper()
	endpoint, err := f.Store.CreateEndpoint(f.t.Context(), f.account, wantedEndpoint(subscriptions...))
	f.ok(err)
	return endpoint
}

func (f *fixture) endpoint(id core.EndpointID) core.Endpoint {
	f.t.Helper()
	endpoint, err := f.Store.Endpoint(f.t.Context(), f.account, id)
	f.ok(err)
	return endpoint
}

func exerciseEndpoints(t *testing.T, open Open) {
	t.Run("an endpoint reads back whole, and as it was changed", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		want := wantedEndpoint(core.EventUserCreated, core.EventPasswordReset)
		created, err := f.Store.CreateEndpoint(t.Context(), f.account, want)
		f.ok(err)
		recent(t, "created", created.Created)
		want.Account, want.Created, want.Updated = f.account, created.Created, created.Created
		same(t, created, want)
		same(t, f.endpoint(want.ID), want)

		want.URL, want.Subscriptions, want.Algorithm, want.APIVersion, want.Recipient = "https://other.example/", []core.EventName{core.AllEvents}, core.SignatureRSA, "1.8", ""
		changed, err := f.Store.UpdateEndpoint(t.Context(), f.account, want)
		f.ok(err)
		want.Updated = changed.Updated
		same(t, changed, want)
		same(t, f.endpoint(want.ID), want)
	})
	t.Run("a rotation keeps the former secret for a while", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		id := f.newEndpoint().ID
		rotated, err := f.Store.RotateSecret(t.Context(), f.account, id, []byte("second"), time.Hour)
		f.ok(err)
		same(t, string(rotated.SealedSecret), "second")
		same(t, string(rotated.SealedFormer), "sealed")
		recent(t, "former until, less the overlap", rotated.FormerUntil.Add(-time.Hour))
		rotated, err = f.Store.RotateSecret(t.Context(), f.account, id, []byte("third"), time.Hour)
		f.ok(err)
		same(t, string(rotated.SealedSecret)+string(rotated.SealedFormer), "thirdsecond")
		same(t, f.endpoint(id), rotated)
	})
	t.Run("they are listed newest first, on from the one named", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		a, b, c := f.newEndpoint(), f.newEndpoint(), f.newEndpoint()
		for name, l := range map[string]struct {
			before core.EndpointID
			limit  int
			want   []core.Endpoint
		}{"all": {"", 10, []core.Endpoint{c, b, a}}, "two": {"", 2, []core.Endpoint{c, b}}, "the rest": {b.ID, 2, []core.Endpoint{a}}, "one at least": {"", 0, []core.Endpoint{c}}} {
			listed, err := f.Store.Endpoints(t.Context(), f.account, l.before, l.limit)
			f.ok(err)
			t.Log(name)
			same(t, listed, l.want)
		}
	})
	t.Run("another account's is not there", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		theirs, own := f.newEndpoint(), f.account
		f.account = f.newAccount()
		listed, err := f.Store.Endpoints(t.Context(), f.account, "", 10)
		f.ok(err)
		same(t, len(listed), 0)
		_, err = f.Store.Endpoint(t.Context(), f.account, theirs.ID)
		f.is(err, core.ErrNotFound)
		_, err = f.Store.UpdateEndpoint(t.Context(), f.account, theirs)
		f.is(err, core.ErrNotFound)
		_, err = f.Store.RotateSecret(t.Context(), f.account, theirs.ID, []byte("x"), time.Hour)
		f.is(err, core.ErrNotFound)
		_, err = f.Store.EnableEndpoint(t.Context(), f.account, theirs.ID)
		f.is(err, core.ErrNotFound)
		f.is(f.Store.DeleteEndpoint(t.Context(), f.account, theirs.ID), core.ErrNotFound)
		_, err = f.Store.CreateEndpoint(t.Context(), tenants.AccountID(NewID()), wantedEndpoint())
		f.is(err, tenants.ErrUnknown)
		f.account = own
		same(t, f.endpoint(theirs.ID), theirs)
		f.ok(f.Store.DeleteEndpoint(t.Context(), f.account, theirs.ID))
		f.is(f.Store.DeleteEndpoint(t.Context(), f.account, theirs.ID), core.ErrNotFound)
	})
	t.Run("there are no more than there may be, also of many at once", func(t *testing.T) {
		t.Parallel()
		f := setup(t, open)
		var all sync.WaitGroup
		var made, refused atomic.Int64
		for range core.MaxEndpoints + 6 {
			all.Go(func() {
				switch _, err := f.Store.CreateEndpoint(t.Context(), f.account, wantedEndpoint()); {
				case err == nil:
					made.Add(1)
				case errors.Is(err, core.ErrTooManyEndpoints):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		same(t, fmt.Sprint(made.Load(), refused.Load()), fmt.Sprint(core.MaxEndpoints, 6))
		f.account = f.newAccount()
		f.newEndpoint() // another account's are counted apart
	})
}
