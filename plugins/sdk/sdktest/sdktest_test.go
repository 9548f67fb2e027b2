package sdktest_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/passmend/passmend/plugins/sdk/sdktest"
	"github.com/passmend/passmend/plugins/sdk/serve"
)

// TestMain makes this binary a plugin when it is run as passmend-FAULT.
func TestMain(m *testing.M) {
	fault, isPlugin := strings.CutPrefix(filepath.Base(os.Args[0]), "passmend-")
	if !isPlugin {
		os.Exit(m.Run())
	}
	fault = strings.ReplaceAll(fault, "-", " ")
	misbehave(fault)
	serve.Provider(newCourier(fault))
	if fault == "does not end" {
		time.Sleep(time.Hour)
	}
}

// misbehave is what goes wrong around a process.
func misbehave(fault string) {
	byHand := os.Getenv(serve.CookieKey) == ""
	switch {
	case fault == "silent by hand" && byHand:
		os.Exit(0)
	case fault == "greets by hand" && byHand:
		fmt.Println("Hello")
	case fault == "serves without a certificate" && os.Getenv("PLUGIN_CLIENT_CERT") == "":
		fmt.Println("1|2|unix|/nowhere|grpc|")
		os.Exit(0)
	case fault == "newest alone" && os.Getenv("PLUGIN_PROTOCOL_VERSIONS") == "1":
		time.Sleep(time.Hour)
	case fault == "answers strangers" && !byHand:
		answerStrangers(newCourier(""))
	case fault == "chatty" && !byHand:
		fmt.Fprintln(os.Stderr, "starting up")
	case fault == "calls home" && !byHand:
		connection, err := net.Dial("udp", "127.0.0.1:9")
		if err != nil {
			os.Exit(1)
		}
		time.AfterFunc(time.Hour, func() { _ = connection.Close() })
	case fault == "leaves a lock" && !byHand:
		lock := filepath.Join(filepath.Dir(os.Args[0]), "lock")
		file, err := os.OpenFile(lock, os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			fmt.Fprintln(os.Stderr, "somebody else is running")
			os.Exit(1)
		}
		_ = file.Close()
	case fault == "exits":
		os.Exit(3)
	}
}

// executable is this binary under a name that says what is wrong with it.
func executable(t *testing.T, fault string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "passmend-"+strings.ReplaceAll(fault, " ", "-"))
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAGoodProviderPasses(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"as a value", "over the wire", "as an executable"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			target := newWorld(t).target()
			switch way {
			case "as a value":
				target.Provider = newCourier("")
			case "over the wire":
				over, stop, err := serve.Loopback(newCourier(""))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(stop)
				target.Provider = over
			case "as an executable":
				target.Path = executable(t, "courier")
			}
			var skipped []string
			report := sdktest.Exercise(t.Context(), target, func(result sdktest.Result) {
				switch result.Verdict {
				case sdktest.Failed:
					t.Errorf("%s: %s", result.Case, strings.Join(result.Reasons, "; "))
				case sdktest.Skipped:
					skipped = append(skipped, result.Case)
				}
			})
			// The courier takes every kind of message; all else can be tried on it.
			if way == "as an executable" && len(skipped) != 1 {
				t.Errorf("left out: %q", skipped)
			}
			if report.Passed < 50 || report.Failed != 0 || report.Passed+report.Skipped != len(report.Cases) {
				t.Errorf("%d passed, %d failed, %d left out", report.Passed, report.Failed, report.Skipped)
			}
		})
	}
}

// Every fault is caught by the case that is there for it. In process most of the time
// goes by waiting, so many are tried at once; processes have 4 s to start, so of them
// no more than there are processors.
func TestEveryFaultIsCaught(t *testing.T) {
	t.Parallel()
	var trying sync.WaitGroup
	waiting, starting := make(chan struct{}, 16), make(chan struct{}, runtime.NumCPU())
	for fault, names := range faults {
		for _, name := range names {
			target, c, places := newWorld(t).target(), caseOf(t, name), waiting
			if slices.Contains(processFaults, fault) {
				target.Path, places = executable(t, fault), starting
			} else {
				target.Provider = newCourier(fault)
			}
			trying.Go(func() {
				places <- struct{}{}
				defer func() { <-places }()
				if result := c.Run(target); result.Verdict != sdktest.Failed || result.Case != name {
					t.Errorf("%s: %+v", fault, result)
				}
			})
		}
	}
	trying.Wait()
}

func caseOf(t *testing.T, name string) sdktest.Case {
	t.Helper()
	for _, c := range sdktest.Cases() {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("there is no case %q", name)
	return sdktest.Case{}
}

// uncontrolled are the cases without a fault, and why.
var uncontrolled = map[string]string{
	"Every class of failure is exercised":                  "it never fails: it tells what was left out",
	"A host of the newest version is answered":             "go-plugin does not let a plugin choose a version that was not offered",
	"A host of a newer version is answered in one of ours": "as above",
	"kill -9 in mid-send ends the call as unknown":         "the wire sees to it, whatever the plugin does",
}

func TestEveryCaseHasAFault(t *testing.T) {
	t.Parallel()
	controlled := make(map[string]bool)
	for _, names := range faults {
		for _, name := range names {
			controlled[name] = true
		}
	}
	seen := make(map[string]bool)
	for _, c := range sdktest.Cases() {
		if seen[c.Name] {
			t.Errorf("two cases are called %q", c.Name)
		}
		seen[c.Name] = true
		if reason := uncontrolled[c.Name]; controlled[c.Name] == (reason != "") {
			t.Errorf("%q: there is a fault for it: %t; why not: %q", c.Name, controlled[c.Name], reason)
		}
	}
	if len(seen) < 50 {
		t.Errorf("%d cases, want 50 or more", len(seen))
	}
}
