package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/passmend/passmend/core"
)

// What commands change is recorded with who ran them, listed, exported and verified;
// whoever owns the database can change an entry, but not unseen.
func TestAuditTellsWhoChangedWhat(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.env = append(s.env, "PASSMEND_PLUGIN_DIR="+filepath.Join(s.dir, "plugins"))
	s.must("account", "update", "acme", "--name", "Acme & Co", "--support-address", "new@acme.example")
	s.must("hold", "--account", "acme")
	s.must("release", "--account", "acme", "--rate", "5")
	s.must("suppression", "add", "gone@example.com", "--account", "acme")
	s.must("token", "create", "--operator")
	public := s.must("plugin", "key", "vendor.key")
	s.must("plugin", "trust", "add", strings.TrimSpace(public), "--for", "acme-*")
	s.must("keys", "rotate", "token")
	if dropped := s.must("keys", "drop", "token"); dropped != "1 older keys dropped" {
		t.Errorf("keys drop: %q", dropped)
	}
	me := fmt.Sprintf("command uid:%d", os.Getuid())

	list := strings.Join(strings.Fields(s.must("audit", "list", "--account", "acme")), " ")
	for _, want := range []string{
		me + " account_updated accounts ", "name,branding.supportAddress", "hold_begun", "hold_released", "rate", "suppression_created", "user_created",
	} {
		if !strings.Contains(list, want) {
			t.Errorf("the list lacks %q:\n%s", want, list)
		}
	}
	if strings.Contains(list, "@") || strings.Contains(list, "plugin_trusted") {
		t.Errorf("the list holds an address, or what is not the account's:\n%s", list)
	}
	if list := s.must("audit", "list", "--platform"); !strings.Contains(list, "plugin_trusted") || !strings.Contains(list, "key_rotated") || !strings.Contains(list, "key_dropped") || !strings.Contains(list, "provider_created") || strings.Contains(list, "user_created") {
		t.Errorf("of the platform:\n%s", list)
	}
	if list := s.must("audit", "list", "--event", "hold_begun", "--actor", "command"); strings.Count(list, "\n") != 1 {
		t.Errorf("one event:\n%s", list)
	}
	if whole := s.must("audit", "verify"); strings.Count(whole, "whole") != 2 || strings.Contains(whole, "BROKEN") {
		t.Errorf("%s", whole)
	}
	exported := strings.Split(strings.TrimSpace(s.must("audit", "export", "--account", "acme")), "\n")
	var seq float64
	for _, line := range exported {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) != nil || entry["seq"] != seq+1 || len(entry["hash"].(string)) != 64 {
			t.Fatalf("line %v: %s", seq+1, line)
		}
		seq++
	}
	if later := s.must("audit", "export", "--since", "2999-01-01T00:00:00Z"); later != "" {
		t.Errorf("of the future: %s", later)
	}
	if all := s.must("audit", "export", "--since", "1h"); strings.Count(all, "\n") <= len(exported) {
		t.Errorf("of everybody:\n%s", all)
	}

	s.tamper(`DROP TRIGGER audit_events_update`, `UPDATE audit_events SET actor_id = 'uid:77' WHERE seq = 2 AND account_id <> ''`)
	code, stdout, stderr := s.try(nil, "audit", "verify")
	if code != 1 || !strings.Contains(stderr, "is broken at entry 2 (") || !strings.Contains(stderr, "it was changed") || !strings.Contains(stdout, "whole") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if code, _, _ := s.try(nil, "audit", "verify", "--platform"); code != 0 {
		t.Error("the other chain is broken too")
	}
}

// tamper works on the database as its owner can.
func (s *site) tamper(statements ...string) {
	s.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(s.dir, "data", "passmend.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, statement := range statements {
		if _, err := db.ExecContext(s.t.Context(), statement); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestAuditNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.refuses(2, "--event: must be one of "+string(core.AuditAccountCreated), "audit", "list", "--event", "none")
	s.refuses(2, "--limit: must be 1 to 100", "audit", "list", "--limit", "0")
	s.refuses(2, "--account or --platform", "audit", "verify", "--account", "acme", "--platform")
	s.refuses(2, "--since: must be a time", "audit", "export", "--since", "yesterday")
	s.refuses(1, "no account", "audit", "export", "--account", "none")
	s.refuses(2, "PASSMEND_AUDIT_RETENTION", "serve", "--audit-retention", "1h")
}

// An image is built where there is no database: nothing is made and nothing recorded.
func TestPluginTrustNeedsNoDatabase(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	data := filepath.Join(s.dir, "elsewhere")
	s.env = append(s.env, "PASSMEND_PLUGIN_DIR="+filepath.Join(s.dir, "plugins"), "PASSMEND_DATA_DIR="+data)
	public := s.must("plugin", "key", "vendor.key")
	s.must("plugin", "trust", "add", strings.TrimSpace(public), "--for", "acme-*")
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("a data directory was made: %v", err)
	}
	s.env = append(s.env, "PASSMEND_DATABASE_URL=postgres://nobody@127.0.0.1:1/none")
	if code, _, stderr := s.try(nil, "plugin", "trust", "add", strings.TrimSpace(public), "--for", "other-*"); code != 1 || !strings.Contains(stderr, "nothing was changed") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if list := s.must("plugin", "trust", "list"); strings.Contains(list, "other-") {
		t.Errorf("it was changed all the same:\n%s", list)
	}
}
