package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
)

func TestInitMakesAPrivateFileWithEverySlot(t *testing.T) {
	t.Parallel()
	path, _ := setup(t)
	if mode := must(os.Stat(path)).Mode(); mode != 0o600 {
		t.Errorf("mode %v, want -rw-------", mode)
	}
	slots := must(Slots(path))
	var names []string
	for _, slot := range slots {
		names = append(names, slot.Name)
		if len(slot.KeyIDs) != 1 || slot.KeyIDs[0] != slot.PrimaryID {
			t.Errorf("slot %s has keys %v and primary %d, want one key", slot.Name, slot.KeyIDs, slot.PrimaryID)
		}
		if age := time.Since(slot.Created); age < 0 || age > time.Minute {
			t.Errorf("slot %s says it was made %v ago", slot.Name, age)
		}
	}
	if diff := cmp.Diff(slotNames(), names); diff != "" {
		t.Error(diff)
	}
}

func TestInitNeverOverwrites(t *testing.T) {
	t.Parallel()
	path, _ := setup(t)
	before := read(t, path)
	err := Init(path)
	if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("second init: %v, want fs.ErrExist with the path", err)
	}
	if !bytes.Equal(before, read(t, path)) {
		t.Error("the file has changed")
	}
	if err := Init(filepath.Join(path, "below")); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("init below a file: %v, want an error with the path", err)
	}
}

func TestFileModes(t *testing.T) {
	t.Parallel()
	for mode, accepted := range map[fs.FileMode]bool{
		0o400: true, 0o600: true, 0o700: true, 0o440: true, 0o640: true, 0o650: true, // the group may read
		0o620: false, 0o660: false, 0o630: false, // or write
		0o604: false, 0o644: false, 0o602: false, 0o606: false, 0o607: false, 0o666: false, 0o777: false,
	} {
		t.Run(fmt.Sprintf("%04o", mode), func(t *testing.T) {
			t.Parallel()
			path, _ := setup(t)
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			_, err := Open(path)
			switch {
			case accepted && err != nil:
				t.Errorf("refused: %v", err)
			case !accepted && !errors.Is(err, ErrBadFile):
				t.Errorf("%v, want ErrBadFile", err)
			case !accepted && (!strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "chmod")):
				t.Errorf("%v does not name the file and the remedy", err)
			}
			if rotated := Rotate(path, SlotAll); (rotated == nil) != accepted {
				t.Errorf("rotate: %v, want the same answer as open", rotated)
			}
		})
	}
}

func TestWhatIsNoFileIsRefused(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	pipe := filepath.Join(folder, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, folder} {
		if _, err := Open(path); !errors.Is(err, ErrBadFile) || !strings.Contains(err.Error(), path+": it is not a regular file") {
			t.Errorf("%v, want ErrBadFile with the path and why", err)
		}
	}
	missing := filepath.Join(folder, "missing")
	if _, err := Open(missing); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing: %v, want fs.ErrNotExist with the path", err)
	}
	if err := Rotate(missing, SlotAll); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("rotate missing: %v, want fs.ErrNotExist", err)
	}
}

// Each case is made from a sound file; its error must name the file and, where it
// is about one, the slot, and must show no part of a key.
func TestTamperedFilesAreRefused(t *testing.T) {
	t.Parallel()
	edit := func(slot string, change func(set map[string]any)) func(m map[string]json.RawMessage) {
		return func(m map[string]json.RawMessage) {
			var set map[string]any
			decoder := json.NewDecoder(bytes.NewReader(m[slot]))
			decoder.UseNumber()
			_ = decoder.Decode(&set)
			change(set)
			m[slot] = must(json.Marshal(set))
		}
	}
	firstKey := func(set map[string]any) map[string]any { return set["key"].([]any)[0].(map[string]any) }
	keyData := func(set map[string]any) map[string]any { return firstKey(set)["keyData"].(map[string]any) }
	type change struct {
		name   string
		slot   string // that the error must name
		change func(m map[string]json.RawMessage)
	}
	var cases []change
	for i, slot := range slotNames() {
		wrongKind := slotNames()[(i+3)%6] // the first three slots are PRFs, the others AEADs
		for name, fault := range map[string]func(m map[string]json.RawMessage){
			"missing":        func(m map[string]json.RawMessage) { delete(m, slot) },
			"null":           func(m map[string]json.RawMessage) { m[slot] = json.RawMessage(`null`) },
			"text":           func(m map[string]json.RawMessage) { m[slot] = json.RawMessage(`"x"`) },
			"empty":          func(m map[string]json.RawMessage) { m[slot] = json.RawMessage(`{}`) },
			"another kind":   func(m map[string]json.RawMessage) { m[slot] = m[wrongKind] },
			"no keys":        edit(slot, func(set map[string]any) { set["key"] = []any{} }),
			"no primary":     edit(slot, func(set map[string]any) { set["primaryKeyId"] = 0 }),
			"unknown member": edit(slot, func(set map[string]any) { set["extra"] = keyData(set)["value"] }),
			"key cut short": edit(slot, func(set map[string]any) {
				value := keyData(set)["value"].(string)
				keyData(set)["value"] = value[:len(value)-8]
			}),
			"key not base64": edit(slot, func(set map[string]any) {
				keyData(set)["value"] = "!" + keyData(set)["value"].(string)
			}),
			"unknown type": edit(slot, func(set map[string]any) {
				keyData(set)["typeUrl"] = "type.googleapis.com/google.crypto.tink.AesSivKey"
			}),
			"primary disabled": edit(slot, func(set map[string]any) { firstKey(set)["status"] = "DISABLED" }),
			"key twice": edit(slot, func(set map[string]any) {
				set["key"] = append(set["key"].([]any), firstKey(set))
			}),
			"other prefix": edit(slot, func(set map[string]any) { firstKey(set)["outputPrefixType"] = "LEGACY" }),
		} {
			cases = append(cases, change{slot + " " + name, slot, fault})
		}
	}
	cases = append(cases,
		change{"unknown slot", "", func(m map[string]json.RawMessage) { m["Seal"] = m["seal"] }},
		change{"no version", "", func(m map[string]json.RawMessage) { delete(m, "version") }},
		change{"later version", "", func(m map[string]json.RawMessage) { m["version"] = json.RawMessage(`2`) }},
		change{"version as text", "", func(m map[string]json.RawMessage) { m["version"] = json.RawMessage(`"1"`) }},
		change{"created as text", "", func(m map[string]json.RawMessage) { m["created"] = json.RawMessage(`"x"`) }},
		change{"created with no times", "", func(m map[string]json.RawMessage) { m["created"] = json.RawMessage(`{"seal":1}`) }},
	)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path, _ := setup(t)
			sound := read(t, path)
			changed := members(t, sound)
			c.change(changed)
			expectRefusal(t, path, sound, must(json.Marshal(changed)), c.slot)
		})
	}
}

func TestMalformedFilesAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(sound []byte) []byte{
		"empty":          func([]byte) []byte { return nil },
		"array":          func(sound []byte) []byte { return append(append([]byte("["), sound...), ']') },
		"cut in half":    func(sound []byte) []byte { return sound[:len(sound)/2] },
		"two objects":    func(sound []byte) []byte { return append(sound, sound...) },
		"something more": func(sound []byte) []byte { return append(sound, 'x') },
		"a slot twice": func(sound []byte) []byte {
			return append([]byte(`{"seal":{},`), bytes.TrimSpace(sound)[1:]...)
		},
		"over 1 MiB": func(sound []byte) []byte { return append(sound, bytes.Repeat([]byte(" "), 1<<20)...) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, _ := setup(t)
			sound := read(t, path)
			expectRefusal(t, path, sound, change(bytes.Clone(sound)), "")
		})
	}
}

func expectRefusal(t *testing.T, path string, sound, changed []byte, slot string) {
	t.Helper()
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(path)
	if !errors.Is(err, ErrBadFile) {
		t.Fatalf("%v, want ErrBadFile", err)
	}
	if !strings.Contains(err.Error(), path) || (slot != "" && !strings.Contains(err.Error(), fmt.Sprintf("slot %q", slot))) {
		t.Errorf("%v does not name the file and the slot", err)
	}
	if leaks(t, sound, err.Error()) {
		t.Error("the error shows a part of a key")
	}
	if err := Rotate(path, SlotAll); !errors.Is(err, ErrBadFile) || !bytes.Equal(changed, read(t, path)) {
		t.Errorf("rotate: %v, want ErrBadFile and the file as it was", err)
	}
	if _, err := os.Stat(path + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused rotation leaves its file: %v", err)
	}
	if err := os.WriteFile(path, sound, 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, path) // control: it was the change that was refused
}

func TestTheLeakCheckSeesALeak(t *testing.T) {
	t.Parallel()
	path, _ := setup(t)
	sound := read(t, path)
	var set keysetJSON
	if err := json.Unmarshal(members(t, sound)[SlotSeal], &set); err != nil {
		t.Fatal(err)
	}
	if value := set.Key[0].KeyData.Value; !leaks(t, sound, "proto: syntax error: "+value[len(value)-20:]) {
		t.Error("a quoted part of a key is not seen")
	}
}

func TestSymbolicLinksAreFollowed(t *testing.T) {
	t.Parallel()
	path, _ := setup(t)
	link := filepath.Join(t.TempDir(), "link.json")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	before := open(t, link).PrimaryLinkKey()
	if err := Rotate(link, SlotToken); err != nil {
		t.Fatal(err)
	}
	if must(os.Lstat(link)).Mode().Type() != fs.ModeSymlink {
		t.Error("the rotation has replaced the link")
	}
	if after := open(t, path).PrimaryLinkKey(); after == before {
		t.Error("the rotation has not reached the file")
	}
}

func TestFilesWithoutTimesOpen(t *testing.T) {
	t.Parallel()
	path, _ := setup(t)
	plain := members(t, read(t, path))
	delete(plain, "created")
	if err := os.WriteFile(path, must(json.Marshal(plain)), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, path)
	for _, slot := range must(Slots(path)) {
		if !slot.Created.IsZero() {
			t.Errorf("slot %s says %v", slot.Name, slot.Created)
		}
	}
}

func TestRotateAddsAPrimaryKeyToThatSlotOnly(t *testing.T) {
	t.Parallel()
	for _, rotated := range append(slotNames(), SlotAll) {
		t.Run(rotated, func(t *testing.T) {
			t.Parallel()
			path, _ := setup(t)
			if err := os.Chmod(path, 0o640); err != nil {
				t.Fatal(err)
			}
			before := must(Slots(path))
			if err := Rotate(path, rotated); err != nil {
				t.Fatal(err)
			}
			for i, after := range must(Slots(path)) {
				want := before[i]
				if rotated == SlotAll || rotated == want.Name {
					if after.PrimaryID == want.PrimaryID {
						t.Errorf("slot %s has its old primary key", want.Name)
					}
					want.KeyIDs = append(want.KeyIDs, after.PrimaryID)
					want.PrimaryID, want.Created = after.PrimaryID, after.Created
				}
				if diff := cmp.Diff(want, after); diff != "" {
					t.Error(diff)
				}
			}
			if mode := must(os.Stat(path)).Mode(); mode != 0o640 {
				t.Errorf("mode %v, want it kept", mode)
			}
			if entries := must(os.ReadDir(filepath.Dir(path))); len(entries) != 1 {
				t.Errorf("%d files, want only the keys file", len(entries))
			}
		})
	}
}

func TestRotateRefusesAnUnknownSlot(t *testing.T) {
	t.Parallel()
	path, _ := setup(t)
	before := read(t, path)
	for _, slot := range []string{"", "Token", "salt", "created"} {
		if err := Rotate(path, slot); err == nil || !strings.Contains(err.Error(), SlotPepper) {
			t.Errorf("slot %q: %v, want an error with the accepted names", slot, err)
		}
	}
	if !bytes.Equal(before, read(t, path)) {
		t.Error("the file has changed")
	}
}

// A link of before a rotation stands until its key is dropped; the keys that opened
// what was sealed cannot be dropped.
func TestDropEndsWhatOlderKeysMade(t *testing.T) {
	t.Parallel()
	path, before := setup(t)
	tag := must(before.LinkTag(before.PrimaryLinkKey(), []byte("input")))
	if err := Rotate(path, SlotAll); err != nil {
		t.Fatal(err)
	}
	if again := must(must(Open(path)).LinkTag(before.PrimaryLinkKey(), []byte("input"))); !bytes.Equal(again, tag) {
		t.Error("a rotation changed what an older key says")
	}
	rotated := read(t, path)
	for _, slot := range []string{SlotSeal, SlotPepper, SlotDigest, SlotLimit, SlotAll, "salt"} {
		if _, err := Drop(path, slot); !errors.Is(err, ErrUnknownSlot) || !strings.Contains(err.Error(), "token and cookie") {
			t.Errorf("slot %q: %v, want an error with the accepted names", slot, err)
		}
	}
	if !bytes.Equal(rotated, read(t, path)) {
		t.Error("the file has changed")
	}
	if dropped := must(Drop(path, SlotToken)); dropped != 1 {
		t.Errorf("%d keys dropped, want 1", dropped)
	}
	after := must(Open(path))
	if _, err := after.LinkTag(before.PrimaryLinkKey(), []byte("input")); !errors.Is(err, core.ErrUnknownKey) {
		t.Errorf("the older key: %v", err)
	}
	if _, err := after.LinkTag(after.PrimaryLinkKey(), []byte("input")); err != nil {
		t.Error(err)
	}
	if dropped := must(Drop(path, SlotToken)); dropped != 0 {
		t.Errorf("%d keys dropped again", dropped)
	}
}

func TestRotationsAtOnceLoseNoKey(t *testing.T) {
	t.Parallel()
	path, _ := setup(t)
	var group sync.WaitGroup
	results := make(chan error, 20)
	for range cap(results) {
		group.Go(func() { results <- Rotate(path, SlotToken) })
	}
	group.Wait()
	close(results)
	done := 0
	for err := range results {
		switch {
		case err == nil:
			done++
		case !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), path+".new"):
			t.Errorf("%v, want the other rotation named", err)
		}
	}
	if keys := len(must(Slots(path))[0].KeyIDs); done == 0 || keys != 1+done {
		t.Errorf("%d rotations succeeded and the file has %d keys", done, keys)
	}
}

func TestARotationCutShortIsNotRunOver(t *testing.T) {
	t.Parallel()
	path, _ := setup(t)
	before := read(t, path)
	if err := os.WriteFile(path+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Rotate(path, SlotAll); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v, want fs.ErrExist", err)
	}
	if !bytes.Equal(before, read(t, path)) || string(read(t, path+".new")) != "half" {
		t.Error("a file has changed")
	}
}

// Root rotates the file of a service account; anybody else has only their own.
func TestRotateKeepsTheOwner(t *testing.T) {
	t.Parallel()
	path, _ := setup(t)
	owner := os.Geteuid()
	if owner == 0 {
		owner = 65532
		if err := os.Chown(path, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	if err := Rotate(path, SlotAll); err != nil {
		t.Fatal(err)
	}
	if is := must(os.Stat(path)).Sys().(*syscall.Stat_t).Uid; int(is) != owner {
		t.Errorf("owner %d, want %d", is, owner)
	}
}
