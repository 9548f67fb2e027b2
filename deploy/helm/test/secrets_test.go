package helm

import (
	"regexp"
	"strings"
	"testing"
)

// secretForms are what a secret looks like, wherever it stands.
var secretForms = []*regexp.Regexp{
	regexp.MustCompile(`[a-z]+://[^/@\s"']+:[^/@\s"']+@`), // a URL with a password
	regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY`),
	regexp.MustCompile(`(operator|admin|user|read|dev)-[0-9a-f]{64}v3`), // an API token
	regexp.MustCompile(`wh(sec|sk)_`),
	regexp.MustCompile(`\$(argon2|2b\$)`),
	regexp.MustCompile(`(?i)(password|passwd|token|secret)["']? *[:=] *["']?[^\s"'@/]{12,}`),
	regexp.MustCompile(`"(primaryKeyId|keyMaterialType)"`), // of a keys file
}

// leaks gives what of a release looks like a secret where it must not stand. The
// chart makes no Secret at all, and hands none over by environment, which every
// process of the pod could read.
func leaks(r release) []string {
	var found []string
	for _, o := range r.objects {
		if o.kind == "Secret" {
			found = append(found, o.String()+": the chart makes no Secrets")
			continue
		}
		for _, form := range secretForms {
			if text := form.Find(o.text); text != nil {
				found = append(found, o.String()+": "+string(text))
			}
		}
		for _, reference := range []string{"secretKeyRef", "secretRef"} {
			if strings.Contains(string(o.text), reference) {
				found = append(found, o.String()+": "+reference+" puts a Secret into the environment")
			}
		}
	}
	return found
}

func TestNoSecretStandsOutsideASecret(t *testing.T) {
	t.Parallel()
	eachSet(t, readChart(t), func(t *testing.T, _ set, r release) {
		for _, leak := range leaks(r) {
			t.Error(leak)
		}
	})
}

func TestASecretInAManifestIsFound(t *testing.T) {
	t.Parallel()
	chart := readChart(t)
	for _, line := range []string{
		`- {name: PASSMEND_DATABASE_URL, value: "postgres://passmend:hunter2@db/passmend"}`,
		`- {name: PASSMEND_DATABASE_URL, valueFrom: {secretKeyRef: {name: database, key: url}}}`,
		`- {name: X, value: "-----BEGIN PRIVATE KEY-----"}`,
		`- {name: X, value: "admin-` + strings.Repeat("0f", 32) + `v3"}`,
		`- {name: X, value: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}`,
		`- {name: X, value: "password=correct-horse-battery"}`,
	} {
		leaking := chart.edited(t, "templates/_pod.tpl", "- {name: PASSMEND_DATA_DIR, value: /tmp/passmend}", line)
		if len(leaks(mustRender(t, leaking, minimal(t, ""), cluster{}))) == 0 {
			t.Errorf("not found: %s", line)
		}
	}
}

// A template whose result depends on the cluster or on chance cannot be reviewed
// before it is applied, and differs with every rendering under GitOps.
func TestTemplatesDependOnValuesAlone(t *testing.T) {
	t.Parallel()
	unsteady := regexp.MustCompile(`\b(lookup|rand[A-Z]\w*|uuidv4|gen[A-Z]\w*|htpasswd|bcrypt|derivePassword|now|date\w*|ago|getHostByName|env|expandenv|tpl)\b`)
	actions := regexp.MustCompile(`(?s)\{\{-?\s*(/\*.*?\*/|.*?)\s*-?\}\}`)
	find := func(text string) (found []string) {
		for _, action := range actions.FindAllStringSubmatch(text, -1) {
			if strings.HasPrefix(action[1], "/*") {
				continue
			}
			bare := regexp.MustCompile(`"[^"]*"|\.[A-Za-z]\w*|\$\w+`).ReplaceAllString(action[1], "")
			found = append(found, unsteady.FindAllString(bare, -1)...)
		}
		return found
	}
	for path, text := range readChart(t) {
		if found := find(text); strings.HasPrefix(path, "templates/") && found != nil {
			t.Errorf("%s calls %q", path, found)
		}
	}
	for _, text := range []string{`{{ randAlphaNum 32 }}`, `{{- $s := lookup "v1" "Secret" "" "" -}}`, `{{ now | date "2006" }}`, `{{ genCA "x" 3 }}`} {
		if find(text) == nil {
			t.Errorf("%s is not found", text)
		}
	}
}
