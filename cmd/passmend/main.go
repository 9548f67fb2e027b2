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

func main() { os.Exit(run()) }

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
