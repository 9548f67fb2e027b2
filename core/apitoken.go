package core

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/passmend/passmend/tenants"
)

// userTokenLife is how long a token of role user lives when its bearer names no
// expiry, and any token that has an end once it is regenerated; the others do not
// expire (contract.md, A5).
const userTokenLife = 14 * 24 * time.Hour

// APIToken lets its bearer call the API. Only the digest of its value is kept.
type APIToken struct {
	ID      TokenID
	Account tenants.AccountID // empty: an operator's
	User    UserID            // empty: an operator's
	Role    Role              // of the user, read with the token; empty: an operator's
	Digest  []byte            // SHA-256 of the whole value
	Name    string
	Expires time.Time // zero: never
	// Life is for a token about to be created without Expires: how long from now,
	// by the database's clock; 0: for ever.
	Life    time.Duration
	Expired bool // by the database's clock, when it was read
	Created time.Time
	Updated time.Time
}

// Operator says whether the token governs accounts and not one of them.
func (t APIToken) Operator() bool { return t.Account == "" }

// TokenQuery chooses API tokens of an account and lists them by id.
type TokenQuery struct {
	User   UserID  // empty: everybody's
	Newest bool    // the greatest id first, else the least
	After  TokenID // continues the list after this one; empty: from its beginning
	Skip   int     // passes over so many
	Limit  int
}

// NewToken describes an API token to be issued.
type NewToken struct {
	Name string
	// Life from now by the database's clock; 0: the role's default; negative: for ever.
	Life time.Duration
	// Expires, when set, wins over Life.
	Expires time.Time
}

// Issue makes an API token for a user and gives its value, which is kept nowhere.
func (s *SignIn) Issue(ctx context.Context, user User, want NewToken) (APIToken, tenants.Secret, error) {
	token := APIToken{Account: user.Account, User: user.ID, Role: user.Role, Name: want.Name, Expires: want.Expires}
	if token.Expires.IsZero() {
		token.Life = want.Life
		if want.Life == 0 && user.Role == RoleUser {
			token.Life = userTokenLife
		}
		token.Life = max(token.Life, 0)
	}
	return s.create(ctx, token, TokenPrefix(user.Role))
}

// IssueOperator makes a token that governs accounts.
func (s *SignIn) IssueOperator(ctx context.Context, want NewToken) (APIToken, tenants.Secret, error) {
	return s.create(ctx, APIToken{Name: want.Name, Expires: want.Expires, Life: max(want.Life, 0)}, "operator-")
}

// Register stores a token whose value is given, as development mode does.
func (s *SignIn) Register(ctx context.Context, user User, value tenants.Secret) (APIToken, error) {
	digest := sha256.Sum256([]byte(value.Reveal()))
	return s.Tokens.CreateAPIToken(ctx, user.Account, APIToken{
		ID: TokenID(s.NewID()), Account: user.Account, User: user.ID, Role: user.Role, Digest: digest[:],
	})
}

func (s *SignIn) create(ctx context.Context, token APIToken, prefix string) (APIToken, tenants.Secret, error) {
	value, digest := newTokenValue(prefix)
	token.ID, token.Digest = TokenID(s.NewID()), digest
	var events []TokenEvent
	if !token.Operator() { // an operator has no account that could hear of it
		events = append(events, s.event(EventTokenGenerated))
	}
	stored, err := s.Tokens.CreateAPIToken(ctx, token.Account, token, events...)
	if err != nil {
		return APIToken{}, tenants.Secret{}, fmt.Errorf("create API token: %w", err)
	}
	return stored, value, nil
}

// Regenerate gives a token, as it was read, another value; the old one is dead at
// once. ErrNotFound.
func (s *SignIn) Regenerate(ctx context.Context, token APIToken) (APIToken, tenants.Secret, error) {
	value, digest := newTokenValue(TokenPrefix(token.Role))
	stored, err := s.Tokens.RegenerateAPIToken(ctx, token.Account, token.ID, digest, userTokenLife, s.event(EventTokenRegenerated))
	if err != nil {
		return APIToken{}, tenants.Secret{}, fmt.Errorf("regenerate API token %s: %w", token.ID, err)
	}
	return stored, value, nil
}

// Revoke ends a token, as it was read; ErrNotFound.
func (s *SignIn) Revoke(ctx context.Context, token APIToken) error {
	if err := s.Tokens.DeleteAPIToken(ctx, token.Account, token.ID, s.event(EventTokenRevoked)); err != nil {
		return fmt.Errorf("revoke API token %s: %w", token.ID, err)
	}
	return nil
}

func (s *SignIn) event(name EventName) TokenEvent {
	return func(token APIToken) (event Event, err error) {
		event = Event{ID: EventID(s.NewID()), Name: name, User: token.User}
		if s.Resources != nil {
			event.Facts, err = shows(s.Resources.TokenResource(token))
		}
		return event, err
	}
}

// newTokenValue makes a value and what is kept of it.
func newTokenValue(prefix string) (value tenants.Secret, digest []byte) {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand, Go 1.24)
	value = tenants.NewSecret(prefix + hex.EncodeToString(random[:]) + "v3")
	sum := sha256.Sum256([]byte(value.Reveal()))
	return value, sum[:]
}

// TokenPrefix is what the value of a role's tokens begins with (contract.md, A5).
func TokenPrefix(role Role) string {
	switch role {
	case RoleAdmin:
		return "admin-"
	case RoleReadOnly:
		return "read-"
	case RoleDeveloper:
		return "dev-"
	case RoleSalesAgent:
		return "sales-"
	case RoleSupportAgent:
		return "spprt-"
	default:
		return "user-"
	}
}

// TokenKind is the kind attribute of a role's tokens on the wire.
func TokenKind(role Role) string {
	switch role {
	case "":
		return "operator-token"
	case RoleUser:
		return "user-token"
	default:
		return string(role) + "-token"
	}
}
