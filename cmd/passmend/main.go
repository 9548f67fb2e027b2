// Command passmend brings forgotten passwords back. This package is flags,
// configuration and wiring; what it wires lives in the rooms beside it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/passmend/passmend/plugins/host"
)

// The exit statuses of every command.
const (
	exitOK      = 0
	exitFailure = 1 // it was understood and did not work
	exitUsage   = 2 // a flag, an argument or the configuration is wrong
)

// version and commit are set by the build (-ldflags -X).
var (
	version = "dev"
	commit  = "unknown"
)

func main() {
	// A copy of this program puts each plugin into its cage: host.SelfHelper.
	if status, cage := host.Cage(os.Args); cage {
		os.Exit(status)
	}
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := rootCommand().ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(os.Stderr, "passmend:", err)
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	return exitFailure
}
