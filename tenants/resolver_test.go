package tenants

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
)

// directory counts what it is asked.
type directory struct {
	account Account
	asked   atomic.Int32
}

func (d *directory) AccountByID(_ context.Context, id AccountID) (Account, error) {
	d.asked.Add(1)
	if id != d.account.ID {
		return Account{}, ErrUnknown
	}
	return d.account, nil
}

func (d *directory) AccountBySlug(_ context.Context, slug string) (Account, error) {
	d.asked.Add(1)
	if slug != d.account.Slug {
		return Account{}, ErrUnknown
	}
	return d.account, nil
}

func (d *directory) AccountByHost(_ context.Context, host string) (Account, error) {
	d.asked.Add(1)
	if host != d.account.Host || host == "" {
		return Account{}, ErrUnknown
	}
	return d.account, nil
}

func setup(t *testing.T) (*Resolver, *directory) {
	t.Helper()
	d := &directory{account: New(anID, "acme", "Acme")}
	r, err := NewResolver(d)
	if err != nil {
		t.Fatal(err)
	}
	return r, d
}

func TestResolverTakesEverySpelling(t *testing.T) {
	t.Parallel()
	r, _ := setup(t)
	for _, ref := range []string{"acme", anID, "0197C0DE00007000800000000000ABCD"} {
		if account, err := r.Resolve(t.Context(), ref); err != nil || account.ID != anID {
			t.Errorf("%s: got %v, %v", ref, account.ID, err)
		}
	}
	for _, ref := range []string{"ACME", "", "other", "0197c0de-0000-7000-8000-00000000abce", "forgot"} {
		if _, err := r.Resolve(t.Context(), ref); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: got %v, want ErrUnknown", ref, err)
		}
	}
}

func TestResolverRemembersUntilCleared(t *testing.T) {
	t.Parallel()
	r, d := setup(t)
	for range 3 {
		if _, err := r.Resolve(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.asked.Load(); n != 1 {
		t.Fatalf("asked %d times, want 1", n)
	}
	d.account.Name = "Acme 2"
	r.Clear()
	account, err := r.Resolve(t.Context(), "acme")
	if err != nil || account.Name != "Acme 2" {
		t.Fatalf("got %q, %v after a change", account.Name, err)
	}
}

func TestResolverDoesNotRememberTheUnknown(t *testing.T) {
	t.Parallel()
	r, d := setup(t)
	if _, err := r.Resolve(t.Context(), "late"); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
	d.account.Slug = "late"
	if _, err := r.Resolve(t.Context(), "late"); err != nil {
		t.Fatalf("an account made since is not found: %v", err)
	}
}

// slowDirectory answers with the account as it was when it was asked, once it may.
type slowDirectory struct {
	directory
	asking chan struct{}
	may    chan struct{}
}

func (d *slowDirectory) AccountBySlug(ctx context.Context, slug string) (Account, error) {
	account, err := d.directory.AccountBySlug(ctx, slug)
	d.asking <- struct{}{}
	<-d.may
	return account, err
}

// What a look-up reads before a change and gives after it is not remembered: whoever
// asks when the change has been told gets what the account is now.
func TestALookUpThatAChangeOvertakesIsNotRemembered(t *testing.T) {
	t.Parallel()
	d := &slowDirectory{directory: directory{account: New(anID, "acme", "Acme")}, asking: make(chan struct{}, 8), may: make(chan struct{}, 8)}
	r, err := NewResolver(d)
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan error)
	go func() {
		_, err := r.Resolve(t.Context(), "acme")
		first <- err
	}()
	<-d.asking
	d.account.Status = StatusCanceled
	r.Clear()
	d.may <- struct{}{}
	d.may <- struct{}{}
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if account, err := r.Resolve(t.Context(), "acme"); err != nil || account.Status != StatusCanceled {
		t.Errorf("an account that was canceled is %s for good: %v", account.Status, err)
	}
}
