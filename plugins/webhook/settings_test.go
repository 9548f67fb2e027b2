package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/passmend/passmend/plugins/sdk"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ values, public string }{
		{`{}`, ""},
		{`{"ports":[1024,65535],"allow":["10.0.0.0/8","fd00::/8"],"nat64":true,"insecure":true}`, ""},
		{`{"ports":[443]}`, "ports must be 1024 to 65535 each"},
		{`{"ports":[65536]}`, "ports must be 1024 to 65535 each"},
		{`{"ports":["8443"]}`, "ports has the wrong type"},
		{`{"ports":[` + strings.Repeat("8443,", 64) + `8443]}`, "ports must be 64 at most"},
		{`{"allow":["10.0.0.1"]}`, "allow must hold networks in CIDR form, such as 10.1.0.0/16"},
		{`{"allow":["hooks.example.com"]}`, "allow must hold networks in CIDR form, such as 10.1.0.0/16"},
		{`{"allow":"10.0.0.0/8"}`, "allow has the wrong type"},
		{`{"insecure":"yes"}`, "insecure has the wrong type"},
		{`{"nat64":1}`, "nat64 has the wrong type"},
		{`{"proxy":"http://p.example"}`, "settings must be a JSON object with the settings of the schema only"},
		{`{}{}`, "settings must be one JSON object"},
		{`[]`, "settings must be a JSON object with the settings of the schema only"},
		{``, "settings must be a JSON object with the settings of the schema only"},
	} {
		err := New().Check(t.Context(), settingsOf("%s", test.values))
		var failure *sdk.Failure
		switch {
		case test.public == "" && err != nil:
			t.Errorf("%s: %v", test.values, err)
		case test.public != "" && !errors.As(err, &failure):
			t.Errorf("%s: taken", test.values)
		case test.public != "" && (failure.Kind != sdk.Misconfigured || failure.Public != test.public):
			t.Errorf("%s: %v", test.values, err)
		}
	}
	err := New().Check(t.Context(), sdk.Settings{Values: []byte(`{}`), Secrets: map[string]sdk.Secret{"key": {}}})
	if kindOf(err) != sdk.Misconfigured {
		t.Errorf("a secret: %v", err)
	}
}

func TestTheSchemaNamesEverySetting(t *testing.T) {
	t.Parallel()
	var document struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if err := json.Unmarshal(schema, &document); err != nil {
		t.Fatal(err)
	}
	for name := range document.Properties {
		var problem *sdk.Failure
		_, err := parseSettings(settingsOf(`{%q:{}}`, name))
		if !errors.As(err, &problem) || problem.Public != name+" has the wrong type" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(document.Properties) != 4 {
		t.Errorf("%d properties", len(document.Properties))
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		url, settings string
		taken         bool
	}{
		{"https://hooks.example.com", `{}`, true},
		{"https://hooks.example.com/", `{}`, true},
		{"https://HOOKS.Example.COM/a?b=c&d", `{}`, true},
		{"https://hooks.example.com:443/", `{}`, true},
		{"https://hooks.example.com:8443/", `{"ports":[8443]}`, true},
		{"https://hooks.example.com:8443/", `{"insecure":true}`, true},
		{"https://hooks.example.com:8444/", `{"ports":[8443]}`, false},
		{"https://xn--exmple-cua.com/", `{}`, true},
		{"https://1e100.net/", `{}`, true},
		{"https://a.b-c.d1.example/", `{}`, true},
		{"https://notlocal/", `{}`, false},
		{"https://a.notlocal/", `{}`, true},
		{"https://10.0.0.1/", `{"allow":["10.0.0.0/8"]}`, true},
		{"https://[::ffff:10.0.0.1]/", `{"allow":["10.0.0.0/8"]}`, true},
		{"https://11.0.0.1/", `{"allow":["10.0.0.0/8"]}`, false},
		{"https://[fd00::1]/", `{"allow":["fd00::/8"]}`, true},
		{"https://[fd00::1%25eth0]/", `{"allow":["fd00::/8"]}`, false},
		{"https://hooks.internal/", `{"allow":["10.0.0.0/8"]}`, false},
		{"http://hooks.example.com/", `{"insecure":true}`, true}, // and the guard lets it go to loopback only
		{"http://127.0.0.1:8080/", `{"insecure":true}`, true},
		{"http://[::1]:8080/", `{"insecure":true}`, true},
		{"http://localhost:8080/", `{"insecure":true}`, true},
		{"http://localhost/", `{"insecure":true}`, true},
		{"http://localhost:22/", `{"insecure":true}`, false},
		{"http://localhost:70000/", `{"insecure":true}`, false},
		{"http://192.168.1.1/", `{"insecure":true}`, false},
		{"https://" + strings.Repeat("a", 63) + ".example/", `{}`, true},
		{"https://" + strings.Repeat("a", 64) + ".example/", `{}`, false},
		{"https://" + strings.Repeat("abc.", 61) + "example/", `{}`, true},
		{"https://" + strings.Repeat("abc.", 62) + "example/", `{}`, false},
		{"https://hooks.example.com/" + strings.Repeat("a", 4096-26), `{}`, true},
		{"https://hooks.example.com/" + strings.Repeat("a", 4097-26), `{}`, false},
	} {
		s, err := parseSettings(settingsOf("%s", test.settings))
		if err != nil {
			t.Fatal(err)
		}
		target, err := parseTarget(test.url, s)
		if (err == nil) != test.taken {
			t.Errorf("%.80s with %s: %v", test.url, test.settings, err)
		}
		if (target != nil) != test.taken {
			t.Errorf("%.80s: a target and an error, or neither", test.url)
		}
	}
}

// What passes is what was checked: no second reading finds another host.
func FuzzParseTarget(f *testing.F) {
	for _, url := range closedURLs {
		f.Add(strings.ReplaceAll(url, "PORT", "8443"))
	}
	f.Add("https://hooks.example.com:8443/a?b=c")
	s := &settings{Ports: []int{8443}}
	f.Fuzz(func(t *testing.T, raw string) {
		target, err := parseTarget(raw, s)
		if err != nil {
			if strings.Contains(err.Error(), raw) && len(raw) > 12 {
				t.Errorf("the error quotes the URL: %v", err)
			}
			return
		}
		again, err := parseTarget(target.String(), s)
		if err != nil || again.Host != target.Host || again.RequestURI() != target.RequestURI() {
			t.Errorf("%q reads as %q, then as %q: %v", raw, target, fmt.Sprint(again), err)
		}
		host := strings.ToLower(target.Hostname())
		if !isDomain(host) || target.Scheme != "https" || !strings.Contains(strings.ToLower(raw), host) {
			t.Errorf("%q passes as %q", raw, host)
		}
	})
}
