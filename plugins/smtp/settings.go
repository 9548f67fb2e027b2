package smtp

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/passmend/passmend/plugins/sdk"
)

// The values of the setting tls.
const (
	tlsStart    = "starttls"
	tlsImplicit = "implicit"
	tlsNone     = "none"
)

// settings is schema.json as Go, checked.
type settings struct {
	Host           string `json:"host"`
	Port           int    `json:"port"`
	TLS            string `json:"tls"`
	Username       string `json:"username"`
	HeloName       string `json:"heloName"`
	CACertificates string `json:"caCertificates"`

	password string
	roots    *x509.CertPool
}

// parseSettings reads and checks; its error is a *sdk.Failure of kind
// Misconfigured that names the setting and never quotes a value.
func parseSettings(given sdk.Settings) (*settings, error) {
	s := &settings{Port: 587, TLS: tlsStart}
	decoder := json.NewDecoder(bytes.NewReader(given.Values))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(s); err != nil {
		return nil, badJSON(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, misconfigured("settings", "must be one JSON object")
	}
	for name, secret := range given.Secrets {
		if name != "password" {
			return nil, misconfigured("settings", "hold a secret that this provider does not know")
		}
		s.password = secret.Reveal()
	}
	return s, s.validate()
}

func (s *settings) validate() error {
	switch {
	case s.Host == "":
		return misconfigured("host", "is missing")
	case len(s.Host) > 253 || !isHost(s.Host):
		return misconfigured("host", "must be a host name or an IP address")
	case s.Port < 1 || s.Port > 65535:
		return misconfigured("port", "must be 1 to 65535")
	case s.TLS != tlsStart && s.TLS != tlsImplicit && s.TLS != tlsNone:
		return misconfigured("tls", "must be starttls, implicit or none")
	case s.TLS == tlsNone && !isLoopback(s.Host):
		return misconfigured("tls", "may be none for a loopback host only")
	case s.Username == "" && s.password != "":
		return misconfigured("username", "is missing, but there is a password")
	case s.Username != "" && s.password == "":
		return misconfigured("password", "is missing, but there is a user name")
	case hasControl(s.Username):
		return misconfigured("username", "must not hold control characters")
	case strings.ContainsAny(s.password, "\x00\r\n"):
		return misconfigured("password", "must not hold line breaks or NUL")
	case s.HeloName != "" && !isDomain(s.HeloName):
		return misconfigured("heloName", "must be a host name")
	}
	if s.CACertificates != "" {
		s.roots = x509.NewCertPool()
		if !s.roots.AppendCertsFromPEM([]byte(s.CACertificates)) {
			return misconfigured("caCertificates", "must hold PEM certificates")
		}
	}
	return nil
}

func (s *settings) address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

func (s *settings) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: s.Host, RootCAs: s.roots, MinVersion: tls.VersionTLS12}
}

// key names the pool for these settings. It is a digest so that no password is
// kept; lengths keep two fields from running into each other.
func (s *settings) key() [sha256.Size]byte {
	h := sha256.New()
	for _, field := range []string{
		s.address(), s.TLS, s.Username, s.password, s.HeloName, s.CACertificates,
	} {
		fmt.Fprintf(h, "%d:%s", len(field), field)
	}
	return [sha256.Size]byte(h.Sum(nil))
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

func isHost(host string) bool {
	return net.ParseIP(host) != nil || isDomain(host)
}

// isLoopback goes by the name alone; the dialled address is checked again.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
