package sqlstore

import (
	"testing"
	"time"
)

func TestT39AClockSetForwardLetsNoLeaseLapseBeforeAHeartbeat(t *testing.T) {
	t.Parallel()
	start := time.Now()
	wall := start.Round(0).UTC()
	type reading struct {
		database, local time.Duration
		settled         bool
	}
	for name, readings := range map[string][]reading{
		"steady":              {{0, 0, true}, {5 * time.Second, 5 * time.Second, true}, {60 * time.Second, 60 * time.Second, true}},
		"drift within reason": {{0, 0, true}, {9 * time.Second, 5 * time.Second, true}, {18 * time.Second, 10 * time.Second, true}},
		"set forward": {
			{0, 0, true}, {10 * time.Minute, 5 * time.Second, false}, {10*time.Minute + 15*time.Second, 20 * time.Second, false},
			{10*time.Minute + 20*time.Second, 25 * time.Second, true},
		},
		"set forward twice": {
			{0, 0, true}, {time.Hour, 5 * time.Second, false}, {2 * time.Hour, 20 * time.Second, false},
			{2*time.Hour + 15*time.Second, 35 * time.Second, false}, {2*time.Hour + 20*time.Second, 40 * time.Second, true},
		},
		"set back":            {{0, 0, true}, {-10 * time.Minute, 5 * time.Second, true}},
		"asleep for an hour":  {{0, 0, true}, {time.Hour, 0, false}},
		"no call for an hour": {{0, 0, true}, {time.Hour, time.Hour, true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var watch clockWatch
			for i, r := range readings {
				if got := watch.settled(wall.Add(r.database), start.Add(r.local)); got != r.settled {
					t.Errorf("reading %d: settled is %v, want %v", i, got, r.settled)
				}
			}
		})
	}
}
