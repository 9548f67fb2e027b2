package httpapi

import (
	"encoding/json"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// document is a JSON:API document that is no error.
type document struct {
	Data     any   `json:"data"`
	Included []any `json:"included,omitempty"`
	Links    any   `json:"links,omitempty"` // *pageLinks, *numberedLinks or *uncountedLinks
	Meta     any   `json:"meta,omitempty"`
}

// resource is one thing on the wire. Links are paths, as contract.md has them.
type resource[A any] struct {
	ID            string                  `json:"id"`
	Type          string                  `json:"type"`
	Attributes    A                       `json:"attributes"`
	Relationships map[string]relationship `json:"relationships,omitempty"`
	Links         *selfLink               `json:"links,omitempty"`
	Meta          any                     `json:"meta,omitempty"`
}

type selfLink struct {
	Self string `json:"self"`
}

type relationship struct {
	Links *relatedLink `json:"links,omitempty"`
	Data  *linkage     `json:"data,omitempty"`
}

type relatedLink struct {
	Related string `json:"related"`
}

type linkage struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// userAttributes are contract.md, A4. Nothing says whether a password exists.
type userAttributes struct {
	FullName  *string         `json:"fullName"`
	FirstName *string         `json:"firstName"`
	LastName  *string         `json:"lastName"`
	Email     string          `json:"email"`
	Status    string          `json:"status"`
	Role      core.Role       `json:"role"`
	Metadata  json.RawMessage `json:"metadata"`
	Created   string          `json:"created"`
	Updated   string          `json:"updated"`
}

// Status of a user on the wire. Nobody is inactive here; filters know it.
const (
	statusActive   = "ACTIVE"
	statusInactive = "INACTIVE"
	statusBanned   = "BANNED"
)

func userResource(user core.User) resource[userAttributes] {
	status := statusActive
	if user.Banned {
		status = statusBanned
	}
	metadata := user.Metadata
	if len(metadata) == 0 {
		metadata = json.RawMessage(`{}`)
	}
	self := userPath(user.Account, user.ID)
	return resource[userAttributes]{
		ID: string(user.ID), Type: "users",
		Attributes: userAttributes{
			FullName: orNull(user.FullName()), FirstName: orNull(user.FirstName), LastName: orNull(user.LastName),
			Email: user.Address.Reveal(), Status: status, Role: user.Role, Metadata: metadata,
			Created: stamp(user.Created), Updated: stamp(user.Updated),
		},
		Relationships: map[string]relationship{
			"account": accountRelationship(user.Account),
			"tokens":  {Links: &relatedLink{self + "/tokens"}},
		},
		Links: &selfLink{self},
	}
}

// tokenAttributes are contract.md, A5. Token is there once, when it was made.
type tokenAttributes struct {
	Kind    string  `json:"kind"`
	Token   *string `json:"token,omitempty"`
	Expiry  *string `json:"expiry"`
	Name    *string `json:"name"`
	Created string  `json:"created"`
	Updated string  `json:"updated"`
}

func tokenResource(token core.APIToken, value *tenants.Secret) resource[tokenAttributes] {
	attributes := tokenAttributes{
		Kind: core.TokenKind(token.Role), Name: orNull(token.Name),
		Created: stamp(token.Created), Updated: stamp(token.Updated),
	}
	if value != nil {
		raw := value.Reveal()
		attributes.Token = &raw
	}
	if !token.Expires.IsZero() {
		attributes.Expiry = orNull(stamp(token.Expires))
	}
	result := resource[tokenAttributes]{ID: string(token.ID), Type: "tokens", Attributes: attributes}
	if token.Operator() {
		result.Relationships = map[string]relationship{
			"bearer": {Data: &linkage{Type: "operators", ID: string(token.ID)}},
		}
		return result
	}
	result.Relationships = map[string]relationship{
		"account": accountRelationship(token.Account),
		"bearer": {
			Links: &relatedLink{userPath(token.Account, token.User)},
			Data:  &linkage{Type: "users", ID: string(token.User)},
		},
	}
	result.Links = &selfLink{accountPath(token.Account) + "/tokens/" + string(token.ID)}
	return result
}

// Resources shows what events are about as the API does, and the events themselves.
type Resources struct{}

// UserResource implements core.Resources.
func (Resources) UserResource(user core.User) (json.RawMessage, error) {
	return json.Marshal(userResource(user))
}

// TokenResource implements core.Resources.
func (Resources) TokenResource(token core.APIToken) (json.RawMessage, error) {
	return json.Marshal(tokenResource(token, nil))
}

// operatorAttributes describe who governs accounts: by its token's name alone.
type operatorAttributes struct {
	Name    *string `json:"name"`
	Created string  `json:"created"`
}

func operatorResource(token core.APIToken) resource[operatorAttributes] {
	return resource[operatorAttributes]{
		ID: string(token.ID), Type: "operators",
		Attributes: operatorAttributes{Name: orNull(token.Name), Created: stamp(token.Created)},
	}
}

func accountRelationship(id tenants.AccountID) relationship {
	return relationship{Links: &relatedLink{accountPath(id)}, Data: &linkage{Type: "accounts", ID: string(id)}}
}

// ownedBy relates to an account and to the user, if one is known.
func ownedBy(account tenants.AccountID, user core.UserID) map[string]relationship {
	related := map[string]relationship{"account": accountRelationship(account)}
	if user != "" {
		related["user"] = relationship{
			Links: &relatedLink{userPath(account, user)},
			Data:  &linkage{Type: "users", ID: string(user)},
		}
	}
	return related
}

func accountPath(id tenants.AccountID) string { return "/v1/accounts/" + string(id) }

func userPath(account tenants.AccountID, id core.UserID) string {
	return accountPath(account) + "/users/" + string(id)
}

// stamp is a time on the wire: UTC, to the millisecond.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
