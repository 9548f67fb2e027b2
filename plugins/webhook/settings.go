package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/passmend/passmend/plugins/sdk"
)

// maxEntries bounds each list of the settings.
const maxEntries = 64

// settings is schema.json as Go, checked.
type settings struct {
	Ports    []int    `json:"ports"`
	Allow    []string `json:"allow"`
	NAT64    bool     `json:"nat64"`
	Insecure bool     `json:"insecure"`

	allow []netip.Prefix
}

// parseSettings reads and checks; its error is a *sdk.Failure of kind
// Misconfigured that names the setting and never quotes a value.
func parseSettings(given sdk.Settings) (*settings, error) {
	s := &settings{}
	decoder := json.NewDecoder(bytes.NewReader(given.Values))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(s); err != nil {
		return nil, badJSON(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, misconfigured("settings", "must be one JSON object")
	}
	if len(given.Secrets) > 0 {
		return nil, misconfigured("settings", "hold a secret that this provider does not know")
	}
	if err := s.validate(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *settings) validate() error {
	if len(s.Ports) > maxEntries {
		return misconfigured("ports", "must be 64 at most")
	}
	for _, port := range s.Ports {
		if port < 1024 || port > 65535 {
			return misconfigured("ports", "must be 1024 to 65535 each")
		}
	}
	if len(s.Allow) > maxEntries {
		return misconfigured("allow", "must be 64 networks at most")
	}
	var err error
	if s.allow, err = parseNetworks(s.Allow); err != nil {
		return misconfigured("allow", "must hold networks in CIDR form, such as 10.1.0.0/16")
	}
	return nil
}

// errNetwork says that a text is no network in CIDR form.
var errNetwork = errors.New("not a network in CIDR form")

// parseNetworks reads networks in CIDR form (RFC 4632, 3.1; RFC 4291, 2.3).
// Addresses are held against them unmapped, so a mapped IPv4 network becomes the
// IPv4 network; one wider than that has no single meaning and is refused.
func parseNetworks(texts []string) ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for i, text := range texts {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("network %d: %w", i, errNetwork)
		}
		if network.Addr().Is4In6() {
			if network.Bits() < 96 {
				return nil, fmt.Errorf("network %d: %w", i, errNetwork)
			}
			network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
		}
		networks = append(networks, network)
	}
	return networks, nil
}

// misconfigured names the setting, or url; problem completes the sentence.
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
