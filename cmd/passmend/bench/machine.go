package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Machine is what the figures were measured on.
type Machine struct {
	System string `json:"system"` // operating system and architecture
	CPU    string `json:"cpu"`    // model name; empty when unknown
	Cores  int    `json:"cores"`  // that this process may use
	Memory uint64 `json:"memory"` // bytes; 0 when unknown
	Go     string `json:"go"`
	// Busy is how many cores were in use in the second before the run, by others
	// than the run. Negative when unknown.
	Busy float64 `json:"busy"`
}

func thisMachine(ctx context.Context) Machine {
	m := Machine{
		System: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.GOMAXPROCS(0), Go: runtime.Version(), Busy: busyCores(ctx),
	}
	m.CPU = lineOf("/proc/cpuinfo", "model name")
	if kib, err := strconv.ParseUint(strings.TrimSuffix(lineOf("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		m.Memory = kib << 10
	}
	return m
}

// busyCores watches the machine for a second and gives the cores that were in use.
func busyCores(ctx context.Context) float64 {
	used, all, ok := coreTicks()
	if !ok || !pause(ctx, time.Second) {
		return -1
	}
	usedAfter, allAfter, ok := coreTicks()
	if !ok || allAfter <= all {
		return -1
	}
	return float64(usedAfter-used) / float64(allAfter-all) * float64(runtime.NumCPU())
}

// coreTicks sums the time of all cores since the start, as in proc(5): user,
// nice, system, idle, iowait and so on.
func coreTicks() (used, all int64, ok bool) {
	content, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, false
	}
	line, _, _ := strings.Cut(string(content), "\n")
	for i, field := range strings.Fields(line) {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if i == 0 || err != nil || i > 8 { // guest times are in user and nice already
			continue
		}
		all += ticks
		if i != 4 && i != 5 {
			used += ticks
		}
	}
	return used, all, all > 0
}

// lineOf gives the value of the first "name : value" in a file of /proc.
func lineOf(path, name string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.SplitSeq(string(content), "\n") {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// ticksPerSecond is USER_HZ, 100 on every architecture that Linux gives to Go.
const ticksPerSecond = 100

var errNoProc = errors.New("no such process, or no /proc")

// processStat reads fields of /proc/PID/stat, counted as in proc(5) from 1.
func processStat(pid int) ([]string, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, errNoProc
	}
	// The name, field 2, may hold spaces and brackets.
	end := bytes.LastIndexByte(content, ')')
	fields := append([]string{"", "", ""}, strings.Fields(string(content[end+1:]))...)
	if end < 0 || len(fields) < 18 {
		return nil, errNoProc
	}
	return fields, nil
}

// cpuTime is the processor time of one process so far, its threads together.
func cpuTime(pid int) (time.Duration, error) {
	fields, err := processStat(pid)
	if err != nil {
		return 0, err
	}
	user, err1 := strconv.ParseInt(fields[14], 10, 64)
	system, err2 := strconv.ParseInt(fields[15], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return 0, err
	}
	return time.Duration(user+system) * time.Second / ticksPerSecond, nil
}

// childrenOf gives the processes that a process has started.
func childrenOf(pid int) []int {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	var found []int
	for _, path := range paths {
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		if fields, err := processStat(child); err == nil && fields[4] == strconv.Itoa(pid) {
			found = append(found, child)
		}
	}
	return found
}

// residentMemory is what a process holds in memory, in bytes.
func residentMemory(pid int) (uint64, error) {
	text := lineOf(fmt.Sprintf("/proc/%d/status", pid), "VmRSS")
	kib, err := strconv.ParseUint(strings.TrimSuffix(text, " kB"), 10, 64)
	if err != nil {
		return 0, errNoProc
	}
	return kib << 10, nil
}

// syncBlock is what one commit of the disk's measure writes.
const syncBlock = 4096

// syncRate appends blocks to a file in dir, each made durable by itself, and gives
// their number per second: what one commit at a time could reach.
func syncRate(ctx context.Context, dir string, length time.Duration) (rate float64, err error) {
	file, err := os.CreateTemp(dir, "sync-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	block := make([]byte, syncBlock)
	began := time.Now()
	n := 0
	for time.Since(began) < length && ctx.Err() == nil {
		if _, err := file.Write(block); err != nil {
			return 0, err
		}
		if err := file.Sync(); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n) / time.Since(began).Seconds(), ctx.Err()
}

// describeSQLite reads from the file itself which version wrote it last and in
// which journal mode (sqlite.org/fileformat2.html, 1.3: offsets 18 and 96). How a
// connection syncs is not in the file: sqlstore sets it on each.
func describeSQLite(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	header := make([]byte, 100)
	if _, err := file.ReadAt(header, 0); err != nil {
		return "", fmt.Errorf("header of the database: %w", err)
	}
	number := binary.BigEndian.Uint32(header[96:])
	journal := "rollback journal"
	if header[18] == 2 {
		journal = "WAL"
	}
	return fmt.Sprintf("SQLite %d.%d.%d, %s, synchronous=FULL", number/1_000_000, number/1000%1000, number%1000, journal), nil
}
