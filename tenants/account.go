package tenants

import (
	"encoding/json"
	"errors"
	"time"
)

// ErrUnknown is the answer for an account that does not exist.
var ErrUnknown = errors.New("unknown account")

// Limits of an account's settings (contract.md, R8 and R10).
const (
	MinLinkLife     = 10 * time.Minute
	MaxLinkLife     = 24 * time.Hour
	DefaultLinkLife = time.Hour

	MinPasswordMinimum     = 6
	MaxPasswordMinimum     = 64
	DefaultPasswordMinimum = 8

	LatestAPIVersion = "1.8"
)

// Account is a tenant: everything that decides how its users' passwords come back.
type Account struct {
	ID         AccountID
	Slug       string // 2 to 63 of a-z, 0-9 and "-", no leading "-"; unique
	Name       string // 1 to 255 characters, shown to people
	Protected  bool   // users are created by admins only
	Status     Status
	APIVersion string // "1.0" to "1.8"

	DeliverDefault bool // what an absent meta.deliver means
	DeliverPolicy  DeliverPolicy
	LinkLife       time.Duration // MinLinkLife to MaxLinkLife
	LinkTemplate   string        // empty: our hosted page; see LinkTemplate rules in link.go
	Password       PasswordPolicy
	Providers      []string // names in order; empty: the platform's default chain
	Branding       Branding
	Metadata       json.RawMessage // a JSON object as core.ParseMetadata gives it; nil means {}
	// Host is the account's own host name: API and pages answer there without the account
	// in the path, and links lead there; empty: to the platform's. It is the oldest of its
	// verified domains, and set by adding those.
	Host string

	Created time.Time
	Updated time.Time
}

// Status of an account. Recovery works in all of them (contract.md, B).
type Status string

// The closed list of statuses.
const (
	StatusActive   Status = "active"
	StatusPaused   Status = "paused"
	StatusCanceled Status = "canceled"
)

// DeliverPolicy says who decides whether a mail goes out (contract.md, R3).
type DeliverPolicy string

// The closed list of policies.
const (
	DeliverCaller DeliverPolicy = "caller" // meta.deliver, else the account's default
	DeliverAlways DeliverPolicy = "always"
	DeliverNever  DeliverPolicy = "never"
)

// PasswordPolicy bounds a new password, in code points after NFC.
type PasswordPolicy struct {
	Minimum int // MinPasswordMinimum to MaxPasswordMinimum
}

// New gives an account with every default in place: active, delivering, links
// of an hour, passwords of at least eight characters, neutral branding.
func New(id AccountID, slug, name string) Account {
	return Account{
		ID: id, Slug: slug, Name: name,
		Status: StatusActive, APIVersion: LatestAPIVersion,
		DeliverDefault: true, DeliverPolicy: DeliverCaller,
		LinkLife: DefaultLinkLife,
		Password: PasswordPolicy{Minimum: DefaultPasswordMinimum},
		Branding: Branding{Accent: DefaultAccent},
	}
}

// Delivers says whether a mail goes out, given what the caller asked for; nil
// means that the caller did not say.
func (a Account) Delivers(asked *bool) bool {
	switch {
	case a.DeliverPolicy == DeliverAlways:
		return true
	case a.DeliverPolicy == DeliverNever:
		return false
	case asked != nil:
		return *asked
	default:
		return a.DeliverDefault
	}
}

// ProductName is what people know the account by: the branding's name, else the
// account's own.
func (a Account) ProductName() string {
	if a.Branding.ProductName != "" {
		return a.Branding.ProductName
	}
	return a.Name
}
