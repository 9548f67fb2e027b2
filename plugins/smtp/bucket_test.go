package smtp

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/plugins/sdk"
)

// In the order of coming, the control, ada's would be last.
func TestSendersTakeTurns(t *testing.T) {
	t.Parallel()
	b := &bucket{limit: 1}
	b.ask(sdk.Mailbox{Name: "in use"})
	type waiting struct {
		name  string
		place chan *conn
	}
	var line []waiting
	for _, name := range []string{"hog", "hog", "hog", "hog", "ada", "eve", "eve"} {
		line = append(line, waiting{name, b.ask(sdk.Mailbox{Name: name})})
	}
	if !b.withdraw(sdk.Mailbox{Name: "hog"}, line[1].place) || b.withdraw(sdk.Mailbox{Name: "hog"}, line[1].place) {
		t.Error("withdraw: once it is there, then it is not")
	}
	var served []string
	for range len(line) - 1 {
		b.giveBack()
		for i, w := range line {
			select {
			case <-w.place:
				served = append(served, w.name)
				line = slices.Delete(line, i, i+1)
			default:
				continue
			}
			break
		}
	}
	if diff := cmp.Diff([]string{"hog", "ada", "eve", "hog", "eve", "hog"}, served); diff != "" {
		t.Errorf("served (-want +got):\n%s", diff)
	}
	b.giveBack()
	if !b.empty() {
		t.Errorf("left: %+v", b)
	}
}

func TestTheLimitFollowsTheServerAndTheSetting(t *testing.T) {
	t.Parallel()
	b := &bucket{limit: 8}
	for range 8 {
		b.ask(sdk.Mailbox{})
	}
	if !b.lower() || b.limit != 7 {
		t.Errorf("refused beside 7 others: limit %d", b.limit)
	}
	// Another that was refused meanwhile does not count the one before it.
	if !b.lower() || b.limit != 6 || b.inUse != 6 {
		t.Errorf("refused beside 6 others: limit %d, %d in use", b.limit, b.inUse)
	}
	b.allow(8, time.Hour)
	if b.limit != 6 {
		t.Errorf("it is believed for a while: limit %d", b.limit)
	}
	b.lowered = time.Now().Add(-time.Hour)
	if b.allow(100, time.Minute); b.limit != 8 {
		t.Errorf("a quarter more: limit %d", b.limit)
	}
	if b.allow(4, time.Hour); b.limit != 4 {
		t.Errorf("a lower setting counts at once: limit %d", b.limit)
	}
	lone := &bucket{limit: 8}
	lone.ask(sdk.Mailbox{})
	if lone.lower() || lone.limit != 1 {
		t.Errorf("refused with no other: limit %d, and nothing to wait for", lone.limit)
	}
}
