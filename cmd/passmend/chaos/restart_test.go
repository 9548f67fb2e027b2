package chaos

import (
	"net/http"
	"testing"
	"time"
)

// restarts is how often a test of rolling restarts restarts.
func restarts() int {
	switch {
	case *flagRestarts > 0:
		return *flagRestarts
	case thorough():
		return 10
	default:
		return 2
	}
}

// T40: SIGTERM under load loses nothing, doubles nothing, and ends no request that
// is under way.
func TestChaosRollingRestartOnSQLite(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t, siteConfig{users: usersFor(time.Duration(restarts()+2) * 8 * time.Second)})
	testRollingRestart(t, s, s.serve())
}

func testRollingRestart(t *testing.T, s *site, servers ...*server) {
	t.Helper()
	load := s.load(servers, s.addresses, *flagRate)
	slowest := time.Duration(0)
	for i := range restarts() {
		time.Sleep(time.Second)
		srv := servers[i%len(servers)]
		status, took := srv.stop()
		slowest = max(slowest, took)
		if status != 0 {
			t.Errorf("exit status %d after SIGTERM", status)
		}
		if held := s.ledger.count(`deliveries WHERE lease IS NOT NULL`); held != "0" && len(servers) == 1 {
			t.Errorf("%s leases are still held after the end", held)
		}
		if left := children(srv.pid()); len(left) != 0 {
			t.Errorf("plugin processes are left: %v", left)
		}
		srv.up()
		srv.ready()
	}
	time.Sleep(time.Second)
	ops := operations(t, load)
	waitUntilSettled(t, s, false)
	requests := s.ledger.requests()
	found := Compare(ops, s.mails(), requests)
	t.Logf("%d restarts, slowest end %s; answers by status: %v; %d acknowledged, %d got mail; lost %d, phantom %d, duplicates %d",
		restarts(), slowest.Round(time.Millisecond), statuses(ops), found.Acknowledged, found.Delivered, len(found.Lost), len(found.Phantom), len(found.Duplicates))
	judge(t, s, found)
	if lost := s.ledger.count(`deliveries WHERE lost > 0`); lost != "0" {
		t.Errorf("%s deliveries had a lease that lapsed: nobody died", lost)
	}
	for _, d := range found.Duplicates {
		t.Errorf("%s got %d mails: %s\n%s", d.Address, len(d.Mails), describe(d.Mails), s.ledger.timeline(d.Address))
	}
	for _, op := range ops {
		// A new connection that ends unanswered and unheard was in the listener's queue
		// when that was closed: it is refused a moment late.
		if op.Outcome == Info && (op.Reused || requests[op.Address].Count > 0) {
			t.Errorf("a request under way had no answer: %s", op.Error)
		}
		if op.Status != 0 && op.Status != http.StatusAccepted {
			t.Errorf("a request under way was answered %d", op.Status)
		}
	}
}
