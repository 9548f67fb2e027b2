package main

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/core/sqlstore"
)

// watchDatabase has the metrics read what the database knows, and the disks.
func (s *service) watchDatabase(store *sqlstore.Store) {
	s.telemetry.Balance(store.Balance)
	s.telemetry.Backlog(store.Backlog)
	s.telemetry.Holds(store.HoldCounts)
	s.telemetry.Endpoints(store.EndpointCounts)
	s.telemetry.Database(store.Connections, store.LogBytes)
	disks := map[string]string{"plugins": s.config.pluginDir, "temp": os.TempDir()}
	if s.config.sqlite() {
		disks["data"] = filepath.Dir(strings.TrimPrefix(s.config.databaseURL, "sqlite://"))
	}
	s.telemetry.Disks(disks)
}

// watchKeys has the metrics show the age of the keys in use. A file that is rotated
// is read at the next start, and so is its age.
func (s *service) watchKeys() error {
	slots, err := keys.Slots(s.config.keysFile)
	if err != nil {
		return err
	}
	made := make(map[string]time.Time, len(slots))
	for _, slot := range slots {
		made[slot.Name] = slot.Created
	}
	s.telemetry.KeySlots(made)
	return nil
}

// pluginProcesses gives the process numbers of the plugins that run.
func (s *service) pluginProcesses() map[string]int {
	running := make(map[string]int)
	for _, status := range s.plugins.List() {
		if status.PID != 0 {
			running[status.Name] = status.PID
		}
	}
	return running
}
