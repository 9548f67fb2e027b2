package world

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/passmend/passmend/plugins/sdk"
)

// Spec is a provider's settings and what surrounds them, as a vendor writes them
// down for 'passmend plugin test'.
type Spec struct {
	// Settings are usable ones, with placeholders; Secrets are the secret ones.
	Settings map[string]any    `json:"settings"`
	Secrets  map[string]string `json:"secrets"`
	// Refused are changes that make them unusable.
	Refused []Refused `json:"refused"`
	// HTTP says how the service answers; needed with ${http.url}.
	HTTP *HTTP `json:"http"`
	// Callbacks are genuine ones of the service.
	Callbacks []Callback `json:"callbacks"`
	// From and To are addresses that the world takes; the kit's by default.
	From string `json:"from"`
	To   string `json:"to"`
}

// Refused is a change to the settings: null takes one away.
type Refused struct {
	Case     string             `json:"case"`
	Settings map[string]any     `json:"settings"`
	Secrets  map[string]*string `json:"secrets"`
	Names    string             `json:"names"` // the setting that the refusal names
}

// HTTP is the service behind ${http.url}.
type HTTP struct {
	// Mail says where in a request's JSON each part of a mail is, as JSON pointers
	// (RFC 6901): "to", "text" and "html".
	Mail map[string]string `json:"mail"`
	// Header and Secret: a request whose header field does not hold this secret's
	// value is answered with Outcomes' authentication-failed.
	Header string `json:"header"`
	Secret string `json:"secret"`
	// Accepted answers what is taken; Outcomes what fails, by outcome.
	Accepted Answer                 `json:"accepted"`
	Outcomes map[sdk.Outcome]Answer `json:"outcomes"`
}

// Answer is one HTTP answer. Status 0 cuts the connection.
type Answer struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    any               `json:"body"` // JSON
}

// Callback is a callback and the events that it holds.
type Callback struct {
	Case     string            `json:"case"`
	Settings map[string]any    `json:"settings"`
	Secrets  map[string]string `json:"secrets"`
	Headers  map[string]string `json:"headers"`
	Body     string            `json:"body"`
	Events   []Event           `json:"events"`
}

// Event is one event of a callback.
type Event struct {
	ID        string        `json:"id"`
	Kind      sdk.EventKind `json:"kind"`
	MessageID string        `json:"messageId"`
	Recipient string        `json:"recipient"`
}

// ErrNoGuess says that a schema alone does not tell which settings lead to a server.
var ErrNoGuess = errors.New("its schema has no host and port to lead to a mail server of ours")

// Read reads a Spec from a file.
func Read(path string) (Spec, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Spec{}, err
	}
	var spec Spec
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&spec); err != nil {
		return spec, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return spec, fmt.Errorf("%s: more than one JSON value", path)
	}
	if spec.HTTP == nil && uses(spec.Settings, urlMark) {
		return spec, fmt.Errorf("%s: \"http\" is needed to say how the service at %s answers", path, urlMark)
	}
	return spec, nil
}

// Guess makes a Spec for a provider that hands mail to an SMTP server, or takes
// events alone; ErrNoGuess for any other.
func Guess(description sdk.Description) (Spec, error) {
	if !slices.Contains(description.Contents, sdk.ContentMail) {
		return Spec{Settings: map[string]any{}}, nil
	}
	var schema struct {
		Required   []string `json:"required"`
		Properties map[string]struct {
			Enum      []any `json:"enum"`
			WriteOnly bool  `json:"writeOnly"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(description.SettingsSchema, &schema); err != nil {
		return Spec{}, fmt.Errorf("its settings schema: %w", err)
	}
	has := func(name string) bool { _, found := schema.Properties[name]; return found }
	if !has("host") || !has("port") {
		return Spec{}, ErrNoGuess
	}
	spec := Spec{Settings: map[string]any{"host": hostMark, "port": portMark}}
	if slices.Contains(schema.Properties["tls"].Enum, any("none")) {
		spec.Settings["tls"] = "none"
	}
	if slices.Contains(schema.Required, "host") {
		spec.Refused = append(spec.Refused, Refused{Case: "no host", Settings: map[string]any{"host": nil}, Names: "host"})
	}
	spec.Refused = append(spec.Refused, Refused{Case: "port 0", Settings: map[string]any{"port": 0}, Names: "port"})
	if has("username") && schema.Properties["password"].WriteOnly {
		spec.Settings["username"] = smtpUser
		spec.Secrets = map[string]string{"password": smtpPassword}
		wrong := "a-wrong-password"
		spec.Refused = append(spec.Refused, Refused{Case: "wrong password", Secrets: map[string]*string{"password": &wrong}, Names: "password"})
	}
	return spec, nil
}

// uses tells whether a placeholder is in the settings.
func uses(settings map[string]any, mark string) bool {
	text, err := json.Marshal(settings)
	return err == nil && bytes.Contains(text, []byte(mark))
}

// The placeholders.
const (
	hostMark    = "${smtp.host}"
	portMark    = "${smtp.port}"
	urlMark     = "${http.url}"
	maildirMark = "${maildir}"
)

// place is where settings lead: a value for each placeholder.
type place map[string]any

// fill puts values in the place of placeholders; one that is a whole text becomes
// the value itself, which may be a number.
func (p place) fill(value any) any {
	switch v := value.(type) {
	case string:
		if whole, found := p[v]; found {
			return whole
		}
		for mark, replacement := range p {
			v = strings.ReplaceAll(v, mark, fmt.Sprint(replacement))
		}
		return v
	case []any:
		filled := make([]any, len(v))
		for i := range v {
			filled[i] = p.fill(v[i])
		}
		return filled
	case map[string]any:
		filled := make(map[string]any, len(v))
		for name := range v {
			filled[name] = p.fill(v[name])
		}
		return filled
	}
	return value
}

// settings makes the sdk's of the Spec's, at a place.
func (s Spec) settings(at place) sdk.Settings {
	return settingsOf(at.fill(s.Settings).(map[string]any), s.Secrets)
}

func settingsOf(values map[string]any, secrets map[string]string) sdk.Settings {
	if values == nil {
		values = map[string]any{}
	}
	text, err := json.Marshal(values)
	if err != nil {
		panic("settings that were read as JSON cannot be written as it: " + err.Error())
	}
	settings := sdk.Settings{Values: text}
	if len(secrets) > 0 {
		settings.Secrets = make(map[string]sdk.Secret, len(secrets))
		for name, value := range secrets {
			settings.Secrets[name] = sdk.NewSecret(value)
		}
	}
	return settings
}

// changed gives the settings with a change that makes them unusable.
func (s Spec) changed(r Refused, at place) sdk.Settings {
	values := at.fill(s.Settings).(map[string]any)
	for name, value := range r.Settings {
		if values[name] = at.fill(value); value == nil {
			delete(values, name)
		}
	}
	secrets := make(map[string]string)
	for name, value := range s.Secrets {
		secrets[name] = value
	}
	for name, value := range r.Secrets {
		if value == nil {
			delete(secrets, name)
		} else {
			secrets[name] = *value
		}
	}
	return settingsOf(values, secrets)
}
