package tenants

import (
	"net/netip"
	"net/url"
	"strings"
)

// validateLinkTemplate wants an absolute https URL (http on loopback) that holds
// {token} exactly once and may hold {account} and {user}, none of them in the
// host: the link must lead where the account said and nowhere else. Characters
// at which mail readers end a link are refused.
func validateLinkTemplate(template string) error {
	if template == "" {
		return nil
	}
	refused := &FieldError{Field: "linkTemplate", Accept: "must be an https URL with {token} once after the host, and perhaps {account} and {user}, as https://app.example/reset?token={token}"}
	if len(template) > 500 || strings.Count(template, "{token}") != 1 || !plain(template, 1, 500) || strings.ContainsAny(template, " \"'<>()\\") {
		return refused
	}
	filled := FillLink(template, "a", "u", NewSecret("t")).Reveal()
	parsed, err := url.Parse(filled)
	if err != nil || parsed.Host == "" || parsed.User != nil || strings.ContainsAny(filled, "{}") {
		return refused
	}
	scheme, rest, _ := strings.Cut(template, "://")
	host, _, _ := strings.Cut(rest, "/")
	if strings.ContainsAny(scheme, "{}") || strings.ContainsAny(host, "{}?#") {
		return refused
	}
	if parsed.Scheme != "https" && (parsed.Scheme != "http" || !IsLoopback(parsed.Hostname())) {
		return refused
	}
	return nil
}

// FillLink puts an account, a user and a token into a template that Validate let
// through.
func FillLink(template string, account AccountID, user string, token Secret) Secret {
	return NewSecret(strings.NewReplacer("{account}", string(account), "{user}", user, "{token}", token.Reveal()).Replace(template))
}

// IsLoopback says whether a host name without port means this machine:
// localhost or a loopback address.
func IsLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}
