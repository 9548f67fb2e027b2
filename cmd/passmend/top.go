package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/passmend/passmend/cmd/passmend/top"
	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/tenants"
)

const (
	// topEvery is the time between frames, topOnce the time that the rates of a single
	// frame are over.
	topEvery, topOnce = 2 * time.Second, time.Second
	scrapeTime        = 5 * time.Second
	// namesFor is how long accounts' names are good for.
	namesFor = time.Minute
)

func topCommand() *cobra.Command {
	once := false
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch a replica: queue, rates, plugins, holds, busiest accounts",
		Long: `Shows what a replica does, from its operations port, every two seconds: queue and its
oldest age by lane, rates, plugins and breakers, the busiest accounts. Holds and the
accounts' names are read in the database where it can be reached from here.

The key q quits. Into a pipe, or with --once, it prints one frame.`,
		Example: `  passmend top
  passmend top --admin-addr 10.0.0.7:9090 --once`,
		Args: cobra.NoArgs,
	}
	addSettingFlags(cmd.Flags(), "admin_addr", "database_url", "data_dir", "allow_unsafe_durability")
	cmd.Flags().BoolVar(&once, "once", false, "print one frame and end")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd, nil)
		if err != nil {
			return err
		}
		w := newWatch(cmd.Context(), c)
		defer w.close()
		screen, isFile := cmd.OutOrStdout().(*os.File)
		if once || !isFile || !term.IsTerminal(int(screen.Fd())) {
			return w.once(cmd.Context(), cmd.OutOrStdout())
		}
		return w.live(cmd.Context(), screen, os.Stdin)
	}
	return cmd
}

// watch is one replica, looked at again and again.
type watch struct {
	target string
	client *http.Client
	store  *sqlstore.Store // nil: it cannot be asked
	view   top.View
	named  time.Time // when the names were read
}

func newWatch(ctx context.Context, c config) *watch {
	host, port, _ := net.SplitHostPort(c.adminAddr) // config has checked it
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	target := &url.URL{Scheme: "http", Host: net.JoinHostPort(host, port), Path: "/metrics"}
	w := &watch{target: target.String(), client: &http.Client{Timeout: scrapeTime, Transport: &http.Transport{}}}
	w.view = top.View{Replica: target.Host, Width: widthWithoutTerminal, Height: 24}
	var err error
	if w.store, err = openToRead(ctx, c); err != nil {
		w.view.Unasked = err.Error()
	}
	return w
}

// openToRead opens a database that is there, and makes and migrates nothing.
func openToRead(ctx context.Context, c config) (*sqlstore.Store, error) {
	if c.sqlite() {
		if _, err := os.Stat(strings.TrimPrefix(c.databaseURL, "sqlite://")); err != nil {
			return nil, errors.New("there is no database where the settings say")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, scrapeTime)
	defer cancel()
	store, err := sqlstore.Open(ctx, sqlstore.Config{URL: c.databaseURL, NewID: newID, AllowUnsafeDurability: true})
	if err != nil {
		return nil, err
	}
	if err := store.CheckSchema(ctx); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

func (w *watch) close() {
	if w.store != nil {
		_ = w.store.Close() // nothing was written
	}
}

// look scrapes once; what fails is shown, not the end.
func (w *watch) look(ctx context.Context) {
	scrape, err := w.scrape(ctx)
	if err != nil {
		w.view.Failed = err.Error()
	} else {
		w.view.Failed, w.view.Before, w.view.Now = "", w.view.Now, scrape
	}
	if w.store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, scrapeTime)
	defer cancel()
	if err := w.ask(ctx); err != nil {
		w.view.Unasked = err.Error()
		return
	}
	w.view.Unasked = ""
}

func (w *watch) scrape(ctx context.Context) (top.Scrape, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.target, nil)
	if err != nil {
		return top.Scrape{}, err
	}
	request.Header.Set("Accept", "text/plain; version=0.0.4")
	response, err := w.client.Do(request)
	if err != nil {
		if failed := new(url.Error); errors.As(err, &failed) {
			err = failed.Err
		}
		return top.Scrape{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return top.Scrape{}, fmt.Errorf("/metrics answers %d: is it the operations port?", response.StatusCode)
	}
	return top.Read(response.Body, time.Now())
}

// ask reads holds and, once a minute, the names of accounts.
func (w *watch) ask(ctx context.Context) error {
	holds, err := w.store.AllHolds(ctx)
	if err != nil {
		return err
	}
	if time.Since(w.named) > namesFor {
		names := make(map[string]string)
		d := &desk{store: w.store}
		if err := d.allAccounts(ctx, func(account tenants.Account) error {
			names[string(account.ID)] = account.Slug
			return nil
		}); err != nil {
			return err
		}
		w.view.Names, w.named = names, time.Now()
	}
	w.view.Holds = w.view.Holds[:0]
	for _, hold := range holds {
		w.view.Holds = append(w.view.Holds, top.Hold{What: w.heldWhat(hold), State: formatHold(hold), Since: hold.Since, Waiting: hold.Waiting})
	}
	return nil
}

func (w *watch) heldWhat(hold core.Hold) string {
	var parts []string
	if hold.Provider != "" {
		parts = append(parts, "provider "+hold.Provider)
	}
	if hold.Account != "" {
		parts = append(parts, "account "+or(w.view.Names[string(hold.Account)], string(hold.Account)))
	}
	return or(strings.Join(parts, " of "), "everything")
}

// once prints one frame, with the rates of a second.
func (w *watch) once(ctx context.Context, out io.Writer) error {
	w.look(ctx)
	if w.view.Failed == "" {
		if err := pause(ctx, topOnce); err != nil {
			return err
		}
		w.look(ctx)
	}
	if w.view.Failed != "" {
		return fmt.Errorf("%s: %s; --admin-addr names a replica's operations port", w.target, w.view.Failed)
	}
	_, err := io.WriteString(out, w.view.Frame())
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

const (
	ansiEnter = "\x1b[?1049h\x1b[?25l" // the other screen, without a cursor
	ansiLeave = "\x1b[?25h\x1b[?1049l"
	ansiHome  = "\x1b[H"
	ansiClear = "\x1b[K" // to the end of the line
	ansiBelow = "\x1b[J"
)

// live draws until q, Ctrl-C or the end of ctx, and leaves the terminal as it was.
func (w *watch) live(ctx context.Context, screen, keyboard *os.File) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if term.IsTerminal(int(keyboard.Fd())) {
		before, err := term.MakeRaw(int(keyboard.Fd()))
		if err != nil {
			return err
		}
		defer func() { _ = term.Restore(int(keyboard.Fd()), before) }() // the process ends
		go func() {
			var key [1]byte
			for {
				if n, err := keyboard.Read(key[:]); err != nil || n == 1 && (key[0] == 'q' || key[0] == 3) { // 3: Ctrl-C, raw
					stop()
					return
				}
			}
		}()
	}
	w.view.Colour = newReport(screen).colour
	fmt.Fprint(screen, ansiEnter)
	defer fmt.Fprint(screen, ansiLeave)
	for {
		w.look(ctx)
		if width, height, err := term.GetSize(int(screen.Fd())); err == nil {
			w.view.Width, w.view.Height = width, height
		}
		frame := strings.TrimSuffix(w.view.Frame(), "\n")
		fmt.Fprint(screen, ansiHome+strings.ReplaceAll(frame, "\n", ansiClear+"\r\n")+ansiClear+ansiBelow)
		if pause(ctx, topEvery) != nil {
			return nil // whoever watched has quit
		}
	}
}
