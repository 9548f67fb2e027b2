package postmark

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/plugins/postmark/postmarktest"
	"github.com/passmend/passmend/plugins/sdk"
)

func TestSettingsAreRefusedByName(t *testing.T) {
	t.Parallel()
	token := []string{"serverToken", "canary-token"}
	for _, c := range []struct {
		name, values string
		secrets      []string
		want         string
	}{
		{"empty", ``, token, "settings must be"},
		{"not an object", `[]`, token, "settings must be"},
		{"more than one", `{} {}`, token, "settings must be"},
		{"unknown member", `{"canary":"canary"}`, token, "settings must be"},
		{"secret among the values", `{"serverToken":"canary"}`, token, "settings must be"},
		{"unknown secret", `{}`, []string{"canary", "canary"}, "settings hold"},
		{"no token", `{}`, nil, "serverToken is missing"},
		{"token with a line break", `{}`, []string{"serverToken", "can\r\nary"}, "serverToken must be"},
		{"stream of another form", `{"messageStream":"Canary stream"}`, token, "messageStream must be"},
		{"stream of the wrong type", `{"messageStream":7}`, token, "messageStream has the wrong type"},
		{"no stream", `{"messageStream":""}`, token, "messageStream must be"},
		{"template with a path", `{"resetTemplate":"../canary"}`, token, "resetTemplate must be"},
		{"invitation with a space", `{"inviteTemplate":"a canary"}`, token, "inviteTemplate must be"},
		{"notice with a question mark", `{"changedTemplate":"canary?"}`, token, "changedTemplate must be"},
		{"user with a colon", `{"callbackUser":"a:canary"}`, token, "callbackUser must be"},
		{"short webhook password", `{}`, append([]string{"callbackPassword", "canary"}, token...), "callbackPassword must have"},
		{"webhook password with a space", `{}`, append([]string{"callbackPassword", "canary canary canary"}, token...), "callbackPassword must be"},
		{"http to the outside", `{"baseUrl":"http://canary.example"}`, token, "baseUrl must be"},
		{"http to a name for loopback", `{"baseUrl":"http://localhost:1"}`, token, "baseUrl must be"},
		{"base URL with a path", `{"baseUrl":"https://canary.example/x"}`, token, "baseUrl must be"},
		{"base URL with a user", `{"baseUrl":"https://canary@a.example"}`, token, "baseUrl must be"},
		{"base URL with a query", `{"baseUrl":"https://a.example?canary"}`, token, "baseUrl must be"},
		{"base URL without a host", `{"baseUrl":"https://"}`, token, "baseUrl must be"},
		{"base URL of another scheme", `{"baseUrl":"file:///canary"}`, token, "baseUrl must be"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			settings := sdk.Settings{Values: []byte(c.values), Secrets: secrets(c.secrets...)}
			provider := newProvider(t)
			err := provider.Check(t.Context(), settings)
			if kindOf(err) != sdk.Misconfigured || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Check = %v, want misconfigured with %q", err, c.want)
			}
			if strings.Contains(tell(err), "canary") {
				t.Errorf("the error quotes a value: %s", tell(err))
			}
			if _, err := provider.Send(t.Context(), sdk.SendRequest{Settings: settings, Mail: testMail()}); kindOf(err) != sdk.Misconfigured {
				t.Errorf("Send = %v", err)
			}
			if _, err := provider.ParseEvent(t.Context(), settings, sdk.Callback{}); kindOf(err) != sdk.Misconfigured {
				t.Errorf("ParseEvent = %v", err)
			}
		})
	}
}

func TestUsableSettings(t *testing.T) {
	t.Parallel()
	for _, values := range []string{
		`{}`,
		`{"baseUrl":"https://api.postmarkapp.com/"}`,
		`{"baseUrl":"https://proxy.example:8443","messageStream":"password-resets_2"}`,
		`{"baseUrl":"http://127.0.0.7:1025"}`,
		`{"baseUrl":"http://[::1]:1025","resetTemplate":"reset-v2.1"}`,
	} {
		if _, err := parseSettings(sdk.Settings{Values: []byte(values), Secrets: secrets("serverToken", "t")}); err != nil {
			t.Errorf("%s: %v", values, err)
		}
	}
}

func TestCheckAsksForWhatTheSettingsName(t *testing.T) {
	t.Parallel()
	server := postmarktest.Start(t, postmarktest.Options{
		Streams: []string{"outbound", "resets"}, Templates: map[string]postmarktest.Template{"reset-1": {Text: "{{{link}}}"}},
	})
	for _, c := range []struct {
		name, more, token string
		want              sdk.Outcome
		names             string
	}{
		{"all is there", `,"messageStream":"resets","resetTemplate":"reset-1"`, testToken, sdk.Accepted, ""},
		{"wrong token", "", "canary-token", sdk.AuthenticationFailed, "serverToken"},
		{"no such stream", `,"messageStream":"canary"`, testToken, sdk.Misconfigured, "messageStream"},
		{"no such template", `,"resetTemplate":"canary"`, testToken, sdk.Misconfigured, "resetTemplate"},
		{"no such invitation", `,"inviteTemplate":"canary"`, testToken, sdk.Misconfigured, "inviteTemplate"},
		{"no such notice", `,"changedTemplate":"canary"`, testToken, sdk.Misconfigured, "changedTemplate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := newProvider(t).Check(t.Context(), sdk.Settings{
				Values: server.Settings(c.more), Secrets: secrets("serverToken", c.token),
			})
			if kindOf(err) != c.want {
				t.Fatalf("Check = %v, want %s", err, c.want)
			}
			if err != nil && (!strings.Contains(err.Error(), c.names) || strings.Contains(tell(err), "canary")) {
				t.Errorf("Check says %s, want %q in it and no value", tell(err), c.names)
			}
		})
	}
	if n := len(server.Messages()); n != 0 {
		t.Errorf("%d messages were sent", n)
	}
}

func TestCheckKnowsPostmarkByItsAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		answer postmarktest.Answer
		want   sdk.Outcome
	}{
		{postmarktest.Answer{Status: 200, Body: "<html>welcome"}, sdk.Misconfigured},
		{postmarktest.Answer{Status: 200, Body: "[]"}, sdk.Misconfigured},
		{postmarktest.Answer{Status: 404, Body: "<html>"}, sdk.Misconfigured},
		{postmarktest.Answer{Status: 400}, sdk.Misconfigured},
		{postmarktest.Answer{Status: 302, Header: map[string]string{"Location": "/"}}, sdk.Misconfigured},
		{postmarktest.Answer{Status: 503}, sdk.Temporary},
	} {
		server := says(t, c.answer)
		err := newProvider(t).Check(t.Context(), settingsOf(server, ""))
		if kindOf(err) != c.want || c.want == sdk.Misconfigured && !strings.Contains(err.Error(), "baseUrl") {
			t.Errorf("%d %s: %v, want %s", c.answer.Status, c.answer.Body, err, c.want)
		}
	}
}

// The schema and the Go type say the same.
func TestTheSchemaNamesEverySetting(t *testing.T) {
	t.Parallel()
	var document struct {
		Properties map[string]struct {
			WriteOnly bool    `json:"writeOnly"`
			Order     float64 `json:"x-order"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(schema, &document); err != nil {
		t.Fatal(err)
	}
	secret := []string{"callbackPassword", "serverToken"}
	want := slices.Clone(secret)
	for field := range reflect.TypeFor[settings]().Fields() {
		if tag := field.Tag.Get("json"); tag != "" {
			want = append(want, tag)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(document.Properties))); diff != "" {
		t.Errorf("properties (-type +schema):\n%s", diff)
	}
	orders := make(map[float64]string)
	for name, property := range document.Properties {
		if property.WriteOnly != slices.Contains(secret, name) {
			t.Errorf("%s: writeOnly = %v", name, property.WriteOnly)
		}
		if other, ok := orders[property.Order]; ok || property.Order == 0 {
			t.Errorf("%s and %s have one place, or none", name, other)
		}
		orders[property.Order] = name
	}
}

func TestTwoUsesNeverShareAKey(t *testing.T) {
	t.Parallel()
	seen := make(map[[32]byte]settings)
	for _, s := range []settings{
		{BaseURL: "a"}, {BaseURL: "b"}, {MessageStream: "a"}, {ResetTemplate: "a"}, {InviteTemplate: "a"}, {ChangedTemplate: "a"},
		{CallbackUser: "a"}, {serverToken: "a"}, {callbackPassword: "a"}, {BaseURL: "a", MessageStream: "b"}, {BaseURL: "ab"},
	} {
		if other, ok := seen[s.key()]; ok {
			t.Errorf("%+v and %+v share a key", s, other)
		}
		seen[s.key()] = s
	}
}
