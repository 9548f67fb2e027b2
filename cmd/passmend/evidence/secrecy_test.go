package evidence

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/passmend/passmend/core/sqlstore/pgtest"
	"github.com/passmend/passmend/plugins/smtp/smtptest"
)

// What must not be found, but for links and tokens, which are made on the way.
const (
	knownAddress    = "ada.canary@example.com"
	unknownAddress  = "eve.canary@example.net"
	importedAddress = "ida.canary@example.org"
	toldAddress     = "tom.canary@example.com"
	formAddress     = "fay.canary@example.com"
	newPassword     = "canary-new-password-77"
	wrongPassword   = "canary-wrong-password-31"
	importPassword  = "canary-import-password-02"
	formPassword    = "canary-form-password-58"
	refusedPassword = "canary-refused-password-66"
	telltaleKey     = "canary-telltale-key-b81d"
)

// leaks are the control: what is let out on purpose, by the place where it must be
// found. Spans have it of a caller's User-Agent, metrics of a plugin's version, the
// log of a plugin that prints the account's name.
var leaks = map[string]string{
	"spans": "canary-of-the-spans", "metrics": "canary-of-the-metrics", "log": "canary-of-the-log",
	"sessions": "canary-of-the-sessions", "database's log": "canary-of-the-databases-log", "processes": "canary-of-the-processes",
}

// leakIntoDatabase is the control of the database's columns.
const leakIntoDatabase = "canary-of-the-database"

// T19: a whole journey at log level debug, with every span sent out, and nowhere is
// there what must not be known.
func TestT19NothingSecretIsLeftBehind(t *testing.T) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		searchAfterJourney(t, "", func() string { return "" })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		dir := pgtest.Dir(t)
		cluster, err := pgtest.NewCluster(dir, map[string]string{"fsync": "off"})
		if err != nil && os.Getenv("CI") != "true" {
			t.Skipf("NOT TESTED on PostgreSQL: %v", err)
		}
		if err == nil {
			err = cluster.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cluster.Stop() })
		searchAfterJourney(t, cluster.URL("postgres"), func() string {
			content, err := os.ReadFile(filepath.Join(dir, "log"))
			if err != nil {
				t.Fatal(err)
			}
			return string(content)
		})
	})
}

// searchAfterJourney runs the service on a database, SQLite when the URL is empty,
// and searches everything that it leaves behind.
func searchAfterJourney(t *testing.T, database string, databaseLog func() string) {
	collector := startCollector(t)
	env := append(tracingTo("grpc", collector.grpcURL), "PASSMEND_PLUGIN_DIR="+telling, "PASSMEND_PLUGIN_ALLOW_UNPINNED=telltale,smtp")
	if database != "" {
		env = append(env, "PASSMEND_DATABASE_URL="+database, "PASSMEND_ALLOW_UNSAFE_DURABILITY=true")
	}
	watched := watchProcesses(t)
	s := newSite(t, smtptest.Options{}, env...)
	embedded := database == ""
	if embedded {
		database = "sqlite://" + filepath.Join(s.dir, "data", "passmend.db")
	}
	db := openDatabase(t, database)
	sessions := watchSessions(t, db, embedded)
	srv := s.serve()
	canaries := s.journey(db, embedded)
	metrics := s.metrics() + (&site{t: t, base: s.admin}).send("GET", "/metrics", "", "Accept", "application/openmetrics-text; version=1.0.0").body
	leftBehind := dumpOf(t, db, embedded)
	s.leak(db, embedded)
	leakIntoProcesses(t, leaks["processes"])
	srv.stop()

	places := map[string]folded{
		"spans": fold(collector.text()), "metrics": fold(metrics), "log": fold(srv.out.String()),
		"sessions": fold(sessions()), "database's log": fold(databaseLog()), "processes": fold(watched.text()),
	}
	for name, want := range map[string]string{
		"spans": "process reset", "metrics": "passmend_build_info", "log": "telltale plain", "processes": "passmend-smtp",
	} {
		if !strings.Contains(string(places[name]), want) {
			t.Errorf("%s: %q is not there: it shows nothing", name, want)
		}
	}
	for _, c := range canaries {
		for place, text := range places {
			if as := found(text, c.value); len(as) > 0 {
				t.Errorf("%s is in the %s, %s: %s", c.name, place, as, around(string(text), c.value))
			}
		}
	}
	for _, fault := range leftBehind.faults(canaries) {
		t.Error(fault)
	}
	// The control: what was let out is found, in each.
	for place, text := range places {
		if embedded && (place == "sessions" || place == "database's log") {
			continue
		}
		if leak, ok := leaks[place]; !ok || len(found(text, leak)) == 0 {
			t.Errorf("%s: what was let out is not found", place)
		}
	}
	if database := dumpOf(t, db, embedded); len(database.faults([]canary{{name: "the control", value: leakIntoDatabase}})) == 0 {
		t.Error("database: what was let out is not found")
	}
	if embedded {
		t.Run("files", func(t *testing.T) { s.searchFiles(canaries) })
	}
}

// around is where a value stands, for whoever has to look.
func around(text, value string) string {
	at := strings.Index(text, strings.ToLower(value))
	if at < 0 {
		return "encoded"
	}
	return text[max(0, at-200):min(len(text), at+len(value)+50)]
}

// faults are the columns that hold what they may not.
func (d dump) faults(canaries []canary) (faults []string) {
	for column, values := range d.columns {
		in := text(values)
		for _, c := range canaries {
			if as := found(in, c.value); len(as) > 0 && !slices.Contains(c.allowed, column) {
				faults = append(faults, fmt.Sprintf("%s is in %s, %s", c.name, column, as))
			}
		}
	}
	return faults
}

// journey does all that people do, and gives what must not be found.
func (s *site) journey(db *sql.DB, embedded bool) []canary {
	s.t.Helper()
	users := []string{"users.address"} // design.md: a user's own address is in clear
	s.must("", "account", "create", "told", "--name", leaks["log"], "--from-address", "no-reply@told.example", "--providers", "tell")
	s.addProvider(telltaleKey, "tell", "--plugin", "telltale", "--account", "told", "--secret", "key=@-")
	operator := s.must("", "token", "create", "--operator")
	body := fmt.Sprintf(`{"data":{"type":"users","attributes":{"email":%q,"firstName":"Ida","password":%q}}}`, importedAddress, importPassword)
	for range 2 { // the second meets the first
		if got := s.send("POST", "/v1/accounts/acme/users", body, "Authorization", "Bearer "+operator); got.status != http.StatusCreated && got.status != http.StatusConflict && got.status != http.StatusUnprocessableEntity {
			s.t.Fatalf("import: %d %s", got.status, got.body)
		}
	}
	endpoint, rotated := s.subscribe(operator)
	s.register(knownAddress, oldPassword)
	s.forget(knownAddress, "User-Agent", leaks["spans"])
	s.forget(unknownAddress)
	token := s.token(knownAddress)
	s.send("GET", "/acme/r/"+token, "")
	wrong := token[:10] + "_" + token[11:]
	s.redeem(knownAddress, wrong, newPassword)
	s.redeem(knownAddress, token, "short")
	if got := s.redeem(knownAddress, token, newPassword); got.status != http.StatusOK {
		s.t.Fatalf("redeem: %d %s", got.status, got.body)
	}
	s.redeem(knownAddress, token, newPassword)
	session := s.signIn(knownAddress, newPassword)
	s.signIn(knownAddress, wrongPassword)
	s.signIn(unknownAddress, wrongPassword)
	// Another address that is taken, by a change.
	s.send("PATCH", "/v1/accounts/acme/users/"+importedAddress, fmt.Sprintf(`{"data":{"type":"users","attributes":{"email":%q}}}`, knownAddress), "Authorization", "Bearer "+operator)
	s.register(formAddress, "")
	s.resetByForm(formAddress, refusedPassword+strings.Repeat("x", 300), formPassword)
	s.tell()
	eventually(s.t, "an event was signed", func() bool {
		return strings.Contains(s.metrics(), `passmend_webhook_duration_seconds_count{result="temporary"}`)
	})
	if !embedded {
		s.failStatements(db)
	}
	eventually(s.t, "the notice is out", func() bool { return len(s.relay.Messages()) >= 4 })
	return []canary{
		{name: "a user's address", value: knownAddress, allowed: users},
		{name: "an imported user's address", value: importedAddress, allowed: users},
		{name: "the address that a plugin tells", value: toldAddress, allowed: users},
		{name: "the address that was typed into a form", value: formAddress, allowed: users},
		{name: "nobody's address", value: unknownAddress},
		{name: "a token", value: token}, {name: "a token that was guessed", value: wrong},
		{name: "a link", value: s.base + "/acme/r/" + token},
		{name: "the old password", value: oldPassword}, {name: "the new password", value: newPassword},
		{name: "the form's password", value: formPassword}, {name: "a password that the form refused", value: refusedPassword},
		{name: "a webhook endpoint's secret", value: endpoint}, {name: "the secret after it", value: rotated},
		{name: "a wrong password", value: wrongPassword}, {name: "an imported password", value: importPassword},
		{name: "the provider's secret", value: relayPassword}, {name: "the telltale's secret", value: telltaleKey},
		{name: "an operator's API token", value: operator}, {name: "a user's API token", value: session},
	}
}

// subscribe makes a webhook endpoint that is told of everything, though no plugin is
// there to tell it, and gives its secret and the one after that.
func (s *site) subscribe(operator string) (secret, rotated string) {
	s.t.Helper()
	got := s.send("POST", "/v1/accounts/acme/webhook-endpoints",
		`{"data":{"type":"webhook-endpoints","attributes":{"url":"https://hooks.example.com/"}}}`, "Authorization", "Bearer "+operator)
	var document struct {
		Data struct{ ID string }
		Meta struct{ Secret string }
	}
	if err := json.Unmarshal([]byte(got.body), &document); err != nil || got.status != http.StatusCreated {
		s.t.Fatalf("subscribe: %d %s", got.status, got.body)
	}
	var found bool
	if secret, found = strings.CutPrefix(document.Meta.Secret, "whsec_"); !found {
		s.t.Fatalf("no secret in %s", got.body)
	}
	if _, rotated, found = strings.Cut(s.must("", "webhook", "rotate", document.Data.ID, "--account", "acme"), "whsec_"); !found {
		s.t.Fatal("a rotation prints no secret")
	}
	return secret, rotated
}

// tell has the plugin that prints everything be handed a mail.
func (s *site) tell() {
	s.t.Helper()
	got := s.send("POST", "/v1/accounts/told/users", fmt.Sprintf(`{"data":{"type":"users","attributes":{"email":%q,"firstName":"Tom"}}}`, toldAddress))
	if got.status != http.StatusCreated {
		s.t.Fatalf("register: %d %s", got.status, got.body)
	}
	if got := s.send("POST", "/v1/accounts/told/passwords", fmt.Sprintf(`{"meta":{"email":%q}}`, toldAddress)); got.status != http.StatusAccepted {
		s.t.Fatalf("forget: %d %s", got.status, got.body)
	}
	eventually(s.t, "the telltale has its mail", func() bool {
		return strings.Contains(s.metrics(), `provider="telltale",result="accepted"`)
	})
}

// signIn gives the API token, or nothing.
func (s *site) signIn(address, password string) string {
	s.t.Helper()
	got := s.send("POST", "/v1/accounts/acme/tokens", "", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(address+":"+password)))
	var document struct {
		Data struct{ Attributes struct{ Token string } }
	}
	if got.status == http.StatusCreated && json.Unmarshal([]byte(got.body), &document) != nil {
		s.t.Fatalf("no token in %s", got.body)
	}
	return document.Data.Attributes.Token
}

// failStatements has PostgreSQL refuse what the service asks, and write that down.
func (s *site) failStatements(db *sql.DB) {
	s.t.Helper()
	for _, table := range []string{"users", "requests"} {
		if _, err := db.Exec(`ALTER TABLE ` + table + ` RENAME TO away`); err != nil {
			s.t.Fatal(err)
		}
		s.signIn(knownAddress, wrongPassword)
		s.redeem(knownAddress, "AQ"+strings.Repeat("x", 41), newPassword)
		s.send("POST", "/v1/accounts/acme/passwords", fmt.Sprintf(`{"meta":{"email":%q}}`, unknownAddress))
		if _, err := db.Exec(`ALTER TABLE away RENAME TO ` + table); err != nil {
			s.t.Fatal(err)
		}
	}
}

// watchSessions gives what PostgreSQL showed of its sessions' statements meanwhile.
func watchSessions(t *testing.T, db *sql.DB, embedded bool) (seen func() string) {
	t.Helper()
	statements := make(map[string]bool)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	if !embedded {
		done.Go(func() {
			for ctx.Err() == nil {
				rows, err := db.QueryContext(ctx, `SELECT query FROM pg_stat_activity WHERE pid <> pg_backend_pid()`)
				if err != nil {
					continue
				}
				for rows.Next() {
					var statement string
					if rows.Scan(&statement) == nil {
						statements[statement] = true
					}
				}
				_ = rows.Close()
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	t.Cleanup(func() { cancel(); done.Wait() })
	return func() string {
		cancel()
		done.Wait()
		var all strings.Builder
		for statement := range statements {
			fmt.Fprintln(&all, statement)
		}
		return all.String()
	}
}

// leak puts what is let out into the database, its sessions and its log.
func (s *site) leak(db *sql.DB, embedded bool) {
	s.t.Helper()
	if _, err := db.Exec(`UPDATE users SET last_name = '` + base64.StdEncoding.EncodeToString([]byte("is "+leakIntoDatabase)) + `'`); err != nil {
		s.t.Fatal(err)
	}
	if embedded {
		return
	}
	if _, err := db.Exec(`SELECT pg_sleep(0.3), '` + leaks["sessions"] + `'`); err != nil {
		s.t.Fatal(err)
	}
	if _, err := db.Exec(`SELECT '` + leaks["database's log"] + `' FROM no_such_table`); err == nil {
		s.t.Fatal("a table that is not there was read")
	}
}

// searchFiles looks into the database's files as they are, free pages included.
func (s *site) searchFiles(canaries []canary) {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "data", "passmend.db*"))
	if err != nil || len(files) == 0 {
		s.t.Fatalf("no database files: %v", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, c := range canaries {
			if as := found(fold(string(content)), c.value); len(as) > 0 && len(c.allowed) == 0 {
				s.t.Errorf("%s is in %s, %s", c.name, filepath.Base(file), as)
			}
		}
	}
}
