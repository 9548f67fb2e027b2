package host

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/passmend/passmend/plugins/sdk"
)

// AllowedPorts gives the TCP ports that the plugin may connect to, in order; all
// says that nothing bounds them. Its error wraps ErrUnavailable: the plugin is not
// installed or was never up.
func (h *Host) AllowedPorts(name string) (ports []uint16, all bool, err error) {
	p := h.plugin(name)
	if p == nil {
		return nil, false, unavailable(printable(name, 64), "is not installed")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.description.Name == "" {
		return nil, false, unavailable(name, "has not been up")
	}
	return slices.Clone(p.ports), p.anyPort, nil
}

// refusePorts refuses settings that name a port which the cage would not let the
// plugin reach: the property "port", and the port of every property that is an
// http or https URL. Settings that cannot be read are the plugin's to refuse.
func (p *plugin) refusePorts(settings sdk.Settings) error {
	p.mu.Lock()
	allowed, all := p.ports, p.anyPort
	p.mu.Unlock()
	if all {
		return nil
	}
	named := namedPorts(settings.Values)
	for _, setting := range slices.Sorted(maps.Keys(named)) {
		if port := named[setting]; !slices.Contains(allowed, port) {
			return &sdk.Failure{
				Kind:    sdk.Misconfigured,
				Public:  fmt.Sprintf("%s: port %d is not allowed for this provider; allowed: %s", printable(setting, 64), port, portList(allowed)),
				Private: fmt.Sprintf("plugin %q: port %d is outside of its cage", p.name, port),
			}
		}
	}
	return nil
}

// namedPorts gives the ports that settings name, by property.
func namedPorts(values []byte) map[string]uint16 {
	decoder := json.NewDecoder(bytes.NewReader(values))
	decoder.UseNumber()
	var settings map[string]any
	if decoder.Decode(&settings) != nil {
		return nil
	}
	ports := make(map[string]uint16)
	for name, value := range settings {
		switch value := value.(type) {
		case json.Number:
			port, err := strconv.ParseUint(value.String(), 10, 16)
			if name == "port" && err == nil && port != 0 {
				ports[name] = uint16(port)
			}
		case string:
			if port, ok := urlPort(value); ok {
				ports[name] = port
			}
		}
	}
	return ports
}

func urlPort(text string) (uint16, bool) {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Host == "" {
		return 0, false
	}
	port := parsed.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[parsed.Scheme]
	}
	number, err := strconv.ParseUint(port, 10, 16)
	return uint16(number), err == nil && (parsed.Scheme == "http" || parsed.Scheme == "https")
}

func portList(ports []uint16) string {
	if len(ports) == 0 {
		return "none"
	}
	var texts []string
	for _, port := range ports {
		texts = append(texts, strconv.Itoa(int(port)))
	}
	return strings.Join(texts, ", ")
}
