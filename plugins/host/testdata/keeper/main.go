// Command keeper runs a plugin host over the directory it is given, prints the
// number of its one plugin's process, and stays until it is killed. Meanwhile it
// makes and ends threads, as any program does.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/passmend/passmend/plugins/host"
)

func main() {
	if status, cage := host.Cage(os.Args); cage {
		os.Exit(status)
	}
	h, err := host.New(host.Config{Dir: os.Args[1], SocketDir: os.Args[2], Helper: host.SelfHelper})
	if err == nil {
		err = h.Start(context.Background())
	}
	if err == nil {
		err = h.Ready(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(h.List()[0].PID)
	for range 200 {
		ended := make(chan struct{})
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			close(ended)
		}()
		<-ended
	}
	time.Sleep(200 * time.Millisecond)
	fmt.Println(h.List()[0].PID, h.List()[0].Restarts)
	time.Sleep(time.Hour)
}
