// Command cage is a host's helper and nothing else.
package main

import (
	"os"

	"github.com/passmend/passmend/plugins/host"
)

func main() {
	status, _ := host.Cage(os.Args)
	os.Exit(status)
}
