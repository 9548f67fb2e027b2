package keys

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// known is what was once made with testdata/keys.json, a file that protects nothing.
// There is no way to renew it: were it to change, every deployment would lose its
// links, addresses and passwords at its next upgrade.
type known struct {
	Key      core.KeyID `json:"key"`
	Tag      []byte     `json:"tag"`
	Digest   []byte     `json:"digest"`
	LimitKey []byte     `json:"limitKey"`
	Sealed   []byte     `json:"sealed"`
	Hash     []byte     `json:"hash"`
	Cookie   string     `json:"cookie"`
}

func TestAnEarlierReleasesFileStillServes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(path, read(t, "testdata/keys.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	var want known
	if err := json.Unmarshal(read(t, "testdata/known.json"), &want); err != nil {
		t.Fatal(err)
	}
	for _, rotated := range []bool{false, true} {
		if rotated {
			if err := Rotate(path, SlotAll); err != nil {
				t.Fatal(err)
			}
		}
		keys := open(t, path)
		if got := must(keys.Open(ada, "row", want.Sealed)); string(got) != "x@example.com" {
			t.Error("a sealed column has changed")
		}
		if got := must(keys.OpenCookie("reset", want.Cookie)); string(got) != "value" {
			t.Error("a cookie has changed")
		}
		passwords := newPasswords(t, PasswordsConfig{Keys: keys})
		if !must(passwords.Verify(t.Context(), ada, user1, want.Hash, tenants.NewSecret("password"))) {
			t.Error("a password no longer matches")
		}
		got := want
		got.Tag = must(keys.LinkTag(want.Key, []byte("input")))
		if !rotated {
			got.Key = keys.PrimaryLinkKey()
			got.Digest = keys.Digest("address", ada, []byte("x@example.com"))
			got.LimitKey = keys.LimitKey("ip", []byte("192.0.2.1"))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("rotated %v: %s", rotated, diff)
		}
	}
}
