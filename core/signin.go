package core

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/text/unicode/norm"

	"github.com/passmend/passmend/tenants"
)

// SignIn proves who somebody is, by password or by API token.
type SignIn struct {
	Users     Users
	Tokens    APITokens
	System    TokenLookup
	Passwords Passwords
	// Resources, when set, show API tokens in their events.
	Resources Resources
	// Ages and Changes, when set, make an outdated hash anew at its next sign-in, and
	// Upgraded is told of which algorithm it was.
	Ages     PasswordAges
	Changes  UserChanges
	Upgraded func(from string)
	// Decoys, when set, hide from the clock who has an imported hash.
	Decoys *Decoys
	// Tries and Digester, when set, bound wrong passwords in a row.
	Tries    Tries
	Digester Digester
	NewID    func() string
}

// PasswordAges tells hashes of today from imported and older ones.
type PasswordAges interface {
	// Outdated says whether a hash that was just verified should be made anew, and its
	// algorithm.
	Outdated(account tenants.AccountID, user UserID, stored []byte) (from string, outdated bool, err error)
}

// TokenLookup finds an API token of any account or operator by its digest.
type TokenLookup interface {
	APIToken(ctx context.Context, digest []byte) (APIToken, error)
}

// Password checks an address and a password. The work is the same whether or not
// the user exists or has a password. ErrTooManyTries, and then the password has not
// been looked at; ErrUnknownUser, ErrNoPassword, ErrWrongPassword; ErrBanned only
// after the right password; ErrBusy.
func (s *SignIn) Password(ctx context.Context, account tenants.Account, address Address, password tenants.Secret) (User, error) {
	judged, err := s.takeTry(ctx, account.ID, address)
	if err != nil {
		return User{}, err
	}
	user, err := s.prove(ctx, account, address, password)
	judged(ctx, err)
	if err != nil {
		return User{}, err
	}
	s.upgrade(ctx, user, password)
	return user, nil
}

func (s *SignIn) prove(ctx context.Context, account tenants.Account, address Address, password tenants.Secret) (User, error) {
	user, err := UserRef{address: address, named: true}.Find(ctx, s.Users, account.ID)
	unknown := errors.Is(err, ErrNotFound)
	if err != nil && !unknown {
		return User{}, fmt.Errorf("sign in: find user: %w", err)
	}
	verified := user
	if s.Decoys != nil {
		decoy, err := s.Decoys.For(ctx, account.ID, address)
		if err != nil {
			return User{}, fmt.Errorf("sign in: %w", err)
		}
		if user.PasswordHash == nil {
			verified = User{Account: account.ID, PasswordHash: decoy}
		}
	}
	matches, err := verify(ctx, s.Passwords, verified, password)
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

// takeTry counts a try of an address before its password is judged, and gives what is
// to be told of the judgement. ErrTooManyTries.
func (s *SignIn) takeTry(ctx context.Context, account tenants.AccountID, address Address) (judged func(context.Context, error), err error) {
	if s.Tries == nil || s.Digester == nil {
		return func(context.Context, error) {}, nil
	}
	key := TryKey(s.Digester, account, address)
	taken, err := s.Tries.TakeTry(ctx, account, key)
	if err != nil {
		return nil, fmt.Errorf("sign in: count try: %w", err)
	}
	if !taken {
		return nil, ErrTooManyTries
	}
	return func(ctx context.Context, err error) {
		// The client may have gone; the count is due all the same. Where it fails the
		// try stays counted, which is the safe side.
		ctx = context.WithoutCancel(ctx)
		switch {
		case err == nil, errors.Is(err, ErrBanned):
			_ = s.Tries.ClearTries(ctx, account, key)
		case errors.Is(err, ErrUnknownUser), errors.Is(err, ErrNoPassword), errors.Is(err, ErrWrongPassword):
		case errors.Is(err, ErrBusy):
			_ = s.Tries.ReturnTry(ctx, account, key)
		}
	}, nil
}

// upgrade makes the hash of a password that has just been proved anew, if it is not
// one of today's. It may fail without harm: the next sign-in tries again.
func (s *SignIn) upgrade(ctx context.Context, user User, password tenants.Secret) {
	if s.Ages == nil || s.Changes == nil {
		return
	}
	from, outdated, err := s.Ages.Outdated(user.Account, user.ID, user.PasswordHash)
	if err != nil || !outdated {
		return
	}
	hash, err := s.Passwords.Hash(ctx, user.Account, user.ID, tenants.NewSecret(norm.NFC.String(password.Reveal())))
	if err != nil {
		return
	}
	if done, err := s.Changes.UpgradePassword(ctx, user.Account, user.ID, user.PasswordHash, hash); err == nil && done && s.Upgraded != nil {
		s.Upgraded(from)
	}
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
