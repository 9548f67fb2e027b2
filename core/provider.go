package core

import (
	"encoding/json"

	"github.com/passmend/passmend/tenants"
)

// Provider is one configured use of a delivery plugin, the platform's (no
// account) or an account's own.
type Provider struct {
	ID       ProviderID
	Account  tenants.AccountID
	Name     string // unique within its owner; 1 to 63 of a-z, 0-9 and "-"
	Plugin   string
	Settings json.RawMessage // a JSON object that satisfies the plugin's schema
	// SealedSecrets is a JSON object of strings under the seal key, with account
	// and provider id as associated data; nil: none.
	SealedSecrets []byte
	// Held: nothing goes to it, see Hold.
	Held bool
}
