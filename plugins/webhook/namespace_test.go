//go:build linux

package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/passmend/passmend/plugins/sdk"
)

// insideNamespace tells the test's own process inside the namespace from outside.
const insideNamespace = "PASSMEND_TEST_INSIDE_NETWORK_NAMESPACE"

// The kernel counts: in a network of its own where every address is the machine's
// own, a name for a closed address makes no connection attempt, not one packet.
func TestTheKernelSeesNoAttempt(t *testing.T) {
	t.Parallel()
	if os.Getenv(insideNamespace) != "" {
		countAttempts(t)
		return
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs the ip command to make a network")
	}
	attributes := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		attributes.Cloneflags |= syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
	}
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTheKernelSeesNoAttempt$", "-test.count=1", "-test.timeout=60s")
	command.Env = append(os.Environ(), insideNamespace+"=1")
	command.SysProcAttr = attributes
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Skip("may not make a network here:", err)
	} else if err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Errorf("%v\n%s", err, output.String())
	}
}

func countAttempts(t *testing.T) {
	for _, arguments := range []string{
		"link set lo up", "route add local 0.0.0.0/0 dev lo", "-6 route add local ::/0 dev lo",
	} {
		if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(arguments)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v %s", arguments, err, out)
		}
	}
	p := New()
	p.resolver = resolverOf(t, addressInName)
	sendTo := func(settings sdk.Settings, addr netip.Addr) error {
		_, err := send(p, settings, eventTo("https://"+nameOf(addr)+"/"))
		return err
	}

	closed := addresses(closedAddresses)
	before := attempts(t)
	for _, addr := range closed {
		if err := sendTo(settingsOf(`{}`), addr); kindOf(err) != sdk.Misconfigured {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if n := attempts(t) - before; n != 0 {
		t.Errorf("%d attempts to connect to closed addresses", n)
	}

	// A public address is tried, and nobody is there.
	before = attempts(t)
	for _, addr := range addresses(openAddresses) {
		if err := sendTo(settingsOf(`{}`), addr); kindOf(err) != sdk.Temporary {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if n := attempts(t) - before; n < len(openAddresses) {
		t.Errorf("%d attempts to connect to %d public addresses", n, len(openAddresses))
	}

	// The control: with everything open the same names lead there. The kernel
	// itself refuses some, such as multicast.
	before = attempts(t)
	for _, addr := range closed {
		sendTo(settingsOf(`{"allow":["0.0.0.0/0","::/0"]}`), addr)
	}
	if n := attempts(t) - before; n < len(closed)*3/4 {
		t.Errorf("the kernel counts %d attempts for %d addresses", n, len(closed))
	}
}

// attempts is how many TCP connections were begun in this network, of both
// versions of IP (RFC 4022, tcpActiveOpens).
func attempts(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/net/snmp")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if fields[0] != "Tcp:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, name := range names {
			if name == "ActiveOpens" {
				n, err := strconv.Atoi(fields[i])
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
		}
	}
	t.Fatal(fmt.Errorf("no ActiveOpens in %d bytes", len(text)))
	return 0
}
