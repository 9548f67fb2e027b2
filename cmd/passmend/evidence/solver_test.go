package evidence

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/plugins/smtp/smtptest"
)

// T20: with everything in a dump, and nothing else, no valid link can be made.
func TestT20ADumpMakesNoLink(t *testing.T) {
	t.Parallel()
	s := newSite(t, smtptest.Options{})
	srv := s.serve()
	const requests = 100
	genuine := make(map[string]bool)
	for n := range requests {
		s.register(fmt.Sprintf("u%d@example.com", n), "")
		s.forget(fmt.Sprintf("u%d@example.com", n))
	}
	eventually(t, "every mail is out", func() bool { return len(s.relay.Messages()) == requests })
	for n := range requests {
		genuine[s.token(fmt.Sprintf("u%d@example.com", n))] = true
	}
	srv.stop()
	d := dumpOf(t, openDatabase(t, "sqlite://"+filepath.Join(s.dir, "data", "passmend.db")), true)

	// Every value is tried as the key, and the digest of each.
	candidates := map[string]bool{"": true}
	for _, values := range d.columns {
		for _, value := range values {
			text := fmt.Sprint(value)
			if raw, ok := value.([]byte); ok {
				text = string(raw)
			}
			digest := sha256.Sum256([]byte(text))
			candidates[text], candidates[string(digest[:])] = true, true
		}
	}
	made := 0
	for key := range candidates {
		made += d.solve(t, genuine, func(_ core.KeyID, input []byte) []byte {
			mac := hmac.New(sha256.New, []byte(key))
			mac.Write(input)
			return mac.Sum(nil)
		})
	}
	if made != 0 {
		t.Errorf("%d links were made of the dump", made)
	}
	t.Logf("%d live links, %d keys tried", len(genuine), len(candidates))
	// The control: the same solver, with the keys file.
	ring, err := keys.Open(filepath.Join(s.dir, "data", "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	if made := d.solve(t, genuine, func(id core.KeyID, input []byte) []byte {
		tag, err := ring.LinkTag(id, input)
		if err != nil {
			t.Fatal(err)
		}
		return tag
	}); made != len(genuine) || made != requests {
		t.Errorf("with the keys file %d of %d links are made: the solver is wrong", made, len(genuine))
	}
}

// solve makes a token of every live request, as core/token.go does, and counts those
// that are genuine.
func (d dump) solve(t *testing.T, genuine map[string]bool, tag func(key core.KeyID, input []byte) []byte) (made int) {
	t.Helper()
	addresses := make(map[string]string)
	for _, user := range d.rows["users"] {
		addresses[fmt.Sprint(user["id"])] = fmt.Sprint(user["address"])
	}
	for _, request := range d.rows["requests"] {
		selector, live := request["selector"].([]byte)
		seed, _ := request["seed"].([]byte)
		if !live || len(seed) == 0 {
			continue
		}
		address := sha256.Sum256([]byte(addresses[fmt.Sprint(request["user_id"])]))
		input := append([]byte("passmend reset token"), 0x01)
		for _, part := range [][]byte{selector, uuidBytes(t, request["account_id"]), uuidBytes(t, request["user_id"]), seed} {
			input = append(input, part...)
		}
		version, _ := request["credential_version"].(int64)
		input = append(binary.BigEndian.AppendUint64(input, uint64(version)), address[:]...)
		id, _ := request["key_id"].(int64)
		token := append(append([]byte{0x01}, selector...), tag(core.KeyID(id), input)[:23]...)
		if genuine[base64.RawURLEncoding.EncodeToString(token)] {
			made++
		}
	}
	return made
}

func uuidBytes(t *testing.T, id any) []byte {
	t.Helper()
	raw, err := hex.DecodeString(strings.ReplaceAll(fmt.Sprint(id), "-", ""))
	if err != nil || len(raw) != 16 {
		t.Fatalf("%v is no UUID", id)
	}
	return raw
}
