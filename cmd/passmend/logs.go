package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func logsCommand() *cobra.Command {
	return group("logs", "Look at a running server's log level, and change it", logsLevelCommand())
}

func logsLevelCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "level [debug | info | warn | error]",
		Short: "Show or change how much a running server logs",
		Long: `Shows a running server's log level, or changes it, without a restart. It talks to the
server's operations port (PASSMEND_ADMIN_ADDR), of one replica at a time. With --for
the level goes back by itself; without, it stays until the next change or start.

Exit status 1 when no server answers there, 2 for a level or a duration that is none.`,
		Example: `  passmend logs level
  passmend logs level debug --for 10m
  passmend logs level info --admin-addr 10.0.0.7:9090`,
		Args: cobra.MaximumNArgs(1),
	}
	during := cmd.Flags().String("for", "", "how long, as 10m, at most 24h (default: for good)")
	addSettingFlags(cmd.Flags(), "admin_addr")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := loadConfig(cmd, nil)
		if err != nil {
			return err
		}
		if len(args) == 0 {
			if *during != "" {
				return usagef("--for: needs a level: debug, info, warn or error")
			}
			return showLevel(cmd.Context(), cmd.OutOrStdout(), http.MethodGet, c.adminAddr, nil)
		}
		if _, err := parseLevel(args[0]); err != nil {
			return usagef("level: must be debug, info, warn or error (got %q)", args[0])
		}
		if *during != "" {
			if _, err := parseLevelFor(*during); err != nil {
				return usagef("--for: %w", err)
			}
		}
		body, err := json.Marshal(levelState{Level: args[0], For: *during})
		if err != nil {
			return err
		}
		return showLevel(cmd.Context(), cmd.OutOrStdout(), http.MethodPut, c.adminAddr, body)
	}
	return cmd
}

// showLevel asks the server and prints what it says.
func showLevel(ctx context.Context, w io.Writer, method, addr string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+reachable(addr)+"/loglevel", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{}} // no proxy: it is the server itself that is meant
	defer client.CloseIdleConnections()
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("no server answers at %s (--admin-addr, PASSMEND_ADMIN_ADDR): %w", addr, err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", addr, err)
	}
	var state levelState
	if answer.StatusCode != http.StatusOK || json.Unmarshal(text, &state) != nil {
		return fmt.Errorf("%s answered %d: %s", addr, answer.StatusCode, strings.TrimSpace(string(text)))
	}
	line := state.Level
	if state.Until != "" {
		line += " until " + state.Until + ", then " + state.Then
	}
	_, err = fmt.Fprintln(w, line)
	return err
}

// reachable is where a server that listens on every address is found from here.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}
