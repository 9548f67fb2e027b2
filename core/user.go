package core

import (
	"encoding/json"
	"time"

	"github.com/passmend/passmend/tenants"
)

// User is a person who signs in to one account's product.
type User struct {
	ID        UserID
	Account   tenants.AccountID
	Address   Address // unique in the account; mail goes here and nowhere else
	FirstName string  // 0 to 255 characters
	LastName  string
	Role      Role
	Banned    bool
	// PasswordHash is sealed under the pepper key; nil: the user has no password.
	PasswordHash []byte
	// CredentialVersion counts changes of password, address and standing. A reset
	// link is bound to the version it was made for.
	CredentialVersion int64
	Metadata          json.RawMessage // a JSON object; nil means {}
	Created           time.Time
	Updated           time.Time
}

// FullName joins the names that are there.
func (u User) FullName() string {
	switch {
	case u.FirstName == "":
		return u.LastName
	case u.LastName == "":
		return u.FirstName
	default:
		return u.FirstName + " " + u.LastName
	}
}

// Role of a user (contract.md, R17).
type Role string

// The closed list of roles. The three agents are stored labels with the rights
// of RoleReadOnly.
const (
	RoleAdmin        Role = "admin"
	RoleUser         Role = "user"
	RoleReadOnly     Role = "read-only"
	RoleDeveloper    Role = "developer"
	RoleSalesAgent   Role = "sales-agent"
	RoleSupportAgent Role = "support-agent"
)

// Roles is every role, in the order of documentation.
func Roles() []Role {
	return []Role{RoleAdmin, RoleUser, RoleReadOnly, RoleDeveloper, RoleSalesAgent, RoleSupportAgent}
}

// ReadsAccount says whether the role sees other users of its account.
func (r Role) ReadsAccount() bool { return r != RoleUser && r != "" }
