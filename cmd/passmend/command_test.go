package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/passmend/passmend/cmd/passmend/mailbox"
)

// children gives the processes that a process has started and not yet seen end.
func children(t *testing.T, pid int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, path := range stats {
		content, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(content[strings.LastIndexByte(string(content), ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(pid) && fields[0] != "Z" {
			child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, child)
		}
	}
	return found
}

func mailTo(address string) func(mailbox.Message) bool {
	return func(m mailbox.Message) bool { return len(m.To) == 1 && m.To[0] == address }
}

func mailContains(word string) func(mailbox.Message) bool {
	return func(m mailbox.Message) bool { return strings.Contains(m.Subject, word) }
}

func grep(text, part string) string {
	var found []string
	for line := range strings.SplitSeq(text, "\n") {
		if strings.Contains(line, part) {
			found = append(found, line)
		}
	}
	return strings.Join(found, "\n")
}

func TestDemoHolds(t *testing.T) {
	t.Parallel()
	s := &site{t: t, dir: t.TempDir(), env: []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}}
	code, stdout, stderr := s.try(nil, "demo")
	if code != 0 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	for _, want := range []string{"202 Accepted, 0 bytes", "From", "Subject", "/demo/r/A", "201 Created", "401 Unauthorized", "Every step held."} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the output lacks %q:\n%s", want, stdout)
		}
	}
	if strings.Contains(stdout, "\x1b") {
		t.Error("there are colours where there is no terminal")
	}
	if n := len(regexp.MustCompile(`(?m)^\d+  .* ms  ok$`).FindAllString(stdout, -1)); n != 9 {
		t.Errorf("%d steps with a time, want 9:\n%s", n, stdout)
	}
}

func TestDemoNamesTheStepThatFailed(t *testing.T) {
	t.Parallel()
	s := &site{t: t, dir: t.TempDir(), env: []string{"PATH=" + os.Getenv("PATH"), "PASSMEND_PLUGIN_DIR=" + t.TempDir()}}
	code, _, stderr := s.try(nil, "demo")
	if code != 1 || !strings.Contains(stderr, "step ") {
		t.Errorf("exit %d: %q, want 1 and the step", code, stderr)
	}
}

// Bad configuration is one clear line and exit status 2.
func TestUsageErrors(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, c := range []struct {
		name string
		env  string
		args []string
		want string // part of the line
	}{
		{"unknown command", "", []string{"frobnicate"}, "frobnicate"},
		{"unknown flag", "", []string{"serve", "--frob"}, "--frob"},
		{"public http base URL", "", []string{"serve", "--base-url", "http://reset.example.com"}, "PASSMEND_BASE_URL"},
		{"wildcard base URL", "", []string{"serve", "--base-url", "https://*.example.com"}, "--base-url"},
		{"base URL with a path", "", []string{"serve", "--base-url", "https://example.com/reset"}, "without a path"},
		{"no base URL", "PASSMEND_BASE_URL=", []string{"serve"}, "--base-url"},
		{"bad address", "", []string{"serve", "--http-addr", "8080"}, "HOST:PORT"},
		{"bad environment", "PASSMEND_ADMIN_ADDR=nowhere", []string{"serve"}, "PASSMEND_ADMIN_ADDR"},
		{"other database", "", []string{"serve", "--database-url", "mysql://root:hunter2@db/x"}, "sqlite://"},
		{"bad level", "", []string{"serve", "--log-level", "loud"}, "debug, info, warn or error"},
		{"bad limit", "PASSMEND_LIMIT_IP=many", []string{"serve"}, "PASSMEND_LIMIT_IP"},
		{"bad slots", "", []string{"serve", "--worker-slots", "0"}, "1 to 4096"},
		{"bad proxies", "", []string{"serve", "--trusted-proxies", "10.0.0.1"}, "CIDR"},
		{"unknown role", "", []string{"serve", "--roles", "king"}, "--roles"},
		{"one role on an embedded database", "", []string{"serve", "--roles", "api"}, "embedded"},
		{"short retention", "", []string{"serve", "--retention", "1h"}, "24h"},
		{"burst on a window", "PASSMEND_LIMIT_RSTPWD=5/h:3", []string{"serve"}, "burst"},
		{"bad coalescing", "PASSMEND_LIMIT_COALESCE=2d", []string{"serve"}, "PASSMEND_LIMIT_COALESCE"},
		{"requests of nobody", "", []string{"request", "find", "ada@example.com"}, "--account: is needed: an account's id or slug; or --recover"},
		{"requests of two", "", []string{"request", "find", "ada@example.com", "--account", "acme", "--recover"}, "--recover: goes without --account"},
		{"request that is no id", "", []string{"request", "show", "x", "--account", "acme"}, "UUID"},
		{"no keys file", "", []string{"serve", "--keys-file", "nowhere.json"}, "--keys-file"},
		{"unknown default provider", "", []string{"serve", "--default-providers", "pigeon"}, "provider list"},
		{"missing file of settings", "", []string{"serve", "--config", "nowhere.yaml"}, "--config"},
		{"public development", "", []string{"dev", "--base-url", "https://reset.example.com"}, "loopback"},
		{"development for everybody", "", []string{"dev", "--base-url", "", "--http-addr", "0.0.0.0:8080"}, "--http-addr"},
		{"bad accent", "", []string{"account", "update", "acme", "--accent", "yellow"}, "--accent"},
		{"pale accent", "", []string{"account", "update", "acme", "--accent", "#ffff00"}, "4.5:1"},
		{"bad link life", "", []string{"account", "update", "acme", "--link-life", "1m"}, "--link-life"},
		{"bad policy", "", []string{"account", "update", "acme", "--deliver-policy", "maybe"}, "caller, always or never"},
		{"logo that is none", "", []string{"account", "update", "acme", "--logo", "/etc/hosts"}, "PNG"},
		{"bad role", "", []string{"user", "create", "x@example.com", "--account", "acme", "--role", "king"}, "--role"},
		{"bad address of a user", "", []string{"user", "create", "x", "--account", "acme"}, "EMAIL"},
		{"bad metadata of a user", "", []string{"user", "create", "x@example.com", "--account", "acme", "--metadata", "[hunter2]"}, "--metadata"},
		{"long name of a user", "", []string{"user", "create", "x@example.com", "--account", "acme", "--first-name", strings.Repeat("x", 256)}, "--first-name"},
		{"short password of a user", "", []string{"user", "create", "x@example.com", "--account", "acme", "--password", "@/dev/null"}, "--password"},
		{"two passwords of a user", "", []string{"user", "update", "ada@example.com", "--account", "acme", "--password", "@/etc/hosts", "--no-password"}, "--no-password"},
		{"bad role in a list", "", []string{"user", "list", "--account", "acme", "--role", "king"}, "--role"},
		{"bad metadata of an account", "", []string{"account", "update", "acme", "--metadata", "1"}, "--metadata"},
		{"account deleted by mistake", "", []string{"account", "delete", "acme", "--confirm", "acne"}, "--confirm"},
		{"host of one label", "", []string{"account", "host", "add", "acme", "login"}, "HOST"},
		{"token's value in place of its id", "", []string{"token", "revoke", "user-hunter2", "--account", "acme"}, "TOKEN"},
		{"tokens of nobody", "", []string{"token", "list"}, "--operator"},
		{"only account that is none", "PASSMEND_ACCOUNT=nobody", []string{"serve"}, "PASSMEND_ACCOUNT"},
		{"password as argument", "", []string{"user", "create", "x@example.com", "--account", "acme", "--password", "hunter2"}, "@FILE"},
		{"no owner of a token", "", []string{"token", "create"}, "--operator"},
		{"no plugin", "", []string{"provider", "add", "x"}, "--plugin"},
		{"unknown setting", "", []string{"provider", "add", "x", "--plugin", "smtp", "--set", "colour=red"}, "colour"},
		{"missing setting", "", []string{"provider", "add", "x", "--plugin", "smtp"}, "host"},
		{"setting out of range", "", []string{"provider", "add", "x", "--plugin", "smtp", "--set", "host=h", "--set", "port=70000"}, "65535"},
		{"setting of another type", "", []string{"provider", "add", "x", "--plugin", "smtp", "--set", "host=h", "--set", "port=many"}, "whole number"},
		{"secret in the open", "", []string{"provider", "add", "x", "--plugin", "smtp", "--set", "password=hunter2"}, "--secret"},
	} {
		t.Run(c.name, func(t *testing.T) {
			site := *s
			site.t = t
			site.env = append(append([]string{}, s.env...), c.env)
			code, _, stderr := site.try(nil, c.args...)
			if code != 2 || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit %d, %q; want 2 and one line with %q", code, stderr, c.want)
			}
			if strings.Contains(stderr, "hunter2") {
				t.Errorf("the line repeats a secret: %q", stderr)
			}
		})
	}
}

// What is asked for properly and does not work is exit status 1.
func TestFailures(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, args := range [][]string{
		{"account", "create", "acme"},
		{"account", "show", "nobody"},
		{"user", "create", "ada@example.com", "--account", "acme"},
		{"token", "create", "--account", "acme", "--user", "eve@example.com"},
		{"token", "revoke", "0197c0de-0000-7000-8000-00000000abcd", "--account", "acme"},
		{"token", "revoke", "0197c0de-0000-7000-8000-00000000abcd", "--operator"},
		{"user", "show", "eve@example.com", "--account", "acme"},
		{"account", "host", "remove", "acme", "login.acme.example"},
		{"provider", "add", "relay", "--plugin", "smtp", "--set", "host=127.0.0.1", "--set", "tls=none"},
		{"provider", "add", "x", "--plugin", "pigeon"},
		{"provider", "remove", "pigeon"},
		{"keys", "init"},
	} {
		code, _, stderr := s.try(nil, args...)
		if code != 1 || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit %d, %q; want 1 and one line", args, code, stderr)
		}
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	t.Parallel()
	s := &site{t: t, dir: t.TempDir(), env: []string{"PATH=" + os.Getenv("PATH")}}
	for _, args := range []string{
		"", "serve", "dev", "demo", "migrate", "migrate up", "migrate down", "migrate status", "request show", "request find", "suppression list", "suppression add", "suppression remove", "bench", "account create", "account update", "account list", "account show", "account delete", "account host add", "account host list", "account host remove",
		"user create", "user import", "user list", "user show", "user update", "user ban", "user unban", "user delete", "user hashes", "token create", "token list", "token revoke", "provider add", "provider list", "provider remove", "provider check",
		"keys init", "plugin list", "plugin inspect", "plugin install", "plugin remove", "plugin trust add", "plugin trust list", "plugin trust remove",
		"plugin pack", "plugin key", "metrics", "version",
	} {
		code, stdout, _ := s.try(nil, append(strings.Fields(args), "--help")...)
		if code != 0 || !strings.Contains(stdout, "Usage:") || (args != "" && !strings.Contains(stdout, "Examples:")) {
			t.Errorf("passmend %s --help: exit %d: %s", args, code, stdout)
		}
	}
}

func TestListsAndViews(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.must("account", "update", "acme", "--link-life", "1800", "--providers", "relay")
	shown := s.must("account", "show", "acme")
	for _, want := range []string{`"linkLife": 1800`, `"providers": [`, `"accent": "#7a1fa2"`, `"fromAddress": "no-reply@acme.example"`} {
		if !strings.Contains(shown, want) {
			t.Errorf("account show lacks %s:\n%s", want, shown)
		}
	}
	for args, want := range map[string]string{
		"account list":             "acme",
		"user list --account acme": "ada@example.com",
		"provider list":            "relay",
		"provider check relay":     "relay: ok",
		"plugin list":              "smtp",
		"migrate":                  "up to date",
		"version":                  "passmend ",
		"token create --operator":  "operator-",
		"token create --account acme --user ada@example.com": "user-",
	} {
		if got := s.must(strings.Fields(args)...); !strings.Contains(got, want) {
			t.Errorf("passmend %s: %q lacks %q", args, got, want)
		}
	}
}

// A second server on one embedded database would work on the same rows.
func TestSecondServerIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.serve()
	second := *s
	second.env = append(append([]string{}, s.env...), "PASSMEND_HTTP_ADDR=127.0.0.1:0", "PASSMEND_ADMIN_ADDR=127.0.0.1:0")
	code, _, stderr := second.try(nil, "serve")
	if code == 0 || !strings.Contains(stderr, "lock") && !strings.Contains(stderr, "another") {
		t.Errorf("exit %d, %q; want a refusal", code, stderr)
	}
}

func TestBinariesNeedNoLibraries(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "version", "-m", filepath.Join(binaries, "passmend")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "CGO_ENABLED=0") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestUsersTokensAndHostsAreLookedAfter(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	of := func(args ...string) []string { return append(args, "--account", "acme") }
	s.must(of("user", "update", "ada@example.com", "--last-name", "Lovelace", "--email", "ada@example.org", "--metadata", `{"plan": "gold"}`)...)
	s.must(of("user", "ban", "ada@example.org")...)
	shown := s.must(of("user", "show", "ada@example.org")...)
	for _, want := range []string{`"email": "ada@example.org"`, `"lastName": "Lovelace"`, `"status": "BANNED"`, `"plan": "gold"`, `"hasPassword": true`} {
		if !strings.Contains(shown, want) {
			t.Errorf("user show lacks %s:\n%s", want, shown)
		}
	}
	if strings.Contains(s.must(of("user", "list", "--banned=false")...), "ada@") || !strings.Contains(s.must(of("user", "list", "--banned", "--role", "user")...), "ada@") {
		t.Error("the list does not know who is banned")
	}
	s.must(of("user", "unban", "ada@example.org")...)
	s.must(of("user", "update", "ada@example.org", "--no-password")...)
	if shown = s.must(of("user", "show", "ada@example.org")...); !strings.Contains(shown, `"status": "ACTIVE"`) || !strings.Contains(shown, `"hasPassword": false`) {
		t.Error(shown)
	}
	if hashes := s.must(of("user", "hashes")...); !strings.Contains(hashes, "no imported hashes") {
		t.Error(hashes)
	}

	uuid := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)
	s.must(of("token", "create", "--user", "ada@example.org", "--name", "laptop")...)
	s.must("token", "create", "--operator", "--name", "ops")
	list, operators := s.must(of("token", "list", "--user", "ada@example.org")...), s.must("token", "list", "--operator")
	if !strings.Contains(list, "laptop") || strings.Contains(list, "ops") || !strings.Contains(operators, "ops") || strings.Contains(operators, "laptop") {
		t.Errorf("%s%s", list, operators)
	}
	s.must(of("token", "revoke", uuid.FindString(list))...)
	s.must("token", "revoke", uuid.FindString(operators), "--operator")
	if list = s.must(of("token", "list")...) + s.must("token", "list", "--operator"); uuid.MatchString(list) {
		t.Errorf("revoked and there: %s", list)
	}
	s.must(of("user", "delete", "ada@example.org")...)
	if code, _, _ := s.try(nil, of("user", "show", "ada@example.org")...); code != 1 {
		t.Error("deleted and there")
	}

	s.must("account", "host", "add", "acme", "Login.Acme.example.", "--verified=false")
	if list := s.must("account", "host", "list", "acme"); !strings.Contains(list, "login.acme.example  false") {
		t.Error(list)
	}
	s.must("account", "host", "add", "acme", "login.acme.example")
	s.must("account", "update", "acme", "--metadata", `{"crm": 7}`)
	if shown := s.must("account", "show", "acme"); !strings.Contains(shown, `"host": "login.acme.example"`) || !strings.Contains(shown, `"crm": 7`) {
		t.Error(shown)
	}
	s.must("account", "host", "remove", "acme", "login.acme.example")
	s.must("account", "delete", "acme", "--confirm", "acme")
	if code, _, _ := s.try(nil, "account", "show", "acme"); code != 1 {
		t.Error("deleted and there")
	}
}
