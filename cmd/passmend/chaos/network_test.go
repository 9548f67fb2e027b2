package chaos

import (
	"regexp"
	"strconv"
	"testing"
	"time"
)

// T38 between the plugin and the mail server: whatever the network does, nothing
// is lost; a second mail goes out only where the answer to the first was lost, and
// is the first again.
func TestChaosNetworkToMailServer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		faults   Faults
		lasts    time.Duration
		doubles  bool // the answer to a mail can be lost
		thorough bool // takes its time
	}{
		{name: "latency of 100 ms and jitter", faults: Faults{Latency: 100 * time.Millisecond, Jitter: 50 * time.Millisecond}, lasts: 3 * time.Second},
		{name: "every connection is reset", faults: Faults{Reset: true}, lasts: time.Second, doubles: true},
		{name: "cut after the final dot", faults: Faults{CutAfterDot: true}, lasts: time.Second, doubles: true},
		{name: "a side closes late", faults: Faults{SlowClose: time.Second}, lasts: 2 * time.Second},
		{name: "latency of 2 s", faults: Faults{Latency: 2 * time.Second}, lasts: 40 * time.Second, doubles: true, thorough: true},
		{name: "1 kB a second", faults: Faults{Bandwidth: 1000}, lasts: 40 * time.Second, doubles: true, thorough: true},
		{name: "a black hole", faults: Faults{BlackHole: true}, lasts: 40 * time.Second, doubles: true, thorough: true},
		{name: "a black hole after the final dot", faults: Faults{HoldAfterDot: true}, lasts: 40 * time.Second, doubles: true, thorough: true},
	} {
		if c.thorough && !thorough() {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, proxy := newSite(t, siteConfig{users: 100, proxied: true})
			srv := s.serve()
			calm, faulty := s.addresses[:40], s.addresses[40:]
			warm := s.load([]*server{srv}, calm, 100)
			if err := warm.Wait(); err != nil {
				t.Fatal(err)
			}
			waitUntilSettled(t, s, true)
			before := goroutines(t, srv)
			load := s.load([]*server{srv}, faulty, 60)
			time.Sleep(300 * time.Millisecond)
			proxy.Set(c.faults)
			time.Sleep(c.lasts)
			during := s.sink.Taken()
			proxy.Set(Faults{})
			if err := load.Wait(); err != nil {
				t.Fatal(err)
			}
			waitUntilSettled(t, s, true)
			ops := append(operations(t, warm), operations(t, load)...)
			found := Compare(ops, s.mails(), s.ledger.requests())
			t.Logf("%d acknowledged, %d got mail, %d mails before the end of the fault; lost %d, phantom %d, duplicates %d; slowest %s",
				found.Acknowledged, found.Delivered, during, len(found.Lost), len(found.Phantom), len(found.Duplicates), found.Slowest.Round(time.Millisecond))
			judge(t, s, found)
			if found.Acknowledged != len(s.addresses) {
				t.Errorf("%d of %d requests were accepted: the mail server is no business of acceptance", found.Acknowledged, len(s.addresses))
			}
			if len(found.Duplicates) > 0 && !c.doubles {
				t.Errorf("%d duplicates:\n%s", len(found.Duplicates), s.ledger.timeline(found.Duplicates[0].Address))
			}
			if c.faults.CutAfterDot && len(found.Duplicates) == 0 {
				t.Error("no mail was doubled by the cut: the fault was not there")
			}
			after := 0
			eventually(t, 40*time.Second, "the goroutines are as few as before", func() bool {
				after = goroutines(t, srv)
				return after <= before+before/10
			})
			t.Logf("goroutines: %d before, %d after", before, after)
		})
	}
}

var goroutinesLine = regexp.MustCompile(`(?m)^go_goroutines (\d+)`)

func goroutines(t *testing.T, srv *server) int {
	t.Helper()
	_, metrics := fetch(srv.admin + "/metrics")
	found := goroutinesLine.FindStringSubmatch(metrics)
	if found == nil {
		t.Fatal("the metrics tell no number of goroutines")
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
