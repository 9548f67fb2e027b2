package keys

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

const (
	ada   = tenants.AccountID("0197a1b2-0000-7000-8000-00000000000a")
	bob   = tenants.AccountID("0197a1b2-0000-7000-8000-00000000000b")
	user1 = core.UserID("0197a1b2-0000-7000-8000-000000000001")
	user2 = core.UserID("0197a1b2-0000-7000-8000-000000000002")
)

// setup gives a fresh keys file.
func setup(t testing.TB) (path string, opened *Keys) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "keys.json")
	if err := Init(path); err != nil {
		t.Fatal(err)
	}
	return path, open(t, path)
}

func open(t testing.TB, path string) *Keys {
	t.Helper()
	opened, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// keyset is the JSON of one slot, as far as the tests reach into it.
type keysetJSON struct {
	PrimaryKeyID uint32 `json:"primaryKeyId"`
	Key          []struct {
		KeyData struct {
			TypeURL string `json:"typeUrl"`
			Value   string `json:"value"`
		} `json:"keyData"`
		KeyID uint32 `json:"keyId"`
	} `json:"key"`
}

// members splits a keys file with the standard library alone.
func members(t testing.TB, text []byte) map[string]json.RawMessage {
	t.Helper()
	var split map[string]json.RawMessage
	if err := json.Unmarshal(text, &split); err != nil {
		t.Fatal(err)
	}
	return split
}

// rawKeys gives the 32 bytes of each key of a slot: the last field of the proto.
func rawKeys(t testing.TB, text []byte, slot string) map[uint32][]byte {
	t.Helper()
	var set keysetJSON
	if err := json.Unmarshal(members(t, text)[slot], &set); err != nil {
		t.Fatal(err)
	}
	keys := map[uint32][]byte{}
	for _, each := range set.Key {
		value := must(base64.StdEncoding.DecodeString(each.KeyData.Value))
		keys[each.KeyID] = value[len(value)-32:]
	}
	return keys
}

// leaks says whether text shows a part of any key of the file: eight characters of
// its base64 in a row are enough.
func leaks(t testing.TB, file []byte, text string) bool {
	t.Helper()
	for _, slot := range slotNames() {
		for _, key := range rawKeys(t, file, slot) {
			for _, encoded := range []string{base64.StdEncoding.EncodeToString(key), string(key)} {
				for i := range len(encoded) - 8 {
					if strings.Contains(text, encoded[i:i+8]) {
						return true
					}
				}
			}
		}
		var set keysetJSON
		_ = json.Unmarshal(members(t, file)[slot], &set)
		for _, each := range set.Key {
			for i := range len(each.KeyData.Value) - 12 {
				// The head of the value is the proto's own bytes, the same in every file.
				if i > 12 && strings.Contains(text, each.KeyData.Value[i:i+12]) {
					return true
				}
			}
		}
	}
	return false
}
