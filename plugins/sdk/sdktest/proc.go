package sdktest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

var errNoProc = errors.New("there is no /proc with processes")

// networkSockets counts a process's sockets of the internet families.
func networkSockets(pid int) (int, error) {
	dir := fmt.Sprintf("/proc/%d", pid)
	links, err := filepath.Glob(filepath.Join(dir, "fd", "*"))
	if err != nil || len(links) == 0 {
		return 0, errNoProc
	}
	ours := make(map[string]bool) // by inode
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil {
			continue // it was closed meanwhile
		}
		if inode, found := strings.CutPrefix(target, "socket:["); found {
			ours[strings.TrimSuffix(inode, "]")] = true
		}
	}
	n := 0
	for _, family := range []string{"tcp", "tcp6", "udp", "udp6"} {
		table, err := os.ReadFile(filepath.Join(dir, "net", family))
		if err != nil {
			continue // a system without it
		}
		for line := range strings.SplitSeq(string(table), "\n") {
			// The tenth column is the inode (proc(5)).
			if columns := strings.Fields(line); len(columns) > 9 && ours[columns[9]] {
				n++
			}
		}
	}
	return n, nil
}

// peakMemory is the most that a process was resident, in bytes.
func peakMemory(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, errNoProc
	}
	for line := range strings.SplitSeq(string(status), "\n") {
		if value, found := strings.CutPrefix(line, "VmHWM:"); found {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("VmHWM: %w", err)
			}
			return kib << 10, nil
		}
	}
	return 0, errNoProc
}
