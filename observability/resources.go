package observability

import (
	"context"
	"time"
)

// Hashing shows how many password hashes run and wait. Call it once.
func (m *Metrics) Hashing(load func() (running, waiting int)) {
	m.atScrape([]string{"hash_inflight", "hash_waiting"}, func(show func(string, float64, ...string)) {
		running, waiting := load()
		show("hash_inflight", float64(running))
		show("hash_waiting", float64(waiting))
	})
}

// Database shows the connections of a pool and, where there is one, the size in
// bytes of the write-ahead log. Call it once.
func (m *Metrics) Database(pool func() (used, idle, most int), log func() (bytes int64, there bool)) {
	m.atScrape([]string{"db_pool_connections", "sqlite_wal_bytes"}, func(show func(string, float64, ...string)) {
		used, idle, most := pool()
		show("db_pool_connections", float64(used), "used")
		show("db_pool_connections", float64(idle), "idle")
		show("db_pool_connections", float64(most), "max")
		if bytes, there := log(); there {
			show("sqlite_wal_bytes", float64(bytes))
		}
	})
}

// DiskRoom gives what is left on the disk of a path for processes that are not root's,
// and the whole, in bytes; false where that is not known.
func DiskRoom(path string) (free, whole uint64, ok bool) { return diskRoom(path) }

// Disks shows the room on the disks of paths, by what they are for: data, plugins
// or temp. Call it once.
func (m *Metrics) Disks(paths map[string]string) {
	m.atScrape([]string{"disk_free_bytes", "disk_free_ratio"}, func(show func(string, float64, ...string)) {
		seen := make(map[string]bool)
		for role, path := range paths {
			free, whole, ok := diskRoom(path)
			if role = pathRoles.of(role); !ok || seen[role] {
				continue
			}
			seen[role] = true
			show("disk_free_bytes", float64(free), role)
			show("disk_free_ratio", float64(free)/float64(whole), role)
		}
	})
}

// KeySlots shows how old the keys in use are. made is when each slot's was; one of
// which the time is not known is not shown. Call it once.
func (m *Metrics) KeySlots(made map[string]time.Time) {
	m.atScrape([]string{"key_slot_age_seconds"}, func(show func(string, float64, ...string)) {
		for _, slot := range keySlots {
			if at := made[slot]; !at.IsZero() {
				show("key_slot_age_seconds", time.Since(at).Seconds(), slot)
			}
		}
	})
}

// Endpoints shows the webhook endpoints by state, enabled, failing or disabled,
// counted by read when they are scraped, at most every 30 s. Call it once.
func (m *Metrics) Endpoints(read func(ctx context.Context) (map[string]int64, error)) {
	counts := &remembered[map[string]int64]{read: read, age: sumAge, now: time.Now}
	m.atScrape([]string{"webhook_endpoints"}, func(show func(string, float64, ...string)) {
		states, err := counts.value()
		if err != nil {
			return
		}
		for _, state := range endpointStates {
			show("webhook_endpoints", float64(states[state]), state)
		}
	})
}

// Processes shows what the plugins' processes use. list gives the process numbers of
// those that run, by plugin; it is asked at each scrape. Call it once.
func (m *Metrics) Processes(list func() map[string]int) {
	names := []string{"plugin_resident_memory_bytes", "plugin_open_fds", "plugin_cpu_seconds_total"}
	m.atScrape(names, func(show func(string, float64, ...string)) {
		seen := make(map[string]bool)
		for name, pid := range list() {
			use, ok := processUse(pid)
			label, _ := m.plugins.of(name)
			if !ok || seen[label] {
				continue
			}
			seen[label] = true
			show("plugin_resident_memory_bytes", float64(use.memory), label)
			show("plugin_open_fds", float64(use.files), label)
			show("plugin_cpu_seconds_total", use.processor.Seconds(), label)
		}
	})
}

// use is what a process has and has used.
type use struct {
	memory    int64 // bytes
	files     int
	processor time.Duration
}
