package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/key"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf/hmacprf"
)

// The closed list of slots, and SlotAll, which stands for each of them in Rotate.
const (
	SlotToken  = "token"
	SlotDigest = "digest"
	SlotLimit  = "limit"
	SlotSeal   = "seal"
	SlotPepper = "pepper"
	SlotCookie = "cookie"

	SlotAll = "all"
)

// ErrUnknownSlot is in every error about a slot that there is not, or whose keys are
// not to be dropped.
var ErrUnknownSlot = errors.New("unknown slot")

// Slot describes one keyset without its keys. KeyIDs are in the order of their
// making; Created is when the primary key was made, zero when the file does not say.
type Slot struct {
	Name      string
	KeyIDs    []uint32
	PrimaryID uint32
	Created   time.Time
}

// slotNames lists the slots in the order of the documentation.
func slotNames() []string {
	return []string{SlotToken, SlotDigest, SlotLimit, SlotSeal, SlotPepper, SlotCookie}
}

// DroppableSlots are those whose older keys can be dropped: nothing is kept that only
// they could open.
func DroppableSlots() []string { return []string{SlotToken, SlotCookie} }

// parametersOf says which keys a slot holds, and in words, for errors.
func parametersOf(slot string) (wanted key.Parameters, words string, err error) {
	switch slot {
	case SlotToken, SlotDigest, SlotLimit:
		wanted, err = hmacprf.NewParameters(32, hmacprf.SHA256)
		return wanted, "HMAC-SHA-256 PRF keys of 32 bytes", err
	case SlotSeal, SlotPepper, SlotCookie:
		// The Tink variant names the key in front of each ciphertext; rotation and
		// Outdated rest on that.
		wanted, err = aesgcm.NewParameters(aesgcm.ParametersOpts{
			KeySizeInBytes: 32, IVSizeInBytes: 12, TagSizeInBytes: 16, Variant: aesgcm.VariantTink,
		})
		return wanted, "AES-256-GCM keys with the TINK prefix", err
	default:
		return nil, "", fmt.Errorf("%w %q: accepted are %s and %s",
			ErrUnknownSlot, slot, strings.Join(slotNames(), ", "), SlotAll)
	}
}

// addPrimary gives the slot's keyset with a new primary key; the keys of old, if
// any, stay.
func addPrimary(slot string, old *keyset.Handle) (*keyset.Handle, error) {
	wanted, _, err := parametersOf(slot)
	if err != nil {
		return nil, err
	}
	manager := keyset.NewManager()
	if old != nil {
		manager = keyset.NewManagerFromHandle(old)
	}
	id, err := manager.AddNewKeyFromParameters(wanted)
	if err != nil {
		return nil, fmt.Errorf("make a key for slot %q: %w", slot, err)
	}
	if err := manager.SetPrimary(id); err != nil {
		return nil, fmt.Errorf("make a key for slot %q primary: %w", slot, err)
	}
	return manager.Handle()
}

func encodeKeyset(handle *keyset.Handle) (json.RawMessage, error) {
	var buffer bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&buffer)); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}

// decodeKeyset reads a slot and refuses keys of another kind. Errors of the
// library are dropped on purpose: a parser quotes what it could not read.
func decodeKeyset(slot string, raw json.RawMessage) (*keyset.Handle, error) {
	wanted, words, err := parametersOf(slot)
	if err != nil {
		return nil, err
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, errors.New("it is no usable Tink keyset")
	}
	for i := range handle.Len() {
		entry, err := handle.Entry(i)
		if err != nil {
			return nil, errors.New("it is no usable Tink keyset")
		}
		if !entry.Key().Parameters().Equal(wanted) {
			return nil, fmt.Errorf("key %d is of another kind: the slot holds %s", entry.KeyID(), words)
		}
	}
	return handle, nil
}

func describe(slot string, handle *keyset.Handle, created time.Time) Slot {
	info := handle.KeysetInfo()
	described := Slot{Name: slot, PrimaryID: info.GetPrimaryKeyId(), Created: created}
	for _, each := range info.GetKeyInfo() {
		described.KeyIDs = append(described.KeyIDs, each.GetKeyId())
	}
	return described
}
