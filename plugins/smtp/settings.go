package smtp

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
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

// The setting connections. The default is as many as the host has deliveries
// under way, so that none waits for another's connection here: whose mail goes
// next is the host's decision, which knows the accounts.
const (
	defaultConnections = 128
	maxConnections     = 512
)

// settings is schema.json as Go, checked.
type settings struct {
	Host           string `json:"host"`
	Port           int    `json:"port"`
	TLS            string `json:"tls"`
	Authentication string `json:"authentication"`
	Username       string `json:"username"`
	HeloName       string `json:"heloName"`
	CACertificates string `json:"caCertificates"`
	Connections    int    `json:"connections"`
	DKIMDomain     string `json:"dkimDomain"`
	DKIMSelector   string `json:"dkimSelector"`

	password string
	dkim     *signer // nil: messages are not signed
}

// parseSettings reads and checks; its error is a *sdk.Failure of kind
// Misconfigured that names the setting and never quotes a value.
func parseSettings(given sdk.Settings) (*settings, error) {
	s := &settings{Port: 587, TLS: tlsStart, Authentication: authAuto, Connections: defaultConnections}
	decoder := json.NewDecoder(bytes.NewReader(given.Values))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(s); err != nil {
		return nil, badJSON(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, misconfigured("settings", "must be one JSON object")
	}
	dkimKey := ""
	for name, secret := range given.Secrets {
		switch name {
		case "password":
			s.password = secret.Reveal()
		case "dkimKey":
			dkimKey = secret.Reveal()
		default:
			return nil, misconfigured("settings", "hold a secret that this provider does not know")
		}
	}
	if err := s.validate(); err != nil {
		return nil, err
	}
	var err error
	s.dkim, err = newSigner(s.DKIMDomain, s.DKIMSelector, dkimKey)
	return s, err
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
	case s.Authentication != authAuto && !slices.Contains(authWays, s.Authentication):
		return misconfigured("authentication", "must be auto, plain, login, cram-md5 or xoauth2")
	case s.Authentication != authAuto && s.Username == "":
		return misconfigured("username", "is missing, but authentication is not auto")
	case s.Username == "" && s.password != "":
		return misconfigured("username", "is missing, but there is a password")
	case s.Username != "" && s.password == "":
		return misconfigured("password", "is missing, but there is a user name")
	case hasControl(s.Username):
		return misconfigured("username", "must not hold control characters")
	case hasControl(s.password):
		return misconfigured("password", "must not hold control characters")
	case s.HeloName != "" && !isDomain(s.HeloName):
		return misconfigured("heloName", "must be a host name")
	case s.Connections < 1 || s.Connections > maxConnections:
		return misconfigured("connections", "must be 1 to "+strconv.Itoa(maxConnections))
	}
	return nil
}

func (s *settings) address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// tlsConfig reads the certificates, which is too much work for every message: a
// kept connection was made with them.
func (s *settings) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{
		ServerName: s.Host,
		MinVersion: tls.VersionTLS12,
		// A mail fits one record. Growing records would make five writes of it.
		DynamicRecordSizingDisabled: true,
	}
	if s.CACertificates != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(s.CACertificates)) {
			return nil, misconfigured("caCertificates", "must hold PEM certificates")
		}
	}
	return config, nil
}

// key names the connections that may be shared: those to the same server, made
// and authenticated in the same way. It is a digest so that no password is kept;
// lengths keep two fields from running into each other.
func (s *settings) key() [sha256.Size]byte {
	var b []byte
	for _, field := range []string{
		s.address(), s.TLS, s.Authentication, s.Username, s.password, s.HeloName, s.CACertificates,
	} {
		b = strconv.AppendInt(b, int64(len(field)), 10)
		b = append(b, ':')
		b = append(b, field...)
	}
	return sha256.Sum256(b)
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
