package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the service",
		Long: `Runs the service until it gets SIGTERM or SIGINT; then it finishes what is under
way and ends within 30 seconds. It needs a base URL, a keys file and a provider:

  passmend keys init
  passmend provider add relay --plugin smtp --set host=smtp.example.com
  passmend account create acme --name Acme
  passmend serve --base-url https://reset.example.com

Settings are read from a file, then the environment, then flags; the later wins.`,
		Example: `  passmend serve --base-url https://reset.example.com --http-addr 0.0.0.0:8080
  PASSMEND_BASE_URL=https://reset.example.com passmend serve --config /etc/passmend.yaml`,
		Args: cobra.NoArgs,
	}
	addSettingFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd, nil)
		if err != nil {
			return err
		}
		if c.baseURL == nil {
			return missingSetting("base_url", "https://HOST, where people reach the pages")
		}
		collectLess()
		s, err := startService(cmd.Context(), c, serviceOptions{logs: os.Stderr})
		if err != nil {
			return err
		}
		s.logger.Info("ready", slog.String("event", "sys_startup"), slog.String("http", listening(s.httpListener)), slog.String("admin", listening(s.adminListener)), slog.String("roles", s.config.roles.String()))
		return s.wait(cmd.Context())
	}
	return cmd
}

// collectLess lets the heap grow to five times what lives before it is collected.
// Little lives here, some MiB, so that Go's own measure, twice that, spends a tenth
// of the time under load on collecting. GOGC has the last word, and GOMEMLIMIT bounds both.
func collectLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// wait keeps the service up until ctx ends or a listener fails, then takes it down.
func (s *service) wait(ctx context.Context) error {
	var err error
	select {
	case <-ctx.Done():
		s.logger.Info("stopping", slog.String("event", "sys_shutdown"))
	case err = <-s.failed:
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	return errors.Join(err, s.stop(stop))
}

// listening gives where a listener listens; nothing for a role without one.
func listening(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}
