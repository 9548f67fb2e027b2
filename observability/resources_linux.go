package observability

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// diskRoom gives what is left for processes that are not root's, and the whole.
func diskRoom(path string) (free, whole uint64, ok bool) {
	var room syscall.Statfs_t
	if err := syscall.Statfs(path, &room); err != nil || room.Blocks == 0 {
		return 0, 0, false
	}
	size := uint64(room.Bsize)
	return room.Bavail * size, room.Blocks * size, true
}

// tick is the unit of processor time in /proc, which Linux has fixed at 1/100 s
// for programs (proc_pid_stat(5), sysconf(_SC_CLK_TCK)).
const tick = 10 * time.Millisecond

// processUse reads /proc (proc_pid_stat(5)): fields 14 and 15 are processor time,
// 24 pages of memory. The second field is a name in brackets that may hold anything.
func processUse(pid int) (use, bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return use{}, false
	}
	_, rest, _ := bytes.Cut(stat[max(bytes.LastIndexByte(stat, ')'), 0):], []byte(" "))
	fields := bytes.Fields(rest) // the first is the third
	if len(fields) < 22 {
		return use{}, false
	}
	number := func(field int) int64 {
		n, _ := strconv.ParseInt(string(fields[field-3]), 10, 64) // what is no number is 0
		return n
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return use{}, false
	}
	return use{
		memory:    number(24) * int64(os.Getpagesize()),
		files:     len(files),
		processor: time.Duration(number(14)+number(15)) * tick,
	}, true
}
