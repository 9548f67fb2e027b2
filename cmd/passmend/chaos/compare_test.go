package chaos

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A comparison that cannot find a fault proves nothing: each fault is put in.
func TestCompareFindsEveryFault(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_800_000_000, 0)
	op := func(address, outcome string) Operation { return Operation{Address: address, Outcome: outcome, At: at} }
	mail := func(address, id, link string) Mail {
		return Mail{MessageID: id, Recipient: address, Link: link, At: at.Add(time.Second)}
	}
	one := map[string]Request{"u1": {Count: 1}}
	twice := func(second Mail) []Mail { return []Mail{mail("u1", "m", "l"), second} }
	for _, c := range []struct {
		name       string
		operations []Operation
		mails      []Mail
		requests   map[string]Request
		want       Findings
	}{
		{
			name:       "an acknowledged request with its mail is in order",
			operations: []Operation{op("u1", Invoked), op("u1", OK)}, mails: []Mail{mail("u1", "m", "l")}, requests: one,
			want: Findings{Acknowledged: 1, Delivered: 1, Slowest: time.Second, P99: time.Second},
		},
		{
			name:       "an acknowledged request without a mail is lost",
			operations: []Operation{op("u1", Invoked), op("u1", OK)}, requests: one,
			want: Findings{Acknowledged: 1, Lost: []string{"u1"}},
		},
		{
			name:       "one that the ledger forgot has vanished, its mail or not",
			operations: []Operation{op("u1", OK), op("u2", OK)}, mails: []Mail{mail("u1", "m", "l")},
			want: Findings{
				Acknowledged: 2, Delivered: 1, Lost: []string{"u2"}, Vanished: []string{"u1", "u2"},
				Slowest: time.Second, P99: time.Second,
			},
		},
		{
			name:       "one that the ledger ended with a reason is not",
			operations: []Operation{op("u1", Invoked), op("u1", OK)}, requests: map[string]Request{"u1": {1, "failed recipient-refused"}},
			want: Findings{Acknowledged: 1, Ended: 1},
		},
		{
			name:       "a refused request with a mail is a phantom",
			operations: []Operation{op("u1", Invoked), op("u1", Fail)}, mails: []Mail{mail("u1", "m", "l")},
			want: Findings{Refused: 1, Delivered: 1, Phantom: []string{"u1"}},
		},
		{
			name:  "so is a mail that nobody asked for",
			mails: []Mail{mail("u1", "m", "l")},
			want:  Findings{Delivered: 1, Phantom: []string{"u1"}},
		},
		{
			name:       "an unknown outcome may have a mail, and may have none",
			operations: []Operation{op("u1", Info), op("u2", Info), op("u3", Invoked)}, mails: []Mail{mail("u1", "m", "l")},
			want: Findings{Unsure: 3, Delivered: 1},
		},
		{
			name:       "what never left is asked for again",
			operations: []Operation{op("u1", Invoked), op("u1", Fail), op("u1", Invoked), op("u1", OK)}, mails: []Mail{mail("u1", "m", "l")}, requests: one,
			want: Findings{Acknowledged: 1, Delivered: 1, Slowest: time.Second, P99: time.Second},
		},
		{
			name:       "two mails are a duplicate",
			operations: []Operation{op("u1", Info)}, mails: twice(mail("u1", "m", "l")),
			want: Findings{Unsure: 1, Delivered: 1, Duplicates: []Duplicate{{"u1", twice(mail("u1", "m", "l"))}}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, Compare(c.operations, c.mails, c.requests)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
	for name, c := range map[string]struct {
		second Mail
		want   bool
	}{
		"the same mail again":    {mail("u1", "m", "l"), true},
		"another link":           {mail("u1", "m", "k"), false},
		"another Message-ID":     {mail("u1", "n", "l"), false},
		"the second has no link": {mail("u1", "m", ""), false},
	} {
		if got := (Duplicate{"u1", twice(c.second)}).Equal(); got != c.want {
			t.Errorf("%s: Equal is %v", name, got)
		}
	}
}
