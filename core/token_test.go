package core

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strings"
	"testing"

	"github.com/passmend/passmend/tenants"
)

// linkKeys is a keys file of plain HMAC keys.
type linkKeys map[KeyID]string

func (k linkKeys) PrimaryLinkKey() KeyID { return 1 }

func (k linkKeys) LinkTag(id KeyID, input []byte) ([]byte, error) {
	key, ok := k[id]
	if !ok {
		return nil, ErrUnknownKey
	}
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(input)
	return mac.Sum(nil), nil
}

const (
	testAccount = tenants.AccountID("0197c0de-0000-7000-8000-000000000001")
	testUser    = UserID("0197c0de-0000-7000-8000-000000000002")
)

func address(t testing.TB, s string) Address {
	t.Helper()
	a, err := ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func ada(t testing.TB) User {
	t.Helper()
	return User{ID: testUser, Account: testAccount, Address: address(t, "ada@example.com"), CredentialVersion: 3}
}

func seeded() LinkSeed {
	return LinkSeed{Selector: Selector{1, 2, 3, 4, 5, 6, 7, 8}, Seed: Seed{9, 9}, Key: 1, CredentialVersion: 3}
}

func TestTokenIsTheSameForEveryAttempt(t *testing.T) {
	t.Parallel()
	keys := linkKeys{1: "one", 2: "two"}
	first, err := mintToken(keys, ada(t), seeded())
	if err != nil {
		t.Fatal(err)
	}
	again, _ := mintToken(keys, ada(t), seeded())
	if first != again {
		t.Error("two attempts mint two tokens")
	}
	// The shape that the log filter looks for (operability.md, Log rules).
	if !regexp.MustCompile(`^A[Q-Za-f][A-Za-z0-9_-]{41}$`).MatchString(first.Reveal()) {
		t.Errorf("token %s has not the documented shape", first.Reveal())
	}
	parsed, ok := parseToken(first)
	if !ok || parsed.Selector != seeded().Selector {
		t.Fatalf("parsed %v, %v", parsed, ok)
	}
	if genuine, err := parsed.proves(keys, ada(t), seeded()); err != nil || !genuine {
		t.Errorf("its own token proves %v, %v", genuine, err)
	}
}

func TestTokenDiesWithAnythingItIsBoundTo(t *testing.T) {
	t.Parallel()
	keys := linkKeys{1: "one", 2: "two"}
	token, err := mintToken(keys, ada(t), seeded())
	if err != nil {
		t.Fatal(err)
	}
	parsed, _ := parseToken(token)
	for name, change := range map[string]func(u *User, l *LinkSeed){
		"account":    func(u *User, _ *LinkSeed) { u.Account = "0197c0de-0000-7000-8000-00000000ffff" },
		"user":       func(u *User, _ *LinkSeed) { u.ID = "0197c0de-0000-7000-8000-00000000ffff" },
		"address":    func(u *User, _ *LinkSeed) { u.Address = address(t, "eve@example.com") },
		"credential": func(_ *User, l *LinkSeed) { l.CredentialVersion++ },
		"seed":       func(_ *User, l *LinkSeed) { l.Seed[15]++ },
		"selector":   func(_ *User, l *LinkSeed) { l.Selector[0]++ },
		"key":        func(_ *User, l *LinkSeed) { l.Key = 2 },
	} {
		user, link := ada(t), seeded()
		change(&user, &link)
		if genuine, err := parsed.proves(keys, user, link); err != nil || genuine {
			t.Errorf("another %s: proves %v, %v", name, genuine, err)
		}
	}
}

func TestParseTokenIsStrict(t *testing.T) {
	t.Parallel()
	token, err := mintToken(linkKeys{1: "one"}, ada(t), seeded())
	if err != nil {
		t.Fatal(err)
	}
	good := token.Reveal()
	raw, _ := base64.RawURLEncoding.DecodeString(good)
	other := append([]byte{0x02}, raw[1:]...)
	for name, bad := range map[string]string{
		"empty":         "",
		"short":         good[:42],
		"long":          good + "A",
		"padded":        good[:42] + "=",
		"line feed":     good[:42] + "\n",
		"plus":          "+" + good[1:],
		"stray bits":    good[:42] + string(good[42]+1),
		"other version": base64.RawURLEncoding.EncodeToString(other),
		"UTF-8":         good[:41] + "é",
	} {
		if _, ok := parseToken(tenants.NewSecret(bad)); ok {
			t.Errorf("%s: %q was taken", name, bad)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	token, err := mintToken(linkKeys{1: "one"}, User{ID: testUser, Account: testAccount}, seeded())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token.Reveal())
	f.Add(strings.Repeat("A", 43))
	f.Add("AQ\r\n" + strings.Repeat("A", 39))
	f.Fuzz(func(t *testing.T, text string) {
		parsed, ok := parseToken(tenants.NewSecret(text))
		if !ok {
			return
		}
		// Only one spelling names a token: what was read is written back the same.
		raw := append([]byte{tokenVersion}, parsed.Selector[:]...)
		raw = append(raw, parsed.Tag[:]...)
		if back := base64.RawURLEncoding.EncodeToString(raw); back != text {
			t.Fatalf("%q is read as %q", text, back)
		}
	})
}
