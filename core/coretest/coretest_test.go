package coretest

import (
	"errors"
	"slices"
	"testing"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

func TestOneWinsSeesFaults(t *testing.T) {
	t.Parallel()
	lost := errors.New("lost")
	faults := map[string]func(n int64) error{
		"nobody wins":            func(int64) error { return lost },
		"two win":                func(n int64) error { return map[bool]error{true: nil, false: lost}[n <= 2] },
		"losers hear the wrong":  func(n int64) error { return map[bool]error{true: nil, false: errors.New("other")}[n == 1] },
		"everybody wins at once": func(int64) error { return nil },
	}
	for name, do := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			turns := make(chan int64, 20)
			for n := range cap(turns) {
				turns <- int64(n + 1)
			}
			if err := OneWins(20, lost, func() error { return do(<-turns) }); err == nil {
				t.Fatal("the fault was not seen")
			}
		})
	}
}

func TestSumSeesADifference(t *testing.T) {
	t.Parallel()
	for _, accepted := range []int64{2, 4} {
		if sum(core.Balance{Accepted: accepted, States: map[core.RequestState]int64{core.StateSent: 3}}) == nil {
			t.Fatalf("%d accepted against 3 was not seen", accepted)
		}
	}
}

func TestNewIDsAreUUIDsInOrder(t *testing.T) {
	t.Parallel()
	var ids []string
	for range 1000 {
		id := NewID()
		if canonical, ok := tenants.ParseUUID(id); !ok || canonical != id || id[14] != '7' || id[19] != '8' && id[19] != '9' && id[19] != 'a' && id[19] != 'b' {
			t.Fatalf("%s is no UUIDv7", id)
		}
		ids = append(ids, id)
	}
	if !slices.IsSorted(ids) || len(slices.Compact(ids)) != 1000 {
		t.Fatal("ids are not in order, or repeat")
	}
}
