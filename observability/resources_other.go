//go:build !linux

package observability

// diskRoom and processUse know Linux only; elsewhere there are no such series.
func diskRoom(string) (free, whole uint64, ok bool) { return 0, 0, false }

func processUse(int) (use, bool) { return use{}, false }
