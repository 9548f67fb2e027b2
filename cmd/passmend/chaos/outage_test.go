package chaos

import (
	"testing"
	"time"
)

func TestOutageIsTheLongestTimeWithoutAnAcknowledgement(t *testing.T) {
	t.Parallel()
	begun := time.Unix(1_800_000_000, 0)
	at := func(seconds int) time.Time { return begun.Add(time.Duration(seconds) * time.Second) }
	op := func(outcome string, seconds int) Operation { return Operation{Outcome: outcome, At: at(seconds)} }
	for _, c := range []struct {
		name       string
		operations []Operation
		want       time.Duration
	}{
		{"none: as long as it is looked at", nil, 10 * time.Second},
		{"refusals do not end it", []Operation{op(OK, 10), op(Fail, 12), op(Info, 13), op(Invoked, 14), op(OK, 17)}, 7 * time.Second},
		{"it begins with the last acknowledgement, before the first moment too", []Operation{op(OK, 8), op(OK, 13)}, 7 * time.Second},
		{"the longest of several counts", []Operation{op(OK, 10), op(OK, 11), op(OK, 18)}, 7 * time.Second},
		{"the journal's order does not matter", []Operation{op(OK, 18), op(OK, 10), op(OK, 11)}, 7 * time.Second},
		{"what is outside of the two moments does not count", []Operation{op(OK, 0), op(OK, 9), op(OK, 10), op(OK, 17), op(OK, 40), op(OK, 90)}, 7 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := Outage(c.operations, at(10), at(20)); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
	seconds := make([]time.Duration, 0, 20)
	for i := range 20 {
		seconds = append(seconds, time.Duration(20-i)*time.Second)
	}
	for percent, want := range map[int]time.Duration{50: 10 * time.Second, 95: 19 * time.Second, 100: 20 * time.Second} {
		if got := quantile(seconds, percent); got != want {
			t.Errorf("quantile %d is %s, want %s", percent, got, want)
		}
	}
}
