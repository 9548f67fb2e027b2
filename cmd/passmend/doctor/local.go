package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/plugins/host"
)

// Bounds that are amber, and those that are red.
const (
	oldKey, ancientKey     = 100 * 24 * time.Hour, 400 * 24 * time.Hour // PassmendKeySlotOld
	someSkew, muchSkew     = 2 * time.Second, time.Minute
	littleRoom, hardlyRoom = 0.10, 0.03
	leastRoom              = 256 << 20 // bytes: SQLite's log alone may take as much
)

// Keys checks the keys file, its mode, and how old the keys in use are.
func Keys(path string, now time.Time) []Line {
	slots, err := keys.Slots(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Line{Bad(Fail, "keys", "keys file", "passmend keys init, once, and a copy of it apart from the database's backups", "%s is not there", path)}
	case err != nil:
		return []Line{Bad(Fail, "keys", "keys file", "mend what it says; PASSMEND_KEYS_FILE names another file", "%v", err)}
	}
	mode := "?"
	if info, err := os.Stat(path); err == nil {
		mode = fmt.Sprintf("%04o", info.Mode().Perm())
	}
	lines := []Line{Good("keys", "keys file", "%s, mode %s", path, mode)}
	for _, slot := range slots {
		age := now.Sub(slot.Created)
		name := "key slot " + slot.Name
		days := int(age.Hours() / 24)
		remedy := "docs/runbooks/key-rotation.md"
		switch {
		case slot.Created.IsZero():
			lines = append(lines, Bad(Warn, "keys", name, remedy, "the file does not say when its key was made"))
		case age > ancientKey:
			lines = append(lines, Bad(Fail, "keys", name, remedy, "its key is %d days old", days))
		case age > oldKey:
			lines = append(lines, Bad(Warn, "keys", name, remedy, "its key is %d days old", days))
		default:
			lines = append(lines, Good("keys", name, "%d days old", max(days, 0)))
		}
	}
	return lines
}

// DatabaseFile checks the embedded database's file before it is opened: opening would
// make it.
func DatabaseFile(path string) Line {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Bad(Fail, "database", "file", "passmend serve makes it at its first start; PASSMEND_DATA_DIR or PASSMEND_DATABASE_URL names another", "%s is not there", path)
	case err != nil:
		return Bad(Fail, "database", "file", "run the doctor as the user who runs the service", "%v", err)
	case info.Mode().Perm()&0o077 != 0:
		return Bad(Fail, "database", "file", "chmod 600 "+path, "%s can be used by others (mode %04o)", path, info.Mode().Perm())
	}
	return Good("database", "file", "%s, mode %04o", path, info.Mode().Perm())
}

// Opened checks whether the database was reached; err is what stood in the way.
func Opened(engine string, err error) Line {
	if err != nil {
		return Bad(Fail, "database", "connection", "docs/runbooks/database-down.md", "%v", err)
	}
	return Good("database", "connection", "%s answers", engine)
}

// Durability checks whether what is acknowledged outlives a crash: refused is what the
// service says to a database that may lose it.
func Durability(engine string, refused error, allowed bool) Line {
	const remedy = "turn fsync, full_page_writes and synchronous_commit on"
	switch {
	case refused != nil && allowed:
		return Bad(Warn, "database", "durability", remedy+", and PASSMEND_ALLOW_UNSAFE_DURABILITY off", "%v", refused)
	case refused != nil:
		return Bad(Fail, "database", "durability", remedy, "%v", refused)
	case allowed:
		return Bad(Warn, "database", "durability", "PASSMEND_ALLOW_UNSAFE_DURABILITY=false: nothing needs it", "a database that loses what it acknowledged would be served on")
	}
	return Good("database", "durability", "%s keeps what it acknowledged", engine)
}

// Schema checks the steps of the schema.
func Schema(steps []sqlstore.Migration, err error, embedded bool) Line {
	if err != nil {
		return Bad(Fail, "database", "schema", "docs/runbooks/stuck-migration.md", "%v", err)
	}
	var missing []string
	for _, step := range steps {
		if !step.Applied {
			missing = append(missing, step.Name)
		}
	}
	switch {
	case len(missing) == 0:
		return Good("database", "schema", "all %d steps are applied", len(steps))
	case embedded:
		return Bad(Warn, "database", "schema", "the next start of the service applies them; or passmend migrate up", "not applied: %s", strings.Join(missing, ", "))
	}
	return Bad(Fail, "database", "schema", "passmend migrate up, once for all replicas", "not applied: %s", strings.Join(missing, ", "))
}

// Clock checks by how much this machine's clock differs from the database's.
func Clock(database, local time.Time) Line {
	skew := local.Sub(database)
	found := fmt.Sprintf("this machine's clock is %s the database's", ahead(skew))
	switch {
	case skew.Abs() > muchSkew:
		return Bad(Fail, "database", "clock", "set both by NTP: certificates and limits go by this clock, links and leases by the database's", "%s", found)
	case skew.Abs() > someSkew:
		return Bad(Warn, "database", "clock", "set both by NTP", "%s", found)
	}
	return Good("database", "clock", "%s", found)
}

func ahead(skew time.Duration) string {
	switch rounded := skew.Round(10 * time.Millisecond); {
	case rounded == 0:
		return "the same as"
	case rounded > 0:
		return rounded.String() + " ahead of"
	default:
		return (-rounded).String() + " behind"
	}
}

// Disk checks the room on the disk that a path is on.
func Disk(role, path string, free, whole uint64, known bool) Line {
	name := "disk of " + role
	if !known || whole == 0 {
		return Bad(Warn, "disk", name, "df "+path, "the room at %s is not known", path)
	}
	ratio := float64(free) / float64(whole)
	found := fmt.Sprintf("%.1f GiB free at %s, %.0f %%", float64(free)/(1<<30), path, 100*ratio)
	switch {
	case ratio < hardlyRoom || free < leastRoom:
		return Bad(Fail, "disk", name, "docs/runbooks/disk-full.md", "%s", found)
	case ratio < littleRoom:
		return Bad(Warn, "disk", name, "docs/runbooks/disk-full.md", "%s", found)
	}
	return Good("disk", name, "%s", found)
}

// Plugin checks that a plugin came up, and each layer of the cage round it. refused is
// why it may not run; empty: it may. needed says that a provider of the platform uses it.
func Plugin(status host.Status, refused string, needed bool) []Line {
	name, bad := status.Name, Warn
	if needed {
		bad = Fail
	}
	switch {
	case refused != "":
		return []Line{Bad(bad, "plugins", name, "passmend plugin list says why; passmend plugin install makes it trusted", "it may not run: %s", refused)}
	case status.State != host.StateUp:
		why := status.LastError
		if why == "" {
			why = "it did not say why"
		}
		return []Line{Bad(bad, "plugins", name, "docs/runbooks/plugin-crash-loop.md", "it is %s: %s", status.State, why)}
	}
	return []Line{Good("plugins", name, "%s came up", status.Version), cage(status)}
}

// cage is green without the two layers that hardly a kernel in service has.
func cage(status host.Status) Line {
	name := status.Name + "'s cage"
	var details, missing []string
	active := 0
	for _, layer := range status.Cage {
		if layer.Active {
			active++
			details = append(details, layer.Name+": active")
			continue
		}
		details = append(details, layer.Name+": missing, "+layer.Reason)
		if host.Required(layer.Name) {
			missing = append(missing, layer.Name)
		}
	}
	line := Good("plugins", name, "%d of %d layers are active", active, len(host.LayerNames()))
	switch {
	case active == 0:
		line = Bad(Fail, "plugins", name, "PASSMEND_PLUGIN_SANDBOX=best-effort or required", "there is none")
	case len(missing) > 0:
		line = Bad(Warn, "plugins", name, "docs/operating.md, Plugins and their cage: the kernel or the container forbids what is missing", "without %s", strings.Join(missing, ", "))
	}
	line.Details = details
	return line
}

// Missing is a plugin that a provider names and that is not installed.
func Missing(plugin, provider string) Line {
	return Bad(Fail, "plugins", plugin, "put passmend-"+plugin+" into the plugin directory, or passmend plugin install it", "it is not installed, and provider %s delivers by it", provider)
}

// Provider checks a configured provider: wrong is what its plugin says of its settings,
// unsure what kept it from telling.
func Provider(name string, wrong, unsure error) Line {
	switch {
	case wrong != nil:
		return Bad(Fail, "providers", name, "passmend provider remove "+name+", and add it with settings that are right", "%v", wrong)
	case unsure != nil:
		return Bad(Warn, "providers", name, "passmend provider check "+name+"; docs/runbooks/provider-down.md", "%v", unsure)
	}
	return Good("providers", name, "its plugin finds no fault")
}

// Chain checks that the platform's chain has providers, and that they exist.
func Chain(chain, configured []string) Line {
	if len(configured) == 0 {
		return Bad(Fail, "providers", "chain", "passmend provider add relay --plugin smtp --set host=...", "the platform has no provider: nothing can be delivered")
	}
	if len(chain) == 0 {
		chain = sorted(configured)
	}
	for _, name := range chain {
		found := false
		for _, known := range configured {
			found = found || known == name
		}
		if !found {
			return Bad(Fail, "providers", "chain", "PASSMEND_DEFAULT_PROVIDERS: names that passmend provider list shows", "there is no provider %q", name)
		}
	}
	return Good("providers", "chain", "%s", strings.Join(chain, ", then "))
}
