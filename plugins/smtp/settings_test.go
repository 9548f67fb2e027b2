package smtp

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/plugins/sdk"
)

func TestSettingsAreRefusedByName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, values, password, want string }{
		{"empty", ``, "", "settings must be"},
		{"not an object", `[]`, "", "settings must be"},
		{"more than one", `{"host":"a"} {}`, "", "settings must be"},
		{"unknown member", `{"host":"a.example","hots":"canary"}`, "", "settings must be"},
		{"no host", `{}`, "", "host is missing"},
		{"host with a command", `{"host":"a.example\r\nEHLO"}`, "", "host must be"},
		{"host with a path", `{"host":"a.example/x"}`, "", "host must be"},
		{"port of the wrong type", `{"host":"a.example","port":"587"}`, "", "port has the wrong type"},
		{"port too large", `{"host":"a.example","port":65536}`, "", "port must be"},
		{"unknown tls", `{"host":"a.example","tls":"maybe"}`, "", "tls must be"},
		{"plain to the outside", `{"host":"a.example","tls":"none"}`, "", "tls may be none"},
		{"plain to an outside address", `{"host":"192.0.2.1","tls":"none"}`, "", "tls may be none"},
		{"password without a user", `{"host":"a.example"}`, "canary", "username is missing"},
		{"user without a password", `{"host":"a.example","username":"ada"}`, "", "password is missing"},
		{"user with a line break", `{"host":"a.example","username":"a\r\nb"}`, "canary", "username must not"},
		{"password with a line break", `{"host":"a.example","username":"a"}`, "can\nary", "password must not"},
		{"unknown authentication", `{"host":"a.example","authentication":"ntlm"}`, "", "authentication must be"},
		{"authentication without a user", `{"host":"a.example","authentication":"plain"}`, "", "username is missing"},
		{"token that ends early", `{"host":"a.example","username":"a","authentication":"xoauth2"}`, "canary\x01\x01", "password must not"},
		{"no connections", `{"host":"a.example","connections":0}`, "", "connections must be"},
		{"too many connections", `{"host":"a.example","connections":513}`, "", "connections must be"},
		{"helo with a space", `{"host":"a.example","heloName":"a b"}`, "", "heloName must be"},
		{"certificates that are none", `{"host":"a.example","caCertificates":"canary"}`, "", "caCertificates must"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			settings := sdk.Settings{Values: []byte(c.values)}
			if c.password != "" {
				settings.Secrets = map[string]sdk.Secret{"password": sdk.NewSecret(c.password)}
			}
			provider := newProvider(t)
			err := provider.Check(t.Context(), settings)
			if kindOf(err) != sdk.Misconfigured || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Check = %v, want misconfigured with %q", err, c.want)
			}
			if text := err.Error() + sdk.FailureOf(err).Private; strings.Contains(text, "canary") {
				t.Errorf("the error quotes a value: %s", text)
			}
			if _, err := provider.Send(t.Context(), sdk.SendRequest{Settings: settings, Mail: testMail()}); kindOf(err) != sdk.Misconfigured {
				t.Errorf("Send = %v", err)
			}
		})
	}
}

func TestUsableSettings(t *testing.T) {
	t.Parallel()
	for _, values := range []string{
		`{"host":"smtp.example.com"}`,
		`{"host":"localhost","port":1025,"tls":"none"}`,
		`{"host":"127.0.0.7","port":1025,"tls":"none"}`,
		`{"host":"::1","port":1025,"tls":"none"}`,
		`{"host":"192.0.2.1","tls":"implicit","port":465,"heloName":"mail.example.com"}`,
	} {
		if _, err := parseSettings(sdk.Settings{Values: []byte(values)}); err != nil {
			t.Errorf("%s: %v", values, err)
		}
	}
}

// The schema and the Go type say the same, and every setting has what a form needs.
func TestTheSchemaNamesEverySetting(t *testing.T) {
	t.Parallel()
	var document struct {
		Properties map[string]struct {
			Title       string `json:"title"`
			Description string `json:"description"`
			WriteOnly   bool   `json:"writeOnly"`
			Order       int    `json:"x-order"`
			Maximum     int    `json:"maximum"`
			Default     any    `json:"default"`
			Enum        []any  `json:"enum"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(schema, &document); err != nil {
		t.Fatal(err)
	}
	secrets := []string{"dkimKey", "password"}
	defaults, err := parseSettings(sdk.Settings{Values: []byte(`{"host":"a.example"}`)})
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Clone(secrets)
	value := reflect.ValueOf(*defaults)
	for field := range reflect.TypeFor[settings]().Fields() {
		name := field.Tag.Get("json")
		if name == "" {
			continue
		}
		want = append(want, name)
		told := document.Properties[name].Default
		if told != nil && fmt.Sprint(told) != fmt.Sprint(value.FieldByIndex(field.Index)) {
			t.Errorf("%s: the schema's default is %v", name, told)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(document.Properties))); diff != "" {
		t.Errorf("properties (-type +schema):\n%s", diff)
	}
	order := make(map[int]string)
	for name, property := range document.Properties {
		if property.WriteOnly != slices.Contains(secrets, name) {
			t.Errorf("%s: writeOnly = %v", name, property.WriteOnly)
		}
		if property.Title == "" || property.Description == "" || property.Order < 1 || order[property.Order] != "" {
			t.Errorf("%s: title, description or a place of its own is missing", name)
		}
		order[property.Order] = name
	}
	if document.Properties["connections"].Maximum != maxConnections {
		t.Error("connections: another maximum")
	}
	if diff := cmp.Diff(fmt.Sprint(append([]string{authAuto}, authWays...)), fmt.Sprint(document.Properties["authentication"].Enum)); diff != "" {
		t.Errorf("authentication (-code +schema):\n%s", diff)
	}
}

func TestPermissionsAreWhatAnOperatorReads(t *testing.T) {
	t.Parallel()
	d, err := newProvider(t).Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := sdk.Permissions{Hosts: []string{"*"}, Ports: []uint16{25, 465, 587, 2525}}
	if diff := cmp.Diff(want, d.Permissions); diff != "" {
		t.Errorf("permissions (-want +got):\n%s", diff)
	}
}

func TestTwoUsesNeverShareAKey(t *testing.T) {
	t.Parallel()
	seen := make(map[[32]byte]string)
	for _, s := range []settings{
		{Host: "a", Port: 1}, {Host: "b", Port: 1}, {Host: "a", Port: 2}, {Host: "a", Port: 1, TLS: "none"},
		{Host: "a", Port: 1, Username: "u"}, {Host: "a", Port: 1, Username: "u", password: "p"},
		{Host: "a", Port: 1, Username: "up"}, {Host: "a", Port: 1, password: "u"}, {Host: "a", Port: 1, HeloName: "u"},
		{Host: "a", Port: 1, CACertificates: "u"}, {Host: "a", Port: 1, Authentication: "u"},
	} {
		name := s.Host + s.Username + s.password
		if other, ok := seen[s.key()]; ok {
			t.Errorf("%q and %q share a key", name, other)
		}
		seen[s.key()] = name
	}
}
