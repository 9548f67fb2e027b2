package postmark

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/passmend/passmend/plugins/sdk"
)

const (
	publicAPI     = "https://api.postmarkapp.com"
	defaultStream = "outbound"
	defaultUser   = "postmark"
	// minPassword keeps what can be guessed from guarding a public address.
	minPassword = 16
)

// settings is schema.json as Go, checked.
type settings struct {
	MessageStream   string `json:"messageStream"`
	ResetTemplate   string `json:"resetTemplate"`
	InviteTemplate  string `json:"inviteTemplate"`
	ChangedTemplate string `json:"changedTemplate"`
	CallbackUser    string `json:"callbackUser"`
	BaseURL         string `json:"baseUrl"`

	serverToken      string
	callbackPassword string
}

// parseSettings reads and checks; its error is a *sdk.Failure of kind
// Misconfigured that names the setting and never quotes a value.
func parseSettings(given sdk.Settings) (*settings, error) {
	s := &settings{MessageStream: defaultStream, CallbackUser: defaultUser, BaseURL: publicAPI}
	decoder := json.NewDecoder(bytes.NewReader(given.Values))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(s); err != nil {
		return nil, badJSON(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, misconfigured("settings", "must be one JSON object")
	}
	for name, secret := range given.Secrets {
		switch name {
		case "serverToken":
			s.serverToken = secret.Reveal()
		case "callbackPassword":
			s.callbackPassword = secret.Reveal()
		default:
			return nil, misconfigured("settings", "hold a secret that this provider does not know")
		}
	}
	s.BaseURL = strings.TrimSuffix(s.BaseURL, "/")
	return s, s.validate()
}

// streamID is Postmark's form of a stream's ID.
var streamID = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,29}$`)

// alias is what Postmark takes for a template's alias.
var alias = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9._-]{0,99})?$`)

func (s *settings) validate() error {
	switch {
	case s.serverToken == "":
		return misconfigured("serverToken", "is missing")
	case len(s.serverToken) > 256 || !isPrintable(s.serverToken):
		return misconfigured("serverToken", "must be printable ASCII without spaces")
	case !streamID.MatchString(s.MessageStream):
		return misconfigured("messageStream", "must be the ID of a message stream")
	case !alias.MatchString(s.ResetTemplate):
		return misconfigured("resetTemplate", "must be the alias of a template")
	case !alias.MatchString(s.InviteTemplate):
		return misconfigured("inviteTemplate", "must be the alias of a template")
	case !alias.MatchString(s.ChangedTemplate):
		return misconfigured("changedTemplate", "must be the alias of a template")
	case s.CallbackUser == "" || len(s.CallbackUser) > 128 || !isPrintable(s.CallbackUser) || strings.Contains(s.CallbackUser, ":"):
		return misconfigured("callbackUser", "must be printable ASCII without spaces and colons")
	case s.callbackPassword != "" && len(s.callbackPassword) < minPassword:
		return misconfigured("callbackPassword", fmt.Sprintf("must have at least %d characters", minPassword))
	case len(s.callbackPassword) > 256 || !isPrintable(s.callbackPassword):
		return misconfigured("callbackPassword", "must be printable ASCII without spaces")
	case !isBaseURL(s.BaseURL):
		return misconfigured("baseUrl", "must be https and a host without a path; http is for loopback addresses only")
	}
	return nil
}

// template is the alias for a template key of Facts; empty: none.
func (s *settings) template(key string) string {
	switch key {
	case "reset":
		return s.ResetTemplate
	case "invite":
		return s.InviteTemplate
	case "changed":
		return s.ChangedTemplate
	}
	return ""
}

// key tells uses apart: two that differ in any setting, the token among them,
// never share a batch. It is a digest so that no secret is kept; lengths keep two
// fields from running into each other.
func (s *settings) key() [sha256.Size]byte {
	h := sha256.New()
	for _, field := range []string{
		s.BaseURL, s.MessageStream, s.ResetTemplate, s.InviteTemplate, s.ChangedTemplate,
		s.CallbackUser, s.serverToken, s.callbackPassword,
	} {
		fmt.Fprintf(h, "%d:%s", len(field), field)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// isBaseURL goes by literal addresses for http: a name may resolve to anything.
func isBaseURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.String() != u.Scheme+"://"+u.Host {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && err == nil && ip.IsLoopback()
}

// isPrintable takes ASCII without spaces and control characters, and nothing.
func isPrintable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// misconfigured names the setting; problem completes the sentence.
func misconfigured(setting, problem string) *sdk.Failure {
	return &sdk.Failure{Kind: sdk.Misconfigured, Public: setting + " " + problem}
}

// badJSON tells which setting has the wrong type. The decoder's own text can
// quote values, so it is not passed on.
func badJSON(err error) *sdk.Failure {
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) && wrongType.Field != "" {
		return misconfigured(wrongType.Field, "has the wrong type")
	}
	return misconfigured("settings", "must be a JSON object with the settings of the schema only")
}
