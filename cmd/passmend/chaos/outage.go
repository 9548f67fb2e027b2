package chaos

import (
	"cmp"
	"slices"
	"time"
)

// Outage is the longest time without an acknowledged operation between two
// moments, of which the last acknowledgement before them begins one. Without any
// after the first moment it lasts until the second.
func Outage(operations []Operation, from, until time.Time) time.Duration {
	var acknowledged []time.Time
	for _, op := range operations {
		if op.Outcome == OK && op.At.Before(until) {
			acknowledged = append(acknowledged, op.At)
		}
	}
	slices.SortFunc(acknowledged, time.Time.Compare)
	last, longest := from, time.Duration(0)
	for _, at := range append(acknowledged, until) {
		if at.After(from) {
			longest = max(longest, at.Sub(last))
		}
		last = at
	}
	return longest
}

// quantile gives the value that so many percent of them do not exceed, by the
// nearest rank; 0 of none.
func quantile(values []time.Duration, percent int) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.SortedFunc(slices.Values(values), cmp.Compare)
	return sorted[(len(sorted)*percent+99)/100-1]
}
