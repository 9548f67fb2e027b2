package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// profiled runs the load of a measure once more, uncounted, while the server
// profiles itself. It does nothing unless profiles are wanted.
func (b *bench) profiled(ctx context.Context, p *process, name string, work func(ctx context.Context) error) error {
	if b.Profiles == "" {
		return nil
	}
	b.say("profile of %s", name)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var profiling sync.WaitGroup
	var profiled error
	profiling.Go(func() {
		// The load has warmed up by then, and has not ended when the profile does.
		if pause(ctx, min(warmUp, b.Length)) {
			seconds := max(int(b.Length.Seconds()), 1)
			profiled = errors.Join(
				fetchProfile(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", p.admin, seconds), filepath.Join(b.Profiles, name+".pprof"), seconds),
				fetchProfile(ctx, fmt.Sprintf("http://%s/debug/pprof/heap", p.admin), filepath.Join(b.Profiles, name+"-heap.pprof"), seconds),
			)
		}
	})
	err := work(ctx)
	if err != nil {
		cancel()
	}
	profiling.Wait()
	return errors.Join(err, profiled)
}

// fetchProfile asks the operations port for a profile that takes so many seconds.
func fetchProfile(ctx context.Context, url, path string, seconds int) (err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: time.Duration(seconds)*time.Second + answerTime}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: status %d", response.StatusCode)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, response.Body)
	return errors.Join(err, file.Close())
}
