package chaos

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/passmend/passmend/core/sqlstore/pgtest"
)

// nemesis kills processes of a site at random times.
type nemesis struct {
	t        *testing.T
	site     *site
	servers  []*server
	random   *rand.Rand
	pause    time.Duration   // longest, before a kill
	down     time.Duration   // longest, before the restart
	cluster  *pgtest.Cluster // nil: SQLite
	outages  outages
	inFlight inFlight
	kills    map[string]int
	every    time.Duration // on average from one kill of a storm to the next
}

func newNemesis(t *testing.T, s *site, servers ...*server) *nemesis {
	t.Helper()
	seed := *flagSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed: -chaos.seed=%d", seed)
	n := &nemesis{
		t: t, site: s, servers: servers, random: rand.New(rand.NewPCG(seed, 0)),
		pause: 3 * time.Second, down: 2 * time.Second,
		inFlight: make(inFlight), kills: make(map[string]int),
	}
	if !thorough() {
		n.pause, n.down = n.pause/2, n.down/4
	}
	return n
}

func (n *nemesis) upTo(most time.Duration) time.Duration {
	return time.Duration(n.random.Int64N(int64(most)))
}

// strike waits, kills one victim and brings it back; number of how many it is.
func (n *nemesis) strike(victim string, number, of int) {
	n.t.Helper()
	time.Sleep(n.upTo(n.pause))
	srv := n.servers[n.random.IntN(len(n.servers))]
	begun, hit := time.Now(), 0
	switch victim {
	case "server":
		srv.kill()
		hit = n.seeInFlight()
		time.Sleep(n.upTo(n.down))
		srv.up()
	case "group":
		srv.kill(children(srv.pid())...)
		hit = n.seeInFlight()
		time.Sleep(n.upTo(n.down))
		srv.up()
	case "plugin":
		hit = n.killPlugin(srv) // the host brings it back
	case "postmaster":
		hit = n.seeInFlight()
		n.outage(func() {
			if err := n.cluster.Kill(); err != nil {
				n.t.Fatal(err)
			}
		})
		time.Sleep(n.upTo(n.down))
		startCluster(n.t, n.cluster)
		hit += n.seeInFlight()
	case "backend":
		hit = n.seeInFlight()
		n.killBackend()
		hit += n.seeInFlight()
	default:
		n.t.Fatalf("no way to kill %q", victim)
	}
	n.kills[victim]++
	n.t.Logf("kill %d of %d: %s at %s, %d more mails under way, back after %s", number, of, victim, begun.Format("15:04:05.000"), hit, time.Since(begun).Round(time.Millisecond))
}

// killPlugin freezes the plugins first: then what is under way in them is what the
// ledger says it is, and stays so until they are dead.
func (n *nemesis) killPlugin(srv *server) (hit int) {
	pids := children(srv.pid())
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	hit = n.seeInFlight()
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return hit
}

func (n *nemesis) seeInFlight() int {
	n.t.Helper()
	ids, err := n.site.ledger.underWay()
	if err != nil {
		n.t.Fatal(err)
	}
	return n.inFlight.add(ids)
}

// outage remembers when the database went away: the refusal of what was asked for
// before can be of a commit whose answer died with it.
func (n *nemesis) outage(of func()) {
	begun := time.Now()
	of()
	n.outages = append(n.outages, [2]time.Time{begun, time.Now()})
}

// killBackend kills one of PostgreSQL's processes that serve us; the others end
// themselves then, and the server recovers as after a crash.
func (n *nemesis) killBackend() {
	n.t.Helper()
	pids := n.site.ledger.strings(`SELECT CAST(pid AS text) FROM pg_stat_activity
		WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`)
	if len(pids) == 0 {
		return
	}
	pid, err := strconv.Atoi(pids[n.random.IntN(len(pids))])
	if err != nil {
		n.t.Fatal(err)
	}
	n.outage(func() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		time.Sleep(50 * time.Millisecond) // the postmaster ends the others
	})
	eventually(n.t, time.Minute, "PostgreSQL has recovered", func() bool { return n.site.ledger.unfinished() >= 0 })
}

// outages are the times within which the database went away: not before and not
// after.
type outages [][2]time.Time

// unsure turns refusals into unknown outcomes where the database went away after
// they were asked for.
func (o outages) unsure(ops []Operation) []Operation {
	asked := make(map[string]time.Time)
	for i, op := range ops {
		if op.Outcome == Invoked {
			asked[op.Address] = op.At
		}
		for _, outage := range o {
			if op.Outcome == Fail && op.Status == http.StatusServiceUnavailable &&
				asked[op.Address].Before(outage[1]) && op.At.After(outage[0]) {
				ops[i].Outcome = Info
			}
		}
	}
	return ops
}

// storm kills so many of the victims, each at least once if there is room.
func (n *nemesis) storm(kills int, victims ...string) {
	n.t.Helper()
	order := make([]string, 0, kills)
	for i := range kills {
		order = append(order, victims[i%len(victims)])
	}
	n.random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	begun := time.Now()
	for i, victim := range order {
		n.strike(victim, i+1, kills)
	}
	n.every = time.Since(begun) / time.Duration(kills)
}

// settle waits until nothing is pending, and holds what came out against what was
// promised. Quick: what waits for a later hour, or for a lease whose holder does not
// know of it, is due now.
func (n *nemesis) settle(load *Load, quick bool) Findings {
	n.t.Helper()
	ops := operations(n.t, load)
	n.t.Logf("answers by status: %v", statuses(ops))
	begun := time.Now()
	if quick {
		n.site.ledger.lapse()
	}
	waitUntilSettled(n.t, n.site, quick)
	settled := time.Since(begun)
	found := Compare(n.outages.unsure(ops), n.site.mails(), n.site.ledger.requests())
	n.t.Logf("%v killed; %d acknowledged, %d unsure, %d refused; %d got mail, %d ended otherwise; lost %d, vanished %d, phantom %d, duplicates %d of %d in flight; answer to mail: p99 %s, slowest %s; settled in %s",
		n.kills, found.Acknowledged, found.Unsure, found.Refused, found.Delivered, found.Ended,
		len(found.Lost), len(found.Vanished), len(found.Phantom), len(found.Duplicates), len(n.inFlight),
		found.P99.Round(time.Millisecond), found.Slowest.Round(time.Millisecond), settled.Round(time.Millisecond))
	n.share(found)
	return found
}

// share tells how many of the mails were too many. A kill doubles what it finds
// under way, however many mails there are between two kills, so the share says
// nothing without the time between them; T35 reckons with 5 s.
func (n *nemesis) share(found Findings) {
	n.t.Helper()
	if n.every == 0 || found.Delivered == 0 {
		return
	}
	percent := 100 * float64(len(found.Duplicates)) / float64(found.Delivered)
	n.t.Logf("%.1f duplicates a kill, %.2f %% of the mails with a kill every %s: %.2f %% with one every 5s",
		float64(len(found.Duplicates))/float64(max(1, n.total())), percent, n.every.Round(time.Millisecond), percent*n.every.Seconds()/5)
}

func (n *nemesis) total() (kills int) {
	for _, count := range n.kills {
		kills += count
	}
	return kills
}

func waitUntilSettled(t *testing.T, s *site, quick bool) {
	t.Helper()
	calm := 0
	eventually(t, 120*time.Second, "nothing is pending", func() bool {
		if quick {
			s.ledger.hurry()
		}
		time.Sleep(100 * time.Millisecond)
		if s.ledger.unfinished() != 0 {
			calm = 0
			return false
		}
		calm++
		return calm > 2
	})
	if stuck := s.ledger.count(`deliveries WHERE lease IS NOT NULL`); stuck != "0" {
		t.Errorf("%s leases are stuck", stuck)
	}
	if err := s.ledger.balanced(); err != nil {
		t.Errorf("the ledger does not balance: %v", err)
	}
}

// judge is what must hold after any storm.
func (n *nemesis) judge(found Findings) {
	n.t.Helper()
	judge(n.t, n.site, found)
	extra := 0
	for _, d := range found.Duplicates {
		extra += len(d.Mails) - 1
		if !n.inFlight.explains(d) {
			n.t.Errorf("%s got %d mails and none was under way at a kill:\n%s", d.Address, len(d.Mails), n.site.ledger.timeline(d.Address))
		}
	}
	if extra > len(n.inFlight) {
		n.t.Errorf("%d mails too many, more than the %d under way at the kills", extra, len(n.inFlight))
	}
}

// judge is what must hold after any fault.
func judge(t *testing.T, s *site, found Findings) {
	t.Helper()
	if found.Acknowledged == 0 || found.Delivered == 0 {
		t.Error("nothing was acknowledged or delivered: the run proves nothing")
	}
	const shown = 5
	for _, address := range found.Lost[:min(shown, len(found.Lost))] {
		t.Errorf("%s was acknowledged and is lost:\n%s", address, s.ledger.timeline(address))
	}
	for _, address := range found.Vanished[:min(shown, len(found.Vanished))] {
		t.Errorf("%s was acknowledged and the ledger has no request of it", address)
	}
	for _, address := range found.Phantom[:min(shown, len(found.Phantom))] {
		t.Errorf("%s got a mail that nobody can have asked for:\n%s", address, s.ledger.timeline(address))
	}
	if max(len(found.Lost), len(found.Vanished), len(found.Phantom)) > shown {
		t.Errorf("lost %d, vanished %d, phantom %d", len(found.Lost), len(found.Vanished), len(found.Phantom))
	}
	for _, d := range found.Duplicates {
		if !d.Equal() {
			t.Errorf("%s got different mails: %s\n%s", d.Address, describe(d.Mails), s.ledger.timeline(d.Address))
		}
	}
}

func describe(mails []Mail) string {
	var lines []string
	for _, m := range mails {
		lines = append(lines, fmt.Sprintf("%s %s %s", m.At.Format("15:04:05.000"), m.MessageID, m.Link))
	}
	return strings.Join(lines, "; ")
}

// statuses counts the ends of operations: by status, or 0 for what never left and
// -1 for what nobody knows of.
func statuses(ops []Operation) map[int]int {
	counts := make(map[int]int)
	for _, op := range ops {
		switch op.Outcome {
		case OK, Fail:
			counts[op.Status]++
		case Info:
			counts[-1]++
		}
	}
	return counts
}

// usersFor is how many users a load of some seconds asks for.
func usersFor(d time.Duration) int { return int(d.Seconds() * float64(*flagRate)) }

// T35 on the embedded database.
func TestChaosKillsOnSQLite(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t, siteConfig{users: usersFor(time.Duration(*flagKills) * 4 * time.Second)})
	srv := s.serve()
	load := s.load([]*server{srv}, s.addresses, *flagRate)
	n := newNemesis(t, s, srv)
	n.storm(*flagKills, "server", "plugin", "group")
	srv.ready()
	found := n.settle(load, !thorough())
	n.judge(found)
	if ends := srv.ends.Load(); ends != 0 {
		t.Errorf("the server ended %d times by itself", ends)
	}
}

// The control: a server that answers before the commit must be caught, or the
// harness finds nothing.
func TestChaosControlAnswerBeforeCommit(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t, siteConfig{users: usersFor(20 * time.Second), command: filepath.Join(faulty, "passmend")})
	srv := s.serve()
	load := s.load([]*server{srv}, s.addresses, *flagRate)
	n := newNemesis(t, s, srv)
	n.storm(2, "server", "group")
	srv.ready()
	found := n.settle(load, true)
	if len(found.Lost) == 0 {
		t.Error("nothing was lost: the run proves nothing")
	}
}
