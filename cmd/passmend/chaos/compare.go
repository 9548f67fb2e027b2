package chaos

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Findings is what came out against what was promised. Lists are sorted by
// address.
type Findings struct {
	Acknowledged int // addresses whose request was answered 2xx
	Unsure       int // addresses whose request may have been taken
	Refused      int // addresses that were refused, and nothing else
	Delivered    int // addresses that got a mail
	Ended        int // acknowledged, without a mail, and the ledger says why
	// Lost were acknowledged, got no mail, and the ledger does not say why.
	Lost []string
	// Vanished were acknowledged, and the ledger knows no request of theirs. One that
	// got its mail before can be among them.
	Vanished []string
	// Phantom got a mail that nobody can have asked for.
	Phantom []string
	// Duplicates got more than one mail.
	Duplicates []Duplicate
	// Slowest and P99 are of the times from an answer to its first mail.
	Slowest, P99 time.Duration
}

// Duplicate is an address with more than one mail.
type Duplicate struct {
	Address string
	Mails   []Mail
}

// Equal says whether the mails are one mail sent again: the same Message-ID and
// the same link, and there is a link.
func (d Duplicate) Equal() bool {
	for _, m := range d.Mails {
		if m.MessageID != d.Mails[0].MessageID || m.Link != d.Mails[0].Link || m.Link == "" {
			return false
		}
	}
	return true
}

// Request is what the ledger says of an address.
type Request struct {
	Count int    // of its requests
	Ended string // the reason, when one has ended without a mail
}

// Compare holds the sink's mails against the load's operations, of which the last
// of each address counts: one is asked for again only when the first never left.
// requests are the ledger's, by address.
func Compare(operations []Operation, mails []Mail, requests map[string]Request) Findings {
	answers := make(map[string]Operation) // the last word on each address
	for _, op := range operations {
		answers[op.Address] = op
	}
	got := make(map[string][]Mail)
	for _, m := range mails {
		got[m.Recipient] = append(got[m.Recipient], m)
	}
	found := Findings{Delivered: len(got)}
	var waits []time.Duration
	for _, address := range slices.Sorted(maps.Keys(answers)) {
		switch answers[address].Outcome {
		case OK:
			found.Acknowledged++
			if requests[address].Count == 0 {
				found.Vanished = append(found.Vanished, address)
			}
			switch {
			case len(got[address]) > 0:
				waits = append(waits, got[address][0].At.Sub(answers[address].At))
			case requests[address].Ended != "":
				found.Ended++
			default:
				found.Lost = append(found.Lost, address)
			}
		case Fail:
			found.Refused++
		default:
			found.Unsure++
		}
	}
	for _, address := range slices.Sorted(maps.Keys(got)) {
		if op, asked := answers[address]; !asked || op.Outcome == Fail {
			found.Phantom = append(found.Phantom, address)
		}
		if len(got[address]) > 1 {
			found.Duplicates = append(found.Duplicates, Duplicate{address, got[address]})
		}
	}
	slices.SortFunc(waits, cmp.Compare)
	if n := len(waits); n > 0 {
		found.Slowest, found.P99 = waits[n-1], waits[(n-1)*99/100]
	}
	return found
}
