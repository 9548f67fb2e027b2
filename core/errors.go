package core

import "errors"

// What a caller of this package can be told. core/httpapi maps each to a status
// and a public text in one table; nothing else of an error reaches a client.
var (
	// ErrNotFound: no such row in this account. Another account's row is the same.
	ErrNotFound = errors.New("not found")
	// ErrAddressTaken: another user of the account has the address.
	ErrAddressTaken = errors.New("address is taken")
	// ErrSlugTaken: another account has the slug.
	ErrSlugTaken = errors.New("slug is taken")
	// ErrHostTaken: the host is another account's.
	ErrHostTaken = errors.New("host is taken")
	// ErrNameTaken: the owner already has a provider of that name.
	ErrNameTaken = errors.New("name is taken")
	// ErrFirmHold: an operator holds it back; who governs the account alone cannot let go.
	ErrFirmHold = errors.New("held by an operator")
	// ErrOutdated: the row has changed since it was read; nothing was done.
	ErrOutdated = errors.New("changed since it was read")
	// ErrBusy: too many callers are waiting; nothing was done. Come back in a moment.
	ErrBusy = errors.New("busy")
	// ErrNotAccepted: the request could not be stored; nothing was accepted.
	ErrNotAccepted = errors.New("request not accepted")

	// ErrUnknownLink: malformed, never issued, spent, killed by a change of
	// credential, or another account's or user's. Which of these is not told.
	ErrUnknownLink = errors.New("unknown link")
	// ErrExpiredLink: the link is genuine and too old.
	ErrExpiredLink = errors.New("expired link")
	// ErrManaged: the link is genuine, and its user has no password and is not to set
	// one: in a protected account that is for its admins.
	ErrManaged = errors.New("managed user of a protected account")
	// ErrPasswordTooShort, ErrPasswordTooLong and ErrPasswordCommon: the policy.
	ErrPasswordTooShort = errors.New("password is too short")
	ErrPasswordTooLong  = errors.New("password is too long")
	ErrPasswordCommon   = errors.New("password is too common")

	// ErrUnknownUser, ErrNoPassword, ErrWrongPassword and ErrBanned: sign-in.
	ErrUnknownUser   = errors.New("unknown user")
	ErrNoPassword    = errors.New("user has no password")
	ErrWrongPassword = errors.New("wrong password")
	ErrBanned        = errors.New("user is banned")

	// ErrUnknownToken and ErrExpiredToken: an API token's value.
	ErrUnknownToken = errors.New("unknown API token")
	ErrExpiredToken = errors.New("expired API token")

	// ErrUnproven, ErrUnreadable and ErrProviderAway: a callback of a provider's
	// service does not show that it comes from there, is nothing that the provider
	// can read, or could not be shown to the provider.
	ErrUnproven     = errors.New("callback proves nothing")
	ErrUnreadable   = errors.New("callback cannot be read")
	ErrProviderAway = errors.New("provider is not running")

	// ErrLeaseLost: the delivery is another worker's now; drop the result.
	ErrLeaseLost = errors.New("lease lost")
	// ErrUnknownKey: the keys file no longer holds the key.
	ErrUnknownKey = errors.New("unknown key")
)
