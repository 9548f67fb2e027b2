package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/tenants"
)

const (
	importBcrypt = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW" // U*U
	importScrypt = "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw"
)

// readLines gives every line of a file in one string each: number, field and what is
// accepted, or what was read.
func readLines(t *testing.T, format, text string) []string {
	t.Helper()
	lines, err := newImportReader(format, strings.NewReader(text))
	if err != nil {
		return []string{err.Error()}
	}
	var all []string
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if line.flaw != nil {
			all = append(all, fmt.Sprintf("%d %s: %.24s", line.number, line.flaw.Field, line.flaw.Text))
			continue
		}
		r := line.record
		all = append(all, fmt.Sprintf("%d %s|%s|%s|%s|%s|%v|%s", line.number, r.Email, r.PasswordHash, r.FirstName, r.LastName, r.Role, r.Banned, r.Metadata))
	}
}

func TestImportFilesAreReadStrictly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, format, text string
		want               []string
	}{
		{
			"JSON", "jsonl", "\xef\xbb\xbf" + `{"email":"a@example.com","password_hash":"$2b$","FIRST-NAME":"A","lastName":null,"role":"user","banned":true,"metadata":{"a":1}}` +
				"\r\n\n" + `{"email":"b@example.com"}`,
			[]string{`1 a@example.com|$2b$|A||user|true|{"a":1}`, "3 b@example.com|||||false|"},
		},
		{
			"JSON that is none", "jsonl",
			`[]` + "\n" + `{"email":"a"` + "\n" + `"a"` + "\n" + `{"email":1}` + "\n" + `{"email":"a","email":"b"}` + "\n" + `{"email":"a","E-Mail":"b"}` + "\n" +
				`{"ada@example.com":1}` + "\n" + `{"banned":"yes"}` + "\n" + strings.Repeat(" ", 200_000) + "{}x\n" + `{"email":"z"}`,
			[]string{
				"1 line: must be one JSON object,", "2 line: must be one JSON object,", "3 line: must be one JSON object,", "4 email: must be a string",
				"5 members: must be among email, pas", "6 members: must be among email, pas", "7 members: must be among email, pas",
				"8 banned: must be true or false", "9 line: must be at most 131072 b", "10 z|||||false|",
			},
		},
		{
			"CSV", "csv", "Email,password hash,metadata\na@example.com,$2b$,\"{\"\"a\"\":1}\"\nb@example.com,,\n",
			[]string{"FILE: line 1: column 2: must be a header: must be among email, passwordHash, firstName, lastName, role, banned, metadata, id, each once"},
		},
		{
			"CSV with quotes", "csv", "Email,password_hash,last-name,metadata\na@example.com,\"$argon2id$v=19$m=1,t=2,p=1$a\",\"Love\nlace\",\"{\"\"a\"\":1}\"\nb@example.com,,,\nc,d\n\"e\"x,,,\nf@example.com,,,\n",
			[]string{
				"2 a@example.com|$argon2id$v=19$m=1,t=2,p=1$a||Love\nlace||false|{\"a\":1}", "4 b@example.com|||||false|",
				"5 line: must have 4 columns, as ", "6 line: must be CSV: fields with", "7 f@example.com|||||false|",
			},
		},
		{"CSV without a header", "csv", "ada@example.com,x\n", []string{"FILE: line 1: column 1: must be a header: must be among email, passwordHash, firstName, lastName, role, banned, metadata, id, each once"}},
		{"an empty CSV", "csv", "", []string{"FILE: line 1: must be a header with the column email; columns must be among email, passwordHash, firstName, lastName, role, banned, metadata, id, each once"}},
	} {
		if diff := cmp.Diff(c.want, readLines(t, c.format, c.text)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func FuzzImportLine(f *testing.F) {
	f.Add(`{"email":"a@example.com","passwordHash":"` + importBcrypt + `","metadata":{"a":[1]}}`)
	f.Add(`{"email":null,"banned":0}`)
	f.Add("email\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		for _, format := range []string{"jsonl", "csv"} {
			lines, err := newImportReader(format, strings.NewReader(text))
			for err == nil {
				var line importLine
				if line, err = lines.next(); err == nil && line.flaw != nil && strings.Contains(line.flaw.Text, "@") && !strings.Contains(line.flaw.Text, "ada@example.com") {
					t.Errorf("the flaw repeats what was read: %s", line.flaw.Text)
				}
			}
		}
	})
}

// An import through the command: what is wrong is named by line and field and never
// repeated, the rest is in; again, nobody is doubled; the password works.
func TestUsersAreImported(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const secret = "Vk9pd6cJzQ1"
	lines := []string{
		`{"email":"Grace@Example.com","passwordHash":"` + importBcrypt + `","firstName":"Grace","metadata":{"plan":"gold"}}`,
		`{"email":"` + secret + `","passwordHash":"` + importBcrypt + `"}`,
		`{"email":"linus@example.com","passwordHash":"$2b$31$` + secret + `"}`,
		`{"email":"ada@example.com","passwordHash":"` + importBcrypt + `"}`,
		`{"email":"grace@example.com"}`,
		`{"email":"role@example.com","role":"king"}`,
		`{"email":"id@example.com","id":"` + secret + `"}`,
		`{"email":"none@example.com","banned":true,"id":"0197C0DE-0000-7000-8000-00000000ABCD"}`,
		`{"email":"scrypt@example.com","passwordHash":"` + importScrypt + `"}`,
		`{"email":"deep@example.com","metadata":{"a":{"b":{"c":{"d":{"e":1}}}}}}`,
	}
	path := filepath.Join(s.dir, "users.jsonl")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := s.try(nil, "user", "import", path, "--account", "acme", "--dry-run")
	if code != 1 || !strings.Contains(stdout, "10 lines: 3 would be created, 1 there already, 6 refused") {
		t.Errorf("dry run: exit %d: %s%s", code, stdout, stderr)
	}
	if list := s.must("user", "list", "--account", "acme"); strings.Contains(list, "grace") {
		t.Error("a dry run stores")
	}
	rejects := filepath.Join(s.dir, "rejects")
	code, stdout, stderr = s.try(nil, "user", "import", path, "--account", "acme", "--rejects", rejects)
	if code != 1 || !strings.Contains(stdout, "10 lines: 3 created, 1 there already, 6 refused") || !strings.Contains(stdout, "1 bcrypt, 1 scrypt, 1 without a password") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if !strings.Contains(stderr, "1 hashes are bcrypt of a cost below 10") {
		t.Errorf("no warning of the weak hash: %s", stderr)
	}
	refused, err := os.ReadFile(rejects)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		"line 2: email: must be an address as ada@example.com", "line 3: passwordHash: must be a hash in PHC form: $2a$, $2b$ or $2y$ of cost 4 to 15",
		"line 5: email: must not be that of another line (it is that of line 1)", "line 6: role: must be one of admin, user", "line 7: id: must be a UUID",
		"line 10: metadata: is nested too deep (maximum is 4 levels)",
	} {
		if got := strings.Split(string(refused), "\n")[i]; !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if strings.Contains(stdout+stderr+string(refused), secret) || strings.Contains(string(refused), "grace") {
		t.Error("an address or a hash is repeated")
	}
	code, stdout, _ = s.try(nil, "user", "import", path, "--account", "acme")
	if code != 1 || !strings.Contains(stdout, "0 created, 4 there already, 6 refused") {
		t.Errorf("again: exit %d: %s", code, stdout)
	}
	if shown := s.must("user", "show", "none@example.com", "--account", "acme"); !strings.Contains(shown, "0197c0de-0000-7000-8000-00000000abcd") || !strings.Contains(shown, "BANNED") {
		t.Error(shown)
	}
	if hashes := s.must("user", "hashes", "--account", "acme"); !strings.Contains(hashes, "$2b$05") || !strings.Contains(hashes, "$scrypt$ln=14,r=8,p=1") {
		t.Error(hashes)
	}
	for _, args := range [][]string{
		{"user", "import", path, "--account", "acme", "--format", "xml"}, {"user", "import", filepath.Join(s.dir, "x"), "--account", "acme"},
		{"user", "import", filepath.Join(s.dir, "none.csv"), "--account", "acme"}, {"user", "import", path},
	} {
		if code, _, stderr := s.try(nil, args...); code != 2 || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
	}
}

// importStore counts, and ends the run after so many batches.
type importStore struct {
	core.UserImports
	batches, stopAfter int
	stop               context.CancelFunc
	addresses          map[string]bool
}

func (s *importStore) ImportUsers(_ context.Context, _ tenants.AccountID, users []core.ImportedUser) ([]core.ImportOutcome, error) {
	outcomes := make([]core.ImportOutcome, len(users))
	for i, u := range users {
		if s.addresses[u.Address.Reveal()] {
			outcomes[i] = core.ImportPresent
		}
		s.addresses[u.Address.Reveal()] = true
	}
	if s.batches++; s.batches == s.stopAfter {
		s.stop()
	}
	return outcomes, nil
}

// An import that was interrupted goes on where it was: nobody is lost or doubled.
func TestAnInterruptedImportGoesOn(t *testing.T) {
	t.Parallel()
	keysFile := filepath.Join(t.TempDir(), "keys.json")
	if err := keys.Init(keysFile); err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(keysFile)
	if err != nil {
		t.Fatal(err)
	}
	hashes, err := keys.NewPasswords(keys.PasswordsConfig{Keys: ring})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	const n = 3*core.ImportBatch + 7
	for i := range n {
		fmt.Fprintf(&text, "{\"email\":\"u%d@example.com\",\"passwordHash\":%q}\n", i, importBcrypt)
	}
	store := &importStore{addresses: make(map[string]bool), stopAfter: 2}
	run := func(ctx context.Context) (*importRun, string, error) {
		reader := &countingReader{Reader: strings.NewReader(text.String())}
		lines, err := newImportReader("jsonl", reader)
		if err != nil {
			t.Fatal(err)
		}
		r := &importRun{
			store: store, lines: lines, rejects: io.Discard, seen: make(map[[16]byte]int), algorithms: make(map[string]int),
			importer: &core.Importer{Hashes: hashes, NewID: newID}, progress: newProgress(io.Discard, int64(text.Len()), reader),
		}
		var out strings.Builder
		err = r.all(ctx, &out, io.Discard)
		return r, out.String(), err
	}
	ctx, stop := context.WithCancel(t.Context())
	store.stop = stop
	first, _, err := run(ctx)
	if err == nil || !strings.Contains(err.Error(), "interrupted after 1000 lines") || first.created != 2*core.ImportBatch {
		t.Errorf("%d created, %v", first.created, err)
	}
	second, out, err := run(t.Context())
	if err != nil || second.created != n-2*core.ImportBatch || second.present != 2*core.ImportBatch || len(store.addresses) != n {
		t.Errorf("%d created, %d there, %d stored, %v: %s", second.created, second.present, len(store.addresses), err, out)
	}
}

func TestProgressIsABarOnATerminalOnly(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	reader := &countingReader{Reader: strings.NewReader(strings.Repeat("x", 50))}
	_, _ = io.ReadAll(reader)
	run := &importRun{read: 10, created: 9, refused: 1}
	p := newProgress(&out, 100, reader)
	p.draw(run, p.began.Add(2e9))
	if got := out.String(); got != "passmend:  50%  10 lines, 9 created, 0 there already, 1 refused, 5/s\n" {
		t.Errorf("a line: %q", got)
	}
	out.Reset()
	p.width = 110
	p.draw(run, p.began.Add(2e9))
	p.clear()
	if got := out.String(); !strings.HasPrefix(got, "[###############...............]  50%  10 lines") || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("a bar: %q", got)
	}
	out.Reset()
	p.width = 40
	p.draw(run, p.began.Add(2e9))
	if got := out.String(); len(got) > 39 || strings.Contains(got, "#") {
		t.Errorf("a narrow terminal: %q", got)
	}
}
