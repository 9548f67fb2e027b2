package core

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/passmend/passmend/tenants"
)

func TestChoosePassword(t *testing.T) {
	t.Parallel()
	account := tenants.New(testAccount, "acme", "Acme Works")
	user := ada(t)
	user.FirstName, user.LastName = "Augusta", "Lovelace"
	for _, c := range []struct {
		name, typed string
		want        error
	}{
		{"eight characters", "q7kzx2pv", nil},
		{"seven characters", "q7kzx2p", ErrPasswordTooShort},
		{"characters are counted, not bytes", strings.Repeat("é", 8), nil},
		{"256 characters", strings.Repeat("ab", 128), nil},
		{"257 characters", strings.Repeat("a", 257), ErrPasswordTooLong},
		{"256 characters of four bytes", strings.Repeat("🜁", 256), nil},
		{"over 1,024 bytes", strings.Repeat("e\u0301", 400), ErrPasswordTooLong},
		{"an emoji of many code points", "👩‍👩‍👧‍👦👩‍👩‍👧‍👦", nil},
		{"common", "password123", ErrPasswordCommon},
		{"common in capitals", "PassWord123", ErrPasswordCommon},
		{"spaces", "correct horse battery staple", nil},
		{"the address", "ada@example.com", ErrPasswordCommon},
		{"the site", "example2026!", ErrPasswordCommon},
		{"the name", "augusta1815", ErrPasswordCommon},
		{"the product", "acmeworks1", ErrPasswordCommon},
		{"the product, spaced", "Acme Works!", ErrPasswordCommon},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if _, err := ChoosePassword(account, user, tenants.NewSecret(c.typed)); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestPasswordIsNormalised(t *testing.T) {
	t.Parallel()
	account := tenants.New(testAccount, "acme", "Acme")
	composed, err1 := ChoosePassword(account, User{}, tenants.NewSecret("pr\u00e9f\u00e9r\u00e9e-x"))
	apart, err2 := ChoosePassword(account, User{}, tenants.NewSecret("pre\u0301fe\u0301re\u0301e-x"))
	if err1 != nil || err2 != nil || composed != apart {
		t.Errorf("two ways to type one password differ (%v, %v)", err1, err2)
	}
}

func TestAccountMinimumCounts(t *testing.T) {
	t.Parallel()
	account := tenants.New(testAccount, "acme", "Acme")
	account.Password.Minimum = 12
	if _, err := ChoosePassword(account, User{}, tenants.NewSecret("q7kzx2pvq7k")); !errors.Is(err, ErrPasswordTooShort) {
		t.Errorf("got %v", err)
	}
}

func TestCommonPasswordsAreUsable(t *testing.T) {
	t.Parallel()
	list := commonPasswords()
	if len(list) < 10_000 || !slices.IsSorted(list) {
		t.Fatalf("%d entries, sorted %v", len(list), slices.IsSorted(list))
	}
	for _, entry := range list {
		if entry != strings.ToLower(entry) || strings.HasPrefix(entry, "# ") {
			t.Fatalf("entry %q can never match", entry)
		}
	}
}
