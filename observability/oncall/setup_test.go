package oncall

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// withPrometheus is for CI and `make rules/check`: `make test` needs Go alone.
var withPrometheus = flag.Bool("prometheus", false, "run what needs promtool and Prometheus: a minute")

// scratch is for the length of all tests.
var scratch string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		var err error
		if scratch, err = os.MkdirTemp("", "passmend-oncall-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(scratch)
		return m.Run()
	}())
}

// program gives one of Debian's package prometheus.
func program(t *testing.T, name string) string {
	t.Helper()
	if !*withPrometheus {
		t.Skip("make rules/check runs it")
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: Debian's package is prometheus", name)
	}
	return path
}
