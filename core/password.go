package core

import (
	"context"
	_ "embed"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/passmend/passmend/tenants"
)

// Bounds of a new password (contract.md, R10). The bytes are bounded before
// normalising, because NFC can grow a text (threats.md, row 25).
const (
	MaxPasswordChars = 256
	maxPasswordBytes = 1024
)

//go:embed common_passwords.txt
var commonPasswordsText string

// commonPasswords is sorted by bytes, and split on first use: most processes
// never judge a password.
var commonPasswords = sync.OnceValue(func() []string {
	lines := strings.Split(strings.TrimSuffix(commonPasswordsText, "\n"), "\n")
	return slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "# ") })
})

// ChoosePassword judges a new password and gives it in NFC, the form that is
// hashed. It is at least the account's minimum and at most MaxPasswordChars code
// points, not on the list of common passwords, and not a word of this context (the
// user's address or name, the product's name) dressed with digits or signs.
// ErrPasswordTooShort, ErrPasswordTooLong, ErrPasswordCommon.
func ChoosePassword(account tenants.Account, user User, typed tenants.Secret) (tenants.Secret, error) {
	if len(typed.Reveal()) > maxPasswordBytes {
		return tenants.Secret{}, ErrPasswordTooLong
	}
	chosen := norm.NFC.String(typed.Reveal())
	switch n := utf8.RuneCountInString(chosen); {
	case n < account.Password.Minimum:
		return tenants.Secret{}, ErrPasswordTooShort
	case n > MaxPasswordChars:
		return tenants.Secret{}, ErrPasswordTooLong
	}
	folded := strings.ToLower(chosen)
	if _, common := slices.BinarySearch(commonPasswords(), folded); common {
		return tenants.Secret{}, ErrPasswordCommon
	}
	stem := strings.TrimFunc(folded, func(r rune) bool { return !unicode.IsLetter(r) })
	for _, word := range contextWords(account, user) {
		if folded == word || stem == word {
			return tenants.Secret{}, ErrPasswordCommon
		}
	}
	return tenants.NewSecret(chosen), nil
}

// verify says whether a password is the user's. The work is the same when there is
// none, and when there is no such user.
func verify(ctx context.Context, passwords Passwords, user User, typed tenants.Secret) (bool, error) {
	if len(typed.Reveal()) > maxPasswordBytes {
		typed = tenants.Secret{}
	}
	return passwords.Verify(ctx, user.Account, user.ID, user.PasswordHash, tenants.NewSecret(norm.NFC.String(typed.Reveal())))
}

// contextWords are what somebody who knows the user would try first.
func contextWords(account tenants.Account, user User) []string {
	address := user.Address.Reveal()
	local, domain, _ := strings.Cut(address, "@")
	site, _, _ := strings.Cut(domain, ".")
	var words []string
	for _, word := range []string{
		address, local, domain, site,
		user.FirstName, user.LastName, user.FullName(),
		account.Slug, account.Name, account.Branding.ProductName,
	} {
		word = strings.ToLower(norm.NFC.String(strings.TrimSpace(word)))
		if word != "" {
			words = append(words, word, strings.ReplaceAll(word, " ", ""))
		}
	}
	return words
}
