package tenants

import (
	"crypto/sha256"
	"encoding/hex"
)

// Accounts of the service's own have ids of version 8 (RFC 9562, section 5.8) in this
// range, where no id that is made for a tenant lies: those are of version 7.
const (
	FirstOwn AccountID = "00000000-0000-8000-8000-000000000000"
	LastOwn  AccountID = "00000000-0000-8fff-bfff-ffffffffffff"
)

// Own says whether the account is the service's own, as the canary's are: it is no
// tenant's, is not listed among them and not told apart in metrics.
func (id AccountID) Own() bool { return len(id) == len(FirstOwn) && FirstOwn <= id && id <= LastOwn }

// OwnID gives the id of the service's own account for a purpose; the same one each
// time, so that replicas need not agree on it.
func OwnID(purpose string) AccountID {
	sum := sha256.Sum256([]byte(purpose))
	digits := hex.EncodeToString(sum[:])
	return AccountID("00000000-0000-8" + digits[:3] + "-8" + digits[3:6] + "-" + digits[6:18])
}

// RecoverID stands for the service in the ledger where people ask it, and no account,
// which accounts are theirs. No look-up finds it: the schema has its row, and what it
// is like is Recover's to say.
var RecoverID = OwnID("recover")

// Recover gives the account of RecoverID under a name that people know.
func Recover(name string) Account {
	account := New(RecoverID, "passmend", name)
	account.DeliverPolicy = DeliverAlways
	return account
}
