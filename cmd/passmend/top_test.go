package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestTopShowsAReplica(t *testing.T) {
	t.Parallel()
	s := newSite(t, limitsOff...)
	if code, _, stderr := s.try(nil, "top", "--once"); code != 1 || !strings.Contains(stderr, "--admin-addr") {
		t.Errorf("without a server: exit %d, %q", code, stderr)
	}
	s.serve()
	s.forget("ada@example.com")
	s.resetMail(1)
	s.must("hold", "--account", "acme")
	for i := range 7 {
		s.forget(fmt.Sprintf("nobody%d@example.com", i))
	}
	s.eventually("top shows all of it", func() bool {
		frame := s.must("top") // into a pipe: one frame
		for _, want := range []string{"ledger balanced", "reset ", "smtp           yes", "HELD account acme: held since", "7 wait", "\nacme  "} {
			if !strings.Contains(frame, want) {
				return false
			}
		}
		lines := strings.Split(frame, "\n")
		return len(lines) <= 24 && !strings.Contains(frame, "\x1b")
	})
}
