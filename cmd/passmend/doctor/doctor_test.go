package doctor

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/plugins/host"
)

// is holds a line to a state and, unless it is green, to a remedy.
func is(t *testing.T, what string, got Line, want State) {
	t.Helper()
	if got.State != want || got.Found == "" {
		t.Errorf("%s: %+v, want %s", what, got, want)
	}
	if (got.State != OK) != (got.Remedy != "") {
		t.Errorf("%s: the remedy of %s is %q", what, got.State, got.Remedy)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	is(t, "no file", Keys(path, time.Now())[0], Fail)
	if err := keys.Init(path); err != nil {
		t.Fatal(err)
	}
	for age, want := range map[time.Duration]State{0: OK, oldKey + time.Hour: Warn, ancientKey + time.Hour: Fail} {
		lines := Keys(path, time.Now().Add(age))
		is(t, "the file", lines[0], OK)
		if len(lines) != 7 {
			t.Errorf("%d lines, want one for the file and one for each of six slots", len(lines))
		}
		for _, line := range lines[1:] {
			is(t, age.String(), line, want)
		}
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	is(t, "readable by others", Keys(path, time.Now())[0], Fail)
}

func TestDatabase(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "passmend.db")
	is(t, "no file", DatabaseFile(path), Fail)
	if _, err := os.Stat(path); err == nil {
		t.Error("looking made a file")
	}
	for mode, want := range map[os.FileMode]State{0o600: OK, 0o644: Fail} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		is(t, mode.String(), DatabaseFile(path), want)
	}
	away := errors.New("away")
	is(t, "it answers", Opened("sqlite", nil), OK)
	is(t, "it is away", Opened("sqlite", away), Fail)
	is(t, "it is durable", Durability("postgresql", nil, false), OK)
	is(t, "it is not durable", Durability("postgresql", away, false), Fail)
	is(t, "it need not be durable", Durability("postgresql", away, true), Warn)
	is(t, "it need not be, and is", Durability("postgresql", nil, true), Warn)
	whole := []sqlstore.Migration{{Name: "0001_a", Applied: true}}
	behind := append(whole, sqlstore.Migration{Name: "0002_b"})
	is(t, "all steps", Schema(whole, nil, false), OK)
	is(t, "a step is missing", Schema(behind, nil, false), Fail)
	is(t, "serve will apply it", Schema(behind, nil, true), Warn)
	is(t, "nobody knows", Schema(nil, away, false), Fail)
	now := time.Now()
	for skew, want := range map[time.Duration]State{0: OK, time.Second: OK, -5 * time.Second: Warn, 5 * time.Second: Warn, -time.Hour: Fail, time.Hour: Fail} {
		is(t, skew.String(), Clock(now, now.Add(skew)), want)
	}
}

func TestDisk(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	is(t, "half is free", Disk("data", "/", 50*gib, 100*gib, true), OK)
	is(t, "a twentieth is free", Disk("data", "/", 5*gib, 100*gib, true), Warn)
	is(t, "a fiftieth is free", Disk("data", "/", 2*gib, 100*gib, true), Fail)
	is(t, "a small disk", Disk("data", "/", gib/8, gib/2, true), Fail)
	is(t, "not known", Disk("data", "/", 0, 0, false), Warn)
}

func TestPlugins(t *testing.T) {
	t.Parallel()
	cage := func(without ...string) (layers []host.Layer) {
		for _, name := range host.LayerNames() {
			missing := strings.Contains(strings.Join(without, ","), name)
			layers = append(layers, host.Layer{Name: name, Active: !missing, Reason: "the kernel has it not"})
		}
		return layers
	}
	up := host.Status{Name: "smtp", Version: "1", State: host.StateUp, Cage: cage()}
	lines := Plugin(up, "", true)
	is(t, "it came up", lines[0], OK)
	is(t, "its cage", lines[1], OK)
	if len(lines[1].Details) != len(host.LayerNames()) {
		t.Errorf("details are %q, want each layer", lines[1].Details)
	}
	up.Cage = cage("landlock_udp", "landlock_unix")
	is(t, "without what hardly a kernel has", Plugin(up, "", true)[1], OK)
	up.Cage = cage("seccomp")
	if line := Plugin(up, "", true)[1]; !strings.Contains(line.Found, "seccomp") {
		t.Errorf("it does not name the layer: %s", line.Found)
	} else {
		is(t, "without seccomp", line, Warn)
	}
	up.Cage = nil
	is(t, "no cage", Plugin(up, "", true)[1], Fail)
	down := host.Status{Name: "smtp", State: host.StateBackoff, LastError: "it crashed"}
	is(t, "needed and down", Plugin(down, "", true)[0], Fail)
	is(t, "not needed and down", Plugin(down, "", false)[0], Warn)
	is(t, "refused", Plugin(down, "no pin", true)[0], Fail)
	is(t, "not installed", Missing("pigeon", "birds"), Fail)
}

func TestProviders(t *testing.T) {
	t.Parallel()
	is(t, "no fault", Provider("relay", nil, nil), OK)
	is(t, "wrong", Provider("relay", errors.New("bad password"), nil), Fail)
	is(t, "unsure", Provider("relay", nil, errors.New("no answer")), Warn)
	is(t, "all", Chain(nil, []string{"b", "a"}), OK)
	is(t, "named", Chain([]string{"a"}, []string{"b", "a"}), OK)
	is(t, "unknown", Chain([]string{"c"}, []string{"b", "a"}), Fail)
	is(t, "none", Chain(nil, nil), Fail)
}

// fakeDNS has records by name; a name that is not there has none, and "away" cannot
// be asked.
type fakeDNS map[string][]string

func (f fakeDNS) find(name string) ([]string, error) {
	if strings.Contains(name, "away") {
		return nil, &net.DNSError{Err: "timeout", Name: name, IsTimeout: true}
	}
	if found, ok := f[name]; ok {
		return found, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}
func (f fakeDNS) LookupHost(_ context.Context, name string) ([]string, error) { return f.find(name) }
func (f fakeDNS) LookupTXT(_ context.Context, name string) ([]string, error)  { return f.find(name) }

func TestSenderRecords(t *testing.T) {
	t.Parallel()
	dns := fakeDNS{
		"reset.example.com": {"192.0.2.1"},
		"good.example":      {"google-site-verification=x", "v=spf1 include:mail.example ~all"},
		"two.example":       {"v=spf1 -all", "v=spf1 ~all"},
		"open.example":      {"v=spf1 +all"},

		"_dmarc.good.example":  {"v=DMARC1; p=reject; rua=mailto:d@good.example"},
		"_dmarc.watch.example": {"v=DMARC1; p=none"},
		"_dmarc.two.example":   {"v=DMARC1; p=none", "v=DMARC1; p=reject"},
		"_dmarc.bare.example":  {"v=DMARC1"},

		"s1._domainkey.good.example": {"v=DKIM1; k=rsa; p=MIIB"},
		"s2._domainkey.good.example": {"v=DKIM1; p="},
	}
	ctx := t.Context()
	is(t, "an address", Address(ctx, dns, "reset.example.com"), OK)
	is(t, "no address", Address(ctx, dns, "nowhere.example.com"), Fail)
	is(t, "nobody to ask", Address(ctx, dns, "away.example.com"), Warn)
	for domain, want := range map[string]State{"good.example": OK, "none.example": Fail, "two.example": Fail, "open.example": Fail, "away.example": Warn} {
		is(t, domain, SPF(ctx, dns, domain), want)
	}
	for domain, want := range map[string]State{
		"good.example": OK, "mail.good.example": OK, "none.example": Warn, "watch.example": Warn, "two.example": Fail, "bare.example": Fail, "away.example": Warn,
	} {
		is(t, domain, DMARC(ctx, dns, domain), want)
	}
	for selector, want := range map[string]State{"s1": OK, "s2": Fail, "s3": Fail, "away": Warn} {
		is(t, selector, DKIM(ctx, dns, selector, "good.example"), want)
	}
	is(t, "not signed by us", Unsigned("relay"), Warn)
}

func TestCertificate(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	address := server.Listener.Addr().String()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	ends := server.Certificate().NotAfter
	look := func(host string, roots *x509.CertPool, now time.Time) Line {
		return Certificate(t.Context(), host, address, roots, now)
	}
	is(t, "good", look("example.com", roots, time.Now()), OK)
	is(t, "another name", look("reset.other.example", roots, time.Now()), Fail)
	is(t, "an authority that nobody knows", look("example.com", x509.NewCertPool(), time.Now()), Fail)
	is(t, "near its end", look("example.com", roots, ends.Add(-48*time.Hour)), Warn)
	is(t, "ended", look("example.com", roots, ends.Add(time.Hour)), Fail)
	server.Close()
	is(t, "nobody there", look("example.com", roots, time.Now()), Warn)
}

func TestReport(t *testing.T) {
	t.Parallel()
	bad := Bad(Fail, "keys", "keys file", "passmend keys init", "it is not there")
	bad.Details = []string{"a detail"}
	report := NewReport("1.2.3", []Line{Good("configuration", "settings", "accepted"), bad, Bad(Warn, "disk", "disk of data", "look", "little room")})
	var plain, painted, machine bytes.Buffer
	if err := errors.Join(report.WriteText(&plain, false), report.WriteText(&painted, true), report.WriteJSON(&machine)); err != nil {
		t.Fatal(err)
	}
	want := `configuration
  OK    settings      accepted
keys
  FAIL  keys file     it is not there
                      a detail
                      -> passmend keys init
disk
  WARN  disk of data  little room
                      -> look

1 OK, 1 WARN, 1 FAIL
`
	if plain.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", &plain, want)
	}
	bare := painted.String()
	for _, code := range []string{ansiReset, ansiBold, ansi[OK], ansi[Warn], ansi[Fail]} {
		bare = strings.ReplaceAll(bare, code, "")
	}
	if bare != want || painted.String() == want {
		t.Errorf("colour changes words:\n%s", &painted)
	}
	var read Report
	if err := json.Unmarshal(machine.Bytes(), &read); err != nil || read.Fail != 1 || read.Lines[1].Remedy != "passmend keys init" {
		t.Errorf("%v: %s", err, &machine)
	}
}
