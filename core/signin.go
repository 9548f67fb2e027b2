package core

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/passmend/passmend/tenants"
)

// userTokenLife is how long a token of role user lives when its bearer names no
// expiry; the others do not expire (contract.md, A5).
const userTokenLife = 14 * 24 * time.Hour

// SignIn proves who somebody is, by password or by API token.
type SignIn struct {
	Users     Users
	Tokens    APITokens
	System    TokenLookup
	Passwords Passwords
	NewID     func() string
}

// TokenLookup finds an API token of any account or operator by its digest.
type TokenLookup interface {
	APIToken(ctx context.Context, digest []byte) (APIToken, error)
}

// Password checks an address and a password. The work is the same whether or not
// the user exists or has a password. ErrUnknownUser, ErrNoPassword,
// ErrWrongPassword; ErrBanned only after the right password; ErrBusy.
func (s *SignIn) Password(ctx context.Context, account tenants.Account, address Address, password tenants.Secret) (User, error) {
	user, err := UserRef{address: address, named: true}.Find(ctx, s.Users, account.ID)
	unknown := errors.Is(err, ErrNotFound)
	if err != nil && !unknown {
		return User{}, fmt.Errorf("sign in: find user: %w", err)
	}
	if len(password.Reveal()) > maxPasswordBytes {
		password = tenants.Secret{}
	}
	typed := tenants.NewSecret(norm.NFC.String(password.Reveal()))
	matches, err := s.Passwords.Verify(ctx, account.ID, user.ID, user.PasswordHash, typed)
	switch {
	case err != nil:
		return User{}, fmt.Errorf("sign in: verify: %w", err)
	case unknown:
		return User{}, ErrUnknownUser
	case user.PasswordHash == nil:
		return User{}, ErrNoPassword
	case !matches:
		return User{}, ErrWrongPassword
	case user.Banned:
		return User{}, ErrBanned
	}
	return user, nil
}

// Bearer gives the token and its user, which is empty for an operator's.
// ErrUnknownToken, ErrExpiredToken, ErrBanned.
func (s *SignIn) Bearer(ctx context.Context, value tenants.Secret) (APIToken, User, error) {
	digest := sha256.Sum256([]byte(value.Reveal()))
	token, err := s.System.APIToken(ctx, digest[:])
	if errors.Is(err, ErrNotFound) {
		return APIToken{}, User{}, ErrUnknownToken
	}
	if err != nil {
		return APIToken{}, User{}, fmt.Errorf("find API token: %w", err)
	}
	if token.Expired {
		return APIToken{}, User{}, ErrExpiredToken
	}
	if token.Operator() {
		return token, User{}, nil
	}
	user, err := s.Users.User(ctx, token.Account, token.User)
	if errors.Is(err, ErrNotFound) {
		return APIToken{}, User{}, ErrUnknownToken
	}
	if err != nil {
		return APIToken{}, User{}, fmt.Errorf("user of API token %s: %w", token.ID, err)
	}
	if user.Banned {
		return APIToken{}, User{}, ErrBanned
	}
	return token, user, nil
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
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand, Go 1.24)
	value := tenants.NewSecret(prefix + hex.EncodeToString(random[:]) + "v3")
	digest := sha256.Sum256([]byte(value.Reveal()))
	token.ID, token.Digest = TokenID(s.NewID()), digest[:]
	stored, err := s.Tokens.CreateAPIToken(ctx, token.Account, token)
	if err != nil {
		return APIToken{}, tenants.Secret{}, fmt.Errorf("create API token: %w", err)
	}
	return stored, value, nil
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
