package chaos

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/passmend/passmend/core/sqlstore/pgtest"
)

// How hard a run is. `go test` takes the defaults, `make chaos` 25 kills; more is
// for by hand. From 25 kills on, the faults that take minutes are in too.
var (
	flagKills    = flag.Int("chaos.kills", 5, "processes to kill, for each engine")
	flagSeed     = flag.Uint64("chaos.seed", 0, "seed of victims and times; 0: a new one, printed")
	flagRate     = flag.Int("chaos.rate", 100, "requests a second under faults")
	flagPostgres = flag.Bool("chaos.postgres", false, "on PostgreSQL too, whatever the number of kills")
	flagRestarts = flag.Int("chaos.restarts", 0, "rolling restarts; 0: 2, or 10 from 25 kills on")
	// T37 asks for 20 by hand.
	flagPromotions = flag.Int("chaos.promotions", 3, "promotions of a standby, on PostgreSQL")
)

func thorough() bool { return *flagKills >= 25 }

// binaries is where passmend and its plugins are; faulty has a passmend that
// answers before the commit, for the control. Each has its plugins beside it.
var binaries, faulty string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "passmend-chaos-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binaries, faulty = dir, filepath.Join(dir, "faulty")
	// One after the other: the second finds nearly everything built.
	for _, args := range [][]string{
		{"build", "-o", binaries + "/", "..", "../../passmend-smtp"},
		{"build", "-tags", "faults", "-o", faulty + "/", "..", "../../passmend-smtp"},
	} {
		build := exec.Command("go", args...)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go %s: %v\n%s", strings.Join(args, " "), err, out)
			return 1
		}
	}
	// The tests wait most of the time, for processes: more may than there are processors.
	if !given("test.parallel") {
		if err := flag.Set("test.parallel", "8"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return pgtest.Main(m)
}

// given says whether the command line names the flag.
func given(name string) (named bool) {
	flag.Visit(func(f *flag.Flag) { named = named || f.Name == name })
	return named
}

// site is a deployment of its own: a data directory, a sink in this process, the
// real command, and as many users as the load will ask for.
type site struct {
	t         *testing.T
	dir       string
	database  string // URL
	executive string // the passmend that is run
	env       []string
	through   []string // wins over env, for servers
	sink      *Sink
	ledger    *ledger
	addresses []string
}

// siteConfig is where sites differ.
type siteConfig struct {
	database string // URL; empty: SQLite in the data directory
	through  string // URL by which the servers reach the database; empty: the same
	command  string // empty: the right one
	users    int
	proxied  bool // the plugin reaches the sink through proxy
	env      []string
	dir      string // empty: a new one
}

const account = "chaos"

// newSite makes keys, a provider that leads to the sink, the account and its users.
// With a proxy, the plugin reaches the sink through it.
func newSite(t *testing.T, config siteConfig) (s *site, proxy *Proxy) {
	t.Helper()
	s = &site{t: t, dir: config.dir, database: config.database, executive: config.command}
	if s.dir == "" {
		s.dir = t.TempDir()
	}
	if s.executive == "" {
		s.executive = filepath.Join(binaries, "passmend")
	}
	data := filepath.Join(s.dir, "data")
	if s.database == "" {
		s.database = "sqlite://" + filepath.Join(data, "passmend.db")
	}
	s.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "TMPDIR=" + temporary(t),
		"PASSMEND_DATA_DIR=" + data, "PASSMEND_DATABASE_URL=" + s.database, "PASSMEND_PLUGIN_DIR=" + filepath.Dir(s.executive),
		"PASSMEND_BASE_URL=http://127.0.0.1:8080", "PASSMEND_LOG_LEVEL=warn", "PASSMEND_DRAIN_DELAY=1s",
		"PASSMEND_LIMIT_RSTPWD=off", "PASSMEND_LIMIT_IP=off", "PASSMEND_LIMIT_IP_DAY=off", "PASSMEND_LIMIT_ACCOUNT=off",
	}, config.env...)
	if config.through != "" {
		s.through = []string{"PASSMEND_DATABASE_URL=" + config.through}
	}

	journals := t.TempDir()
	sink, err := NewSink(SinkConfig{Journal: filepath.Join(journals, "mails"), Delay: 30 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	s.sink = sink
	sink.Start()
	t.Cleanup(func() {
		if err := sink.Stop(); err != nil {
			t.Errorf("sink: %v", err)
		}
	})
	relay := sink.Addr()
	if config.proxied {
		if proxy, err = NewProxy(relay); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = proxy.Close() })
		relay = proxy.Addr()
	}
	host, port, err := net.SplitHostPort(relay)
	if err != nil {
		t.Fatal(err)
	}
	s.env = append(s.env, "PASSMEND_PLUGIN_PORTS=smtp:"+port)
	s.must("migrate", "up")
	s.must("keys", "init")
	s.must("provider", "add", "relay", "--plugin", "smtp", "--set", "host="+host, "--set", "port="+port, "--set", "tls=none")
	s.must("account", "create", account, "--name", "Chaos", "--from-address", "no-reply@chaos.example")
	run := strconv.FormatUint(rand.Uint64(), 36)
	for n := range config.users {
		s.addresses = append(s.addresses, fmt.Sprintf("u%d.%s@sink.test", n, run))
	}
	s.ledger = openLedger(t, s)
	s.ledger.createUsers(s.addresses)
	return s, proxy
}

// temporary gives the servers a directory for their sockets, which those that are
// killed leave behind. Not t.TempDir: a socket's path has to be short.
func temporary(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "chaos-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (s *site) mails() []Mail {
	s.t.Helper()
	mails, err := ReadMails(s.sink.config.Journal)
	if err != nil {
		s.t.Fatal(err)
	}
	return mails
}

// must runs the command; it has to succeed.
func (s *site) must(args ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.executive, args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("passmend %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// load is a Load on servers of this site, over its users from number first on.
func (s *site) load(servers []*server, addresses []string, rate int) *Load {
	s.t.Helper()
	var targets []string
	for _, srv := range servers {
		targets = append(targets, srv.base)
	}
	load, err := NewLoad(LoadConfig{
		Targets: targets, Path: "/v1/accounts/" + account + "/passwords", Addresses: addresses,
		Rate: rate, Callers: 16, Journal: filepath.Join(s.t.TempDir(), "operations"),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	load.Start()
	s.t.Cleanup(func() { _ = load.Stop() })
	return load
}

func operations(t *testing.T, load *Load) []Operation {
	t.Helper()
	if err := load.Stop(); err != nil {
		t.Fatal(err)
	}
	ops, err := ReadOperations(load.config.Journal)
	if err != nil {
		t.Fatal(err)
	}
	return ops
}

// acceptedSince says whether a request was accepted since then.
func acceptedSince(load *Load, since time.Time) bool {
	ops, err := ReadOperations(load.config.Journal)
	return err == nil && slices.ContainsFunc(ops, func(op Operation) bool { // err: the last line is being written
		return op.Outcome == OK && op.At.After(since)
	})
}

func eventually(t *testing.T, within time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to pass within %s: %s", within, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
