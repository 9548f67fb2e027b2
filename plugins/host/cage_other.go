//go:build unix && !linux

package host

// Cage says that this process is no cage helper: only Linux has a cage.
func Cage([]string) (status int, cage bool) { return 0, false }

func landlockABI() int { return 0 }

const abiPorts = 4
