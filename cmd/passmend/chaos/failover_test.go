package chaos

import (
	"testing"
	"time"

	"github.com/passmend/passmend/core/sqlstore/pgtest"
)

const (
	// outageMost is how long no request may be accepted while a standby takes over, in
	// 95 of 100 cases (T37).
	outageMost = 10 * time.Second
	// promotionMost is how long a promotion takes with the making of a new standby, on
	// a machine that has other things to do: the load has to last as long.
	promotionMost = time.Minute
)

// pair is a primary and the standby that will take over from it.
type pair struct {
	t                *testing.T
	primary, standby *pgtest.Cluster
	way              *Proxy // from the first standby to the first primary
	synchronous      bool
}

func newPair(t *testing.T, synchronous bool) *pair {
	t.Helper()
	primary, database := newCluster(t)
	proxy := newProxy(t, database)
	standby, err := primary.Standby(clusterDir(t), proxy.Addr(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = standby.Stop() })
	p := &pair{t: t, primary: primary, standby: standby, way: proxy, synchronous: synchronous}
	p.follow()
	return p
}

// url names the database on whichever of the two is the primary. One that does not
// answer is given up after 2 s, the least that there is: each new connection may
// have to try it first.
func (p *pair) url() string {
	primary, standby := parseURL(p.t, p.primary.URL("chaos")), parseURL(p.t, p.standby.URL("chaos"))
	query := primary.Query()
	query.Set("target_session_attrs", "read-write")
	query.Set("connect_timeout", "2")
	primary.Host, primary.RawQuery = primary.Host+","+standby.Host, query.Encode()
	return primary.String()
}

// follow starts the standby and, when commits are to wait for it, returns only when
// all of them do.
func (p *pair) follow() {
	p.t.Helper()
	startCluster(p.t, p.standby)
	state := "async"
	if p.synchronous {
		state = "sync"
		p.exec(`ALTER SYSTEM SET synchronous_standby_names = 'standby'`)
		p.exec(`SELECT pg_reload_conf()`)
	}
	eventually(p.t, 30*time.Second, "the standby streams", func() bool {
		return p.exec(`SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = '`+state+`'`) == "1"
	})
	// It is the checkpointer that tells the others to wait, and it reads the settings
	// between two checkpoints: one that has begun after the reload has been told.
	p.exec(`CHECKPOINT`)
}

// exec runs a statement on the primary and gives the first value of its answer.
func (p *pair) exec(statement string) string {
	p.t.Helper()
	value, err := queryOnce(p.t.Context(), p.primary.URL("chaos"), statement)
	if err != nil {
		p.t.Fatalf("%s: %v", statement, err)
	}
	return value
}

// failOver loses the primary and lets the standby take over; then there is none.
func (p *pair) failOver(lose func(*pgtest.Cluster) error) (promoted time.Duration) {
	p.t.Helper()
	if err := lose(p.primary); err != nil {
		p.t.Fatal(err)
	}
	begun := time.Now()
	if err := p.standby.Promote(); err != nil {
		p.t.Fatal(err)
	}
	p.primary, p.standby = p.standby, p.primary
	return time.Since(begun)
}

// renew makes the lost primary anew, as the standby of the other.
func (p *pair) renew() {
	p.t.Helper()
	if err := p.standby.Kill(); err != nil { // what is only frozen must not come back as it was
		p.t.Fatal(err)
	}
	if err := p.standby.Follow(p.primary, ""); err != nil {
		p.t.Fatal(err)
	}
	p.follow()
}

// T37: a primary with a synchronous standby is lost, again and again.
func TestChaosFailOverOnPostgres(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		lose func(*pgtest.Cluster) error
	}{
		{"its processes are killed", (*pgtest.Cluster).Kill},
		{"its machine is gone", (*pgtest.Cluster).Freeze},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, true)
			s, _ := newSite(t, siteConfig{database: p.url(), users: usersFor(time.Duration(*flagPromotions) * promotionMost)})
			servers := []*server{s.serve(), s.serve()}
			load := s.load(servers, s.addresses, *flagRate)
			n := newNemesis(t, s, servers...)
			var killed []time.Time
			for i := range *flagPromotions {
				time.Sleep(time.Second + n.upTo(n.pause))
				killed = append(killed, time.Now())
				hit, promoted := n.failOver(p, c.lose)
				eventually(t, time.Minute, "requests are accepted by the new primary", func() bool {
					return acceptedSince(load, killed[i].Add(promoted))
				})
				accepted := time.Since(killed[i])
				p.renew()
				t.Logf("promotion %d of %d at %s: %d more mails under way, promoted in %s, accepting after %s, a new standby after %s", i+1, *flagPromotions,
					killed[i].Format("15:04:05.000"), hit, promoted.Round(time.Millisecond), accepted.Round(time.Millisecond), time.Since(killed[i]).Round(time.Millisecond))
			}
			time.Sleep(time.Second)
			killed = append(killed, time.Now())
			if load.Asked() == len(s.addresses) {
				t.Error("the load ended before the last promotion: the run proves less than it says")
			}
			found := n.settle(load, !thorough())
			n.judge(found)
			ops := operations(t, load)
			var outages []time.Duration
			for i := range *flagPromotions {
				outages = append(outages, Outage(ops, killed[i], killed[i+1]))
			}
			t.Logf("%d promotions; nothing was accepted for: p50 %s, p95 %s, max %s", *flagPromotions, quantile(outages, 50).Round(time.Millisecond),
				quantile(outages, 95).Round(time.Millisecond), quantile(outages, 100).Round(time.Millisecond))
			if p95 := quantile(outages, 95); p95 > outageMost {
				t.Errorf("nothing was accepted for %s at p95, more than %s", p95, outageMost)
			}
			for _, srv := range servers {
				if ends := srv.ends.Load(); ends != 0 {
					t.Errorf("a server ended %d times by itself: one whose database is away stays", ends)
				}
			}
		})
	}
}

// failOver is pair's, with what was under way.
func (n *nemesis) failOver(p *pair, lose func(*pgtest.Cluster) error) (hit int, promoted time.Duration) {
	n.t.Helper()
	hit = n.seeInFlight()
	n.outage(func() { promoted = p.failOver(lose) })
	return hit + n.seeInFlight(), promoted
}

// The control, and the loss that an asynchronous standby means: the way to the
// standby is held up for a moment before the primary is lost. What was acknowledged
// in that moment is what is lost; a synchronous standby lets nothing be
// acknowledged.
func TestChaosControlStandbyBehind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		synchronous bool
	}{
		{"asynchronous", false},
		{"synchronous", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const behind = 1500 * time.Millisecond
			p := newPair(t, c.synchronous)
			s, _ := newSite(t, siteConfig{database: p.url(), users: usersFor(40 * time.Second)})
			srv := s.serve()
			load := s.load([]*server{srv}, s.addresses, *flagRate)
			n := newNemesis(t, s, srv)
			time.Sleep(2 * time.Second)
			var from, until time.Time
			n.outage(func() {
				p.way.Set(Faults{BlackHole: true})
				from = time.Now()
				time.Sleep(behind)
				until = time.Now()
				n.failOver(p, (*pgtest.Cluster).Kill)
			})
			eventually(t, 30*time.Second, "requests are accepted by the new primary", func() bool { return acceptedSince(load, time.Now().Add(-time.Second)) })
			time.Sleep(time.Second)
			var found Findings
			if c.synchronous {
				found = n.settle(load, !thorough())
				n.judge(found)
			} else {
				// Outcomes are lost too, so what was sent is sent again and no count of mails
				// tells anything: the ledger is asked.
				found = Compare(n.outages.unsure(operations(t, load)), s.mails(), s.ledger.requests())
			}
			acknowledged := 0
			for _, op := range operations(t, load) {
				if op.Outcome == OK && op.At.After(from.Add(100*time.Millisecond)) && op.At.Before(until) {
					acknowledged++
				}
			}
			t.Logf("standby %s and held up for the last %s: %d acknowledged in that time; of %d in all, lost %d, vanished %d",
				c.name, behind, acknowledged, found.Acknowledged, len(found.Lost), len(found.Vanished))
			switch {
			case c.synchronous && acknowledged > 0:
				t.Errorf("%d requests were acknowledged that the standby cannot have", acknowledged)
			case !c.synchronous && len(found.Vanished) == 0:
				t.Error("nothing vanished: the run proves nothing")
			}
		})
	}
}
