package smtp

import (
	"slices"
	"strings"

	"github.com/wneessen/go-mail/smtp"
)

// The values of the setting authentication.
const (
	authAuto    = "auto"
	authPlain   = "plain"
	authLogin   = "login"
	authCRAMMD5 = "cram-md5"
	authXOAUTH2 = "xoauth2"
)

// authWays are the values that name one mechanism, which is its upper case.
var authWays = []string{authPlain, authLogin, authCRAMMD5, authXOAUTH2}

// authenticate says who is calling, when there is a user name.
func (c *conn) authenticate(s *settings, t *timer) error {
	if s.Username == "" {
		return nil
	}
	defer t.step("auth")()
	_, offered := c.client.Extension("AUTH")
	way := chooseAuth(s.Authentication, strings.Fields(strings.ToLower(offered)), c.encrypted)
	if way == "" {
		return misconfigured("authentication", "is a way that the server does not offer to username")
	}
	if !c.encrypted && !c.local {
		// Every way but CRAM-MD5 tells the password. The connection is not even made
		// like this; a mistake there must not cost it.
		return misconfigured("tls", "may be none for a loopback host only")
	}
	if err := c.client.Auth(newAuth(way, s)); err != nil {
		return &stageError{stage: stageAuth, err: err}
	}
	return nil
}

// chooseAuth gives the way that was asked for, or with auto the first that the
// server offers, and "" when there is none. What hides the password comes first
// where nothing else does. auto leaves XOAUTH2 out: a password is no token.
func chooseAuth(asked string, offered []string, encrypted bool) string {
	order := []string{asked}
	switch {
	case asked != authAuto:
	case encrypted:
		order = []string{authPlain, authLogin, authCRAMMD5}
	default:
		order = []string{authCRAMMD5, authPlain, authLogin}
	}
	for _, way := range order {
		if slices.Contains(offered, way) {
			return way
		}
	}
	return ""
}

// newAuth may allow an unencrypted connection, for authenticate has looked.
func newAuth(way string, s *settings) smtp.Auth {
	const unencrypted = true
	switch way {
	case authPlain:
		return smtp.PlainAuth("", s.Username, s.password, s.Host, unencrypted)
	case authLogin:
		return smtp.LoginAuth(s.Username, s.password, s.Host, unencrypted)
	case authCRAMMD5:
		return smtp.CRAMMD5Auth(s.Username, s.password)
	default:
		return smtp.XOAuth2Auth(s.Username, s.password)
	}
}
