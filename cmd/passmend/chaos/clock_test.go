package chaos

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/passmend/passmend/core/sqlstore/pgtest"
)

const (
	clockStep = 2 * time.Hour
	linkLife  = time.Hour // of an account that says nothing
)

// newClocked starts a PostgreSQL whose clock the test can step.
func newClocked(t *testing.T) (*pgtest.Cluster, string) {
	t.Helper()
	cluster := makeCluster(t, clusterDir(t), nil)
	err := cluster.OwnClock()
	if errors.Is(err, pgtest.ErrNoClock) && os.Getenv("CI") != "true" {
		t.Skipf("NOT TESTED with clock steps: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return cluster, startEmpty(t, cluster)
}

// step steps the clock and proves that it has: a clock that stands makes every test
// here pass.
func (s *site) step(cluster *pgtest.Cluster, offset time.Duration) {
	s.t.Helper()
	if err := cluster.SetClock(offset); err != nil {
		s.t.Fatal(err)
	}
	text := s.ledger.strings(`SELECT CAST(extract(epoch FROM statement_timestamp()) AS text)`)[0]
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	if off := time.Until(time.UnixMicro(int64(seconds*1e6))) - offset; off.Abs() > 10*time.Second {
		s.t.Fatalf("the database's clock is %s beside %s", off, offset)
	}
}

// stay is a time that the database's clock stayed where it was.
type stay struct {
	offset      time.Duration
	from, until time.Time // by the machine's clock
	links       []Mail    // issued in it, not yet used
}

// T39: the database's clock steps by two hours under load, there and back, both
// ways. It decides what is too old: a link counts as valid for its life by that
// clock, whatever the server's says, and so an hour's link that was sent while the
// clock was two hours ahead is good for three hours once it is set back.
func TestChaosClockStepsOnPostgres(t *testing.T) {
	t.Parallel()
	cluster, database := newClocked(t)
	s, _ := newSite(t, siteConfig{
		database: database, users: usersFor(60 * time.Second),
		env: []string{"PASSMEND_LIMIT_BAD_TOKEN=off", "PASSMEND_LIMIT_MUTPWD=off"},
	})
	servers := []*server{s.serve(), s.serve()}
	load := s.load(servers, s.addresses, *flagRate)
	used := make(map[string]bool)
	var stays []*stay
	expired, accepted, differs := 0, 0, 0
	for _, offset := range []time.Duration{0, clockStep, 0, -clockStep, 0, -clockStep, clockStep, 0} {
		s.step(cluster, offset)
		now := &stay{offset: offset, from: time.Now()}
		stays = append(stays, now)
		time.Sleep(1500 * time.Millisecond)
		now.until = time.Now()
		now.links = s.issued(load, now)
		for _, then := range stays {
			if len(then.links) == 0 {
				t.Fatalf("no link is left of the stay at %s", then.offset)
			}
			link := then.links[0]
			then.links = then.links[1:]
			used[link.Recipient] = true
			age := offset - then.offset // but for seconds
			want := http.StatusOK
			if age >= linkLife {
				want = http.StatusUnauthorized
			}
			got := redeem(t, servers[0], link)
			if got != want {
				t.Errorf("a link sent at %s is answered %d at %s, want %d", then.offset, got, offset, want)
			}
			switch got {
			case http.StatusOK:
				accepted++
			case http.StatusUnauthorized:
				expired++
				differs++ // by the server's clock it is seconds old
			}
		}
	}
	ops := operations(t, load)
	waitUntilSettled(t, s, !thorough())
	mails := slices.DeleteFunc(s.mails(), func(m Mail) bool { return m.Link == "" && used[m.Recipient] }) // the notices of the change
	found := Compare(ops, mails, s.ledger.requests())
	t.Logf("%d stays; %d links accepted, %d refused as expired; answers by status: %v; %d acknowledged, %d got mail, %d ended otherwise; lost %d, phantom %d, duplicates %d; slowest %s",
		len(stays), accepted, expired, statuses(ops), found.Acknowledged, found.Delivered, found.Ended, len(found.Lost), len(found.Phantom), len(found.Duplicates), found.Slowest.Round(time.Millisecond))
	judge(t, s, found)
	for _, d := range found.Duplicates {
		t.Errorf("%s got %d mails:\n%s", d.Address, len(d.Mails), s.ledger.timeline(d.Address))
	}
	if differs == 0 {
		t.Error("no answer differs from what the server's clock would have made it: the run proves nothing")
	}
	for _, op := range ops {
		if op.Status != 0 && op.Status != http.StatusAccepted {
			t.Errorf("status %d: the clock is no business of acceptance", op.Status)
			break
		}
	}
	for _, srv := range servers {
		if ends := srv.ends.Load(); ends != 0 {
			t.Errorf("a server ended %d times by itself", ends)
		}
	}
}

// issued gives the mails whose request was made, and which came, within a stay.
func (s *site) issued(load *Load, within *stay) (links []Mail) {
	s.t.Helper()
	asked := make(map[string]bool)
	var ops []Operation
	eventually(s.t, time.Second, "the journal is whole", func() bool {
		var err error
		ops, err = ReadOperations(load.config.Journal)
		return err == nil // else its last line is being written
	})
	for _, op := range ops {
		if op.Outcome == Invoked && op.At.After(within.from) {
			asked[op.Address] = true
		}
	}
	for _, m := range s.mails() {
		if asked[m.Recipient] && m.At.Before(within.until) {
			links = append(links, m)
		}
	}
	return links
}

// redeem uses a mail's link, as an account's own page does, and gives the status.
func redeem(t *testing.T, srv *server, m Mail) int {
	t.Helper()
	body, err := json.Marshal(map[string]any{"meta": map[string]string{
		"passwordResetToken": path.Base(m.Link), "newPassword": "remembered after the clock was set",
	}})
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Post(srv.base+"/v1/accounts/"+account+"/users/"+m.Recipient+"/actions/reset-password", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// T39: mails that are under way when the clock steps, long enough for their leases
// to be looked at: nothing is sent twice. The control ends the leases by hand: then
// mails are sent twice, and it must show.
func TestChaosClockStepsUnderWayOnPostgres(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		offset time.Duration
		lapse  bool // by hand
	}{
		{name: "two hours on", offset: clockStep},
		{name: "two hours back", offset: -clockStep},
		{name: "ten minutes on", offset: 10 * time.Minute},
		{name: "ten minutes back", offset: -10 * time.Minute},
		{name: "the control", lapse: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cluster, database := newClocked(t)
			s, proxy := newSite(t, siteConfig{database: database, users: 30, proxied: true})
			srv := s.serve()
			proxy.Set(Faults{HoldAfterDot: true})
			load := s.load([]*server{srv}, s.addresses, *flagRate)
			if err := load.Wait(); err != nil {
				t.Fatal(err)
			}
			eventually(t, 10*time.Second, "mails are under way", func() bool { return s.sink.Taken() >= 10 })
			taken := s.sink.Taken()
			s.step(cluster, c.offset)
			if c.lapse {
				s.ledger.exec(`UPDATE deliveries SET lease_until = queued_at WHERE lease IS NOT NULL`)
			}
			time.Sleep(7 * time.Second) // leases are looked at every 5 s
			proxy.Set(Faults{})
			waitUntilSettled(t, s, true)
			s.step(cluster, 0)
			found := Compare(operations(t, load), s.mails(), s.ledger.requests())
			t.Logf("%d mails under way at the step; %d acknowledged, %d got mail, %d ended otherwise; lost %d, duplicates %d",
				taken, found.Acknowledged, found.Delivered, found.Ended, len(found.Lost), len(found.Duplicates))
			judge(t, s, found)
			switch doubled := len(found.Duplicates) > 0; {
			case c.lapse && !doubled:
				t.Error("nothing was sent twice: the run proves nothing")
			case !c.lapse && doubled:
				t.Errorf("%d mails were sent twice:\n%s", len(found.Duplicates), s.ledger.timeline(found.Duplicates[0].Address))
			}
		})
	}
}
