package keys

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

func TestLinkTagIsHMACUnderTheNamedKey(t *testing.T) {
	t.Parallel()
	path, before := setup(t)
	if err := Rotate(path, SlotToken); err != nil {
		t.Fatal(err)
	}
	after := open(t, path)
	raw := rawKeys(t, read(t, path), SlotToken)
	if len(raw) != 2 || before.PrimaryLinkKey() == after.PrimaryLinkKey() {
		t.Fatalf("%d keys, primary %d then %d", len(raw), before.PrimaryLinkKey(), after.PrimaryLinkKey())
	}
	input := []byte("passmend reset token and so on")
	for id, key := range raw {
		mac := hmac.New(sha256.New, key)
		mac.Write(input)
		if tag := must(after.LinkTag(core.KeyID(id), input)); !bytes.Equal(tag, mac.Sum(nil)) {
			t.Errorf("key %d gives another tag than HMAC-SHA-256", id)
		}
	}
	old := before.PrimaryLinkKey()
	if !bytes.Equal(must(before.LinkTag(old, input)), must(after.LinkTag(old, input))) {
		t.Error("a link made before the rotation no longer verifies")
	}
}

func TestLinkTagOfAKeyThatIsGone(t *testing.T) {
	t.Parallel()
	path, first := setup(t)
	old := first.PrimaryLinkKey()
	if err := Rotate(path, SlotToken); err != nil {
		t.Fatal(err)
	}
	must(open(t, path).LinkTag(old, nil)) // control: still there
	var set map[string]json.RawMessage
	all := members(t, read(t, path))
	if err := json.Unmarshal(all[SlotToken], &set); err != nil {
		t.Fatal(err)
	}
	var list []map[string]any
	if err := json.Unmarshal(set["key"], &list); err != nil {
		t.Fatal(err)
	}
	list[0]["status"] = "DISABLED"
	for name, left := range map[string][]map[string]any{"disabled": list, "removed": list[1:]} {
		set["key"] = must(json.Marshal(left))
		all[SlotToken] = must(json.Marshal(set))
		if err := os.WriteFile(path, must(json.Marshal(all)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, path).LinkTag(old, nil); !errors.Is(err, core.ErrUnknownKey) {
			t.Errorf("%s key: %v, want core.ErrUnknownKey", name, err)
		}
	}
	if _, err := first.LinkTag(old+1, nil); !errors.Is(err, core.ErrUnknownKey) {
		t.Errorf("a key that never was: %v, want core.ErrUnknownKey", err)
	}
}

// Threat 32: everything that a database holds is known, the keys file is not.
func TestLinkTagsNeedTheKeysFile(t *testing.T) {
	t.Parallel()
	_, ours := setup(t)
	_, theirs := setup(t)
	input := bytes.Repeat([]byte{7}, 113)
	tag := must(ours.LinkTag(ours.PrimaryLinkKey(), input))
	id := fmt.Sprint(ours.PrimaryLinkKey())
	guesses := map[string][]byte{"another file's key": must(theirs.LinkTag(theirs.PrimaryLinkKey(), input))}
	for name, key := range map[string][]byte{"no key": nil, "zeros": make([]byte, 32), "the key's id": []byte(id), "the input": input} {
		mac := hmac.New(sha256.New, key)
		mac.Write(input)
		guesses[name] = mac.Sum(nil)
	}
	for name, guess := range guesses {
		if bytes.Equal(guess, tag) {
			t.Errorf("%s makes the tag", name)
		}
	}
	if !bytes.Equal(tag, must(ours.LinkTag(ours.PrimaryLinkKey(), input))) {
		t.Error("control: the key itself does not make the tag")
	}
}

type digestCase struct {
	scope   string
	account tenants.AccountID
	value   string
}

// differing cases include those that run into one another when parts are only
// written one after the other.
func differing() []digestCase {
	return []digestCase{
		{"address", ada, "x@example.com"},
		{"address", bob, "x@example.com"},
		{"address", "", "x@example.com"},
		{"recipient", ada, "x@example.com"},
		{"address", ada, "y@example.com"},
		{"address", ada, ""},
		{"", ada, "x@example.com"},
		{"addres", "s" + ada, "x@example.com"},
		{"address", ada + "x", "@example.com"},
		{"address" + string(ada), "", "x@example.com"},
		{"address\x00", ada, "x@example.com"},
	}
}

// collisions gives the number of cases that have the same digest as an earlier one.
func collisions(digest func(c digestCase) []byte) int {
	seen := map[string]bool{}
	for _, c := range differing() {
		seen[string(digest(c))] = true
	}
	return len(differing()) - len(seen)
}

func TestDigestsAreSeparate(t *testing.T) {
	t.Parallel()
	path, keys := setup(t)
	digest := func(c digestCase) []byte { return keys.Digest(c.scope, c.account, []byte(c.value)) }
	if n := collisions(digest); n != 0 {
		t.Errorf("%d digests of different values are the same", n)
	}
	limit := func(c digestCase) []byte { return keys.LimitKey(c.scope, []byte(c.value)) }
	if bytes.Equal(limit(digestCase{"ab", "", "c"}), limit(digestCase{"a", "", "bc"})) {
		t.Error("scope and value of a limit key run into one another")
	}
	faulty := func(c digestCase) []byte { return []byte(c.scope + string(c.account) + c.value) }
	if collisions(faulty) == 0 {
		t.Error("control: parts written one after the other should collide")
	}
	again := open(t, path)
	for _, c := range differing() {
		if got := digest(c); len(got) != 32 || !bytes.Equal(got, again.Digest(c.scope, c.account, []byte(c.value))) {
			t.Errorf("digest of %v: %d bytes, or another one the second time", c, len(got))
		}
		if got := limit(c); len(got) != 16 || !bytes.Equal(got, again.LimitKey(c.scope, []byte(c.value))) {
			t.Errorf("limit key of %v: %d bytes, or another one the second time", c, len(got))
		}
	}
	_, stranger := setup(t)
	if bytes.Equal(keys.Digest("address", ada, nil), stranger.Digest("address", ada, nil)) {
		t.Error("another keys file gives the same digest")
	}
}

func TestSealedValuesOpenInTheirPlaceOnly(t *testing.T) {
	t.Parallel()
	_, keys := setup(t)
	_, stranger := setup(t)
	plaintext := []byte("x@example.com")
	sealed := must(keys.Seal(ada, "row", plaintext))
	if bytes.Contains(sealed, plaintext) || len(sealed) != len(plaintext)+33 {
		t.Errorf("sealed value of %d bytes", len(sealed))
	}
	if bytes.Equal(sealed, must(keys.Seal(ada, "row", plaintext))) {
		t.Error("sealing twice gives the same bytes")
	}
	if got := must(keys.Open(ada, "row", sealed)); !bytes.Equal(got, plaintext) {
		t.Error("control: the same place does not open it")
	}
	for name, place := range map[string]struct {
		keys    *Keys
		account tenants.AccountID
		id      string
	}{
		"another account":     {keys, bob, "row"},
		"the platform":        {keys, "", "row"},
		"another row":         {keys, ada, "row2"},
		"no row":              {keys, ada, ""},
		"account and id melt": {keys, ada + "r", "ow"},
		"another keys file":   {stranger, ada, "row"},
	} {
		if _, err := place.keys.Open(place.account, place.id, sealed); !errors.Is(err, ErrBadSeal) {
			t.Errorf("%s: %v, want ErrBadSeal", name, err)
		}
	}
	for i := range sealed {
		altered := bytes.Clone(sealed)
		altered[i] ^= 1
		if _, err := keys.Open(ada, "row", altered); !errors.Is(err, ErrBadSeal) {
			t.Errorf("byte %d altered: %v, want ErrBadSeal", i, err)
		}
		if _, err := keys.Open(ada, "row", sealed[:i]); !errors.Is(err, ErrBadSeal) {
			t.Errorf("cut to %d bytes: %v, want ErrBadSeal", i, err)
		}
	}
}

// The AEAD slots serve one use each, even when two slots hold the same keyset.
func TestUsesOfOneKeyAreSeparate(t *testing.T) {
	t.Parallel()
	path, _ := setup(t)
	all := members(t, read(t, path))
	all[SlotPepper], all[SlotCookie] = all[SlotSeal], all[SlotSeal]
	if err := os.WriteFile(path, must(json.Marshal(all)), 0o600); err != nil {
		t.Fatal(err)
	}
	keys := open(t, path)
	sealed := must(keys.Seal(ada, string(user1), []byte("secret")))
	must(keys.Open(ada, string(user1), sealed)) // control
	if _, err := keys.openHash(ada, user1, sealed); !errors.Is(err, ErrBadSeal) {
		t.Errorf("a sealed column opens as a password hash: %v", err)
	}
	if _, err := keys.OpenCookie(string(ada), base64.RawURLEncoding.EncodeToString(sealed)); !errors.Is(err, ErrBadCookie) {
		t.Errorf("a sealed column opens as a cookie: %v", err)
	}
}

func TestRotationKeepsWhatWasSealed(t *testing.T) {
	t.Parallel()
	path, before := setup(t)
	sealed := must(before.Seal(ada, "row", []byte("column")))
	cookie := must(before.SealCookie("reset", []byte("cookie")))
	hash := must(before.sealHash(ada, user1, "hash"))
	if err := Rotate(path, SlotAll); err != nil {
		t.Fatal(err)
	}
	after := open(t, path)
	if got := must(after.Open(ada, "row", sealed)); string(got) != "column" {
		t.Error("a sealed column is lost")
	}
	if got := must(after.OpenCookie("reset", cookie)); string(got) != "cookie" {
		t.Error("a cookie is lost")
	}
	if got := must(after.openHash(ada, user1, hash)); got != "hash" {
		t.Error("a password hash is lost")
	}
	if after.primaryPepper(hash) || !before.primaryPepper(hash) {
		t.Error("the age of the pepper key is not seen")
	}
	// Control: new values are under the new key, which the old file cannot open.
	if _, err := before.Open(ada, "row", must(after.Seal(ada, "row", nil))); !errors.Is(err, ErrBadSeal) {
		t.Errorf("the rotation has not changed the key: %v", err)
	}
}

func TestCookies(t *testing.T) {
	t.Parallel()
	_, keys := setup(t)
	cookie := must(keys.SealCookie("reset", []byte("a token and one account")))
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if strings.Trim(cookie, alphabet) != "" {
		t.Error("a cookie has a character outside base64url")
	}
	if got := must(keys.OpenCookie("reset", cookie)); string(got) != "a token and one account" {
		t.Error("control: the cookie does not open")
	}
	// 56 bytes leave two bits of the last character unused.
	stray := alphabet[strings.IndexByte(alphabet, cookie[len(cookie)-1])+1]
	for name, c := range map[string]struct{ purpose, value string }{
		"another purpose":  {"forgot", cookie},
		"no purpose":       {"", cookie},
		"empty":            {"reset", ""},
		"cut":              {"reset", cookie[:len(cookie)-1]},
		"padded":           {"reset", cookie + "="},
		"line feed inside": {"reset", cookie[:9] + "\n" + cookie[9:]},
		"carriage return":  {"reset", cookie + "\r"},
		"blank":            {"reset", " " + cookie},
		"other alphabet":   {"reset", strings.NewReplacer("-", "+", "_", "/").Replace(cookie) + "+/"},
		"over 4,096":       {"reset", strings.Repeat("A", 4097)},
		"first byte":       {"reset", "B" + cookie[1:]},
		"stray bits":       {"reset", cookie[:len(cookie)-1] + string(rune(stray))},
	} {
		if got, err := keys.OpenCookie(c.purpose, c.value); !errors.Is(err, ErrBadCookie) || got != nil {
			t.Errorf("%s: %v, want ErrBadCookie", name, err)
		}
	}
	fits := make([]byte, 3000)
	if value := must(keys.SealCookie("reset", fits)); len(must(keys.OpenCookie("reset", value))) != len(fits) {
		t.Error("a cookie near the browsers' limit does not open")
	}
}

func FuzzOpenCookie(f *testing.F) {
	_, keys := setup(f)
	sealed := must(keys.SealCookie("reset", []byte("value")))
	for _, seed := range []string{sealed, sealed + "\n", sealed[:20], "", "AQ", "=", "AAAAAAAA", sealed + sealed} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		_, err := keys.OpenCookie("reset", value)
		if (err == nil) != (value == sealed) {
			t.Errorf("one cookie has two spellings, or its own does not open: %v", err)
		}
		if err != nil && !errors.Is(err, ErrBadCookie) {
			t.Errorf("%v, want ErrBadCookie", err)
		}
	})
}

func TestKeysPrintAsRedacted(t *testing.T) {
	t.Parallel()
	path, keys := setup(t)
	passwords := newPasswords(t, PasswordsConfig{Keys: keys})
	var out strings.Builder
	logger := slog.New(slog.NewJSONHandler(&out, nil))
	logger.Info("keys", "pointer", keys, "value", *keys, "group", slog.GroupValue(slog.Any("keys", keys)))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+"\n", keys, *keys, passwords)
	}
	out.Write(must(json.Marshal(map[string]any{"keys": keys, "passwords": passwords})))
	if leaks(t, read(t, path), out.String()) {
		t.Error("key bytes are printed")
	}
	for _, raw := range rawKeys(t, read(t, path), SlotToken) {
		for _, form := range []string{fmt.Sprint(raw), fmt.Sprintf("%x", raw), fmt.Sprintf("%#v", raw)} {
			if form = strings.Trim(form, "[]byte{}"); strings.Contains(out.String(), form) {
				t.Error("key bytes are printed")
			}
		}
	}
	if !strings.Contains(out.String(), "[redacted]") {
		t.Error("control: nothing was printed at all")
	}
}

func BenchmarkLinkTag(b *testing.B) {
	_, keys := setup(b)
	input := make([]byte, 113)
	b.ReportAllocs()
	for b.Loop() {
		must(keys.LinkTag(keys.PrimaryLinkKey(), input))
	}
}

func BenchmarkOpenKeysFile(b *testing.B) {
	path, _ := setup(b)
	for b.Loop() {
		open(b, path)
	}
}
