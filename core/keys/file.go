package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tink-crypto/tink-go/v2/keyset"
)

const (
	fileVersion = 1
	// maxFileBytes is far above a file with hundreds of keys in each slot.
	maxFileBytes = 1 << 20
	// forbiddenMode: others may neither read nor write, the group may not write.
	// The group may read: a Kubernetes volume belongs to root and the pod's fsGroup.
	forbiddenMode fs.FileMode = 0o026
)

// ErrBadFile is in every error about a keys file that is there but is refused.
var ErrBadFile = errors.New("keys file refused")

// file is a keys file taken apart.
type file struct {
	created map[string]time.Time // of the primary key; a slot may be absent
	slots   map[string]*keyset.Handle
}

// Init makes a keys file with one new key in every slot, mode 0600, on disk when
// it returns. It never overwrites: the error then is fs.ErrExist and names the path.
func Init(path string) error {
	made := file{created: map[string]time.Time{}, slots: map[string]*keyset.Handle{}}
	if err := made.rotate(slotNames()); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("keys file %s exists and is never overwritten (add keys by rotating): %w", path, fs.ErrExist)
	}
	if err != nil {
		return fmt.Errorf("make keys file: %w", err)
	}
	if err := made.writeTo(f); err != nil {
		_ = os.Remove(path)
		return fmt.Errorf("write keys file %s: %w", path, err)
	}
	return syncFolder(path)
}

// Rotate adds a new primary key to one slot, or to each with SlotAll, and keeps
// the old ones. The file is replaced in one step, with its mode and owner as they
// were; a failure leaves it untouched. Processes see it at their next start. A
// process that has not started again yet does not know links made by one that has.
func Rotate(path, slot string) error {
	slots := []string{slot}
	if slot == SlotAll {
		slots = slotNames()
	} else if _, _, err := parametersOf(slot); err != nil {
		return err
	}
	return change(path, func(content *file) error { return content.rotate(slots) })
}

// Drop removes every key but the primary from a slot, which must be one of
// DroppableSlots: links that older keys made are dead, and pages that are open have to be
// opened again. The file is replaced as by Rotate; processes see it at their next
// start. Its result is how many keys are gone.
func Drop(path, slot string) (dropped int, err error) {
	if !slices.Contains(DroppableSlots(), slot) {
		return 0, fmt.Errorf("%w to drop keys of, %q: accepted are %s; what older keys of other slots sealed could never be opened again",
			ErrUnknownSlot, slot, strings.Join(DroppableSlots(), " and "))
	}
	err = change(path, func(content *file) error {
		manager := keyset.NewManagerFromHandle(content.slots[slot])
		info := content.slots[slot].KeysetInfo()
		for _, each := range info.GetKeyInfo() {
			if each.GetKeyId() == info.GetPrimaryKeyId() {
				continue
			}
			if err := manager.Delete(each.GetKeyId()); err != nil {
				return fmt.Errorf("drop a key of slot %q: %w", slot, err)
			}
			dropped++
		}
		content.slots[slot], err = manager.Handle()
		return err
	})
	return dropped, err
}

// change replaces the file by what to makes of it, in one step.
func change(path string, to func(content *file) error) error {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("change keys file: %w", err)
	}
	// The name is fixed and made exclusively, so that two changes at once cannot
	// lose one another's key.
	next := target + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("change keys file %s: another change is under way, or one was cut short: then remove %s: %w", path, next, fs.ErrExist)
	}
	if err != nil {
		return fmt.Errorf("change keys file: %w", err)
	}
	if err := replace(target, f, to); err != nil {
		_ = f.Close()
		_ = os.Remove(next)
		return fmt.Errorf("change keys file %s: %w", path, err)
	}
	return syncFolder(target)
}

// replace writes what to makes of target to next and puts it in target's place.
func replace(target string, next *os.File, to func(content *file) error) error {
	content, info, err := readFile(target)
	if err != nil {
		return err
	}
	if err := to(&content); err != nil {
		return err
	}
	if err := keepOwner(next, info); err != nil {
		return err
	}
	if err := next.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	if err := content.writeTo(next); err != nil {
		return err
	}
	return os.Rename(next.Name(), target)
}

// keepOwner matters when root rotates the file of a service.
func keepOwner(next *os.File, old fs.FileInfo) error {
	made, err := next.Stat()
	if err != nil {
		return err
	}
	was, ok := old.Sys().(*syscall.Stat_t)
	is, ok2 := made.Sys().(*syscall.Stat_t)
	if !ok || !ok2 || (was.Uid == is.Uid && was.Gid == is.Gid) {
		return nil
	}
	if err := next.Chown(int(was.Uid), int(was.Gid)); err != nil {
		return fmt.Errorf("keep owner %d and group %d (rotate as that owner, or as root): %w", was.Uid, was.Gid, err)
	}
	return nil
}

// Slots describes the slots of a keys file, in the order of the documentation.
func Slots(path string) ([]Slot, error) {
	content, _, err := readFile(path)
	if err != nil {
		return nil, err
	}
	var slots []Slot
	for _, name := range slotNames() {
		slots = append(slots, describe(name, content.slots[name], content.created[name]))
	}
	return slots, nil
}

func (f *file) rotate(slots []string) error {
	for _, slot := range slots {
		handle, err := addPrimary(slot, f.slots[slot])
		if err != nil {
			return err
		}
		f.slots[slot] = handle
		f.created[slot] = time.Now().UTC().Truncate(time.Second)
	}
	return nil
}

// writeTo writes, syncs and closes.
func (f *file) writeTo(out *os.File) error {
	members := map[string]any{"version": fileVersion, "created": f.created}
	for slot, handle := range f.slots {
		raw, err := encodeKeyset(handle)
		if err != nil {
			return errors.Join(err, out.Close())
		}
		members[slot] = raw
	}
	text, err := json.MarshalIndent(members, "", "  ")
	if err == nil {
		_, err = out.Write(append(text, '\n'))
	}
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// syncFolder makes a new or renamed entry durable.
func syncFolder(path string) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("sync folder of keys file: %w", err)
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil {
		return fmt.Errorf("sync folder of keys file: %w", err)
	}
	return nil
}

// readFile reads through symbolic links, as a mounted Kubernetes secret is one.
func readFile(path string) (file, fs.FileInfo, error) {
	// O_NONBLOCK: opening a pipe would wait for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return file{}, nil, fmt.Errorf("keys file %s (make one with passmend keys init): %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return file{}, nil, fmt.Errorf("open keys file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return file{}, nil, fmt.Errorf("open keys file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return file{}, nil, refuse(path, "it is not a regular file: name the file itself")
	}
	if mode := info.Mode().Perm(); mode&forbiddenMode != 0 {
		return file{}, nil, refuse(path, fmt.Sprintf("others can use it or its group can write it (mode %04o): run chmod g-w,o-rwx %s", mode, path))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return file{}, nil, fmt.Errorf("read keys file: %w", err)
	}
	if len(text) > maxFileBytes {
		return file{}, nil, refuse(path, "it is longer than 1 MiB: restore it from its backup")
	}
	content, err := parseFile(text)
	if err != nil {
		return file{}, nil, refuse(path, err.Error())
	}
	return content, info, nil
}

func refuse(path, why string) error {
	return fmt.Errorf("%w: %s: %s", ErrBadFile, path, why)
}

// parseFile is strict: each slot once, nothing unknown. Its errors never quote the
// text, which is why those of the JSON decoder are not passed on.
func parseFile(text []byte) (file, error) {
	members, ok := splitObject(text)
	if !ok {
		return file{}, errors.New("it is not one JSON object with each member once: restore it from its backup")
	}
	var version int
	if err := json.Unmarshal(members["version"], &version); err != nil || version != fileVersion {
		return file{}, fmt.Errorf("its version is not %d: use the release that wrote it", fileVersion)
	}
	content := file{created: map[string]time.Time{}, slots: map[string]*keyset.Handle{}}
	if raw, ok := members["created"]; ok {
		if err := json.Unmarshal(raw, &content.created); err != nil || content.created == nil {
			return file{}, errors.New(`"created" is not an object of times (RFC 3339): remove it`)
		}
	}
	for _, slot := range slotNames() {
		raw, ok := members[slot]
		if !ok {
			return file{}, fmt.Errorf("slot %q is missing: restore the file from its backup", slot)
		}
		handle, err := decodeKeyset(slot, raw)
		if err != nil {
			return file{}, fmt.Errorf("slot %q: %w: restore the file from its backup", slot, err)
		}
		content.slots[slot] = handle
	}
	for name := range members {
		if name != "version" && name != "created" && !slices.Contains(slotNames(), name) {
			return file{}, errors.New("it has a member that is no slot: use the release that wrote it, or restore the file from its backup")
		}
	}
	return content, nil
}

// splitObject gives the members of one JSON object with nothing after it. Unlike
// json.Unmarshal it is case-sensitive and refuses a member that comes twice.
func splitObject(text []byte) (map[string]json.RawMessage, bool) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if opening, err := decoder.Token(); err != nil || opening != json.Delim('{') {
		return nil, false
	}
	members := map[string]json.RawMessage{}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, false
		}
		var raw json.RawMessage
		if err := decoder.Decode(&raw); err != nil {
			return nil, false
		}
		text, ok := name.(string)
		if _, twice := members[text]; !ok || twice {
			return nil, false
		}
		members[text] = raw
	}
	if _, err := decoder.Token(); err != nil {
		return nil, false
	}
	_, err := decoder.Token()
	return members, errors.Is(err, io.EOF)
}
