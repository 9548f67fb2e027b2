package observability

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/gin-gonic/gin"
)

// Config is what Telemetry is made from.
type Config struct {
	Version string // of the build
	Commit  string
	// LogOutput takes the log; needed.
	LogOutput io.Writer
	LogLevel  slog.Level
	LogFormat Format // empty: FormatJSON
	// Database is the engine behind the store, for spans: sqlite or postgresql;
	// empty: sqlite.
	Database string
	// Accounts says which accounts metrics tell apart; empty: AccountsTop.
	Accounts AccountLabel
	// SpanExporter and Getenv are those of TracingConfig.
	SpanExporter sdktrace.SpanExporter
	Getenv       func(name string) string
}

func (c *Config) validate() error {
	switch c.Database {
	case "":
		c.Database = "sqlite"
	case "sqlite", "postgresql":
	default:
		return fmt.Errorf("telemetry: database %q is not one of sqlite, postgresql", c.Database)
	}
	return nil
}

// Telemetry is logs, metrics and traces together: what cmd wires round the ports.
// Its Metrics are the observers of the store, the host, the edge and the keys.
type Telemetry struct {
	*Metrics
	tracing  *Tracing
	level    *slog.LevelVar
	logger   *slog.Logger
	database string
	claims   claims
}

// New sets everything up. Only the sending of spans runs in the background;
// Shutdown ends it.
func New(ctx context.Context, c Config) (*Telemetry, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	metrics, err := NewMetrics(MetricsConfig{Version: c.Version, Commit: c.Commit, Accounts: c.Accounts})
	if err != nil {
		return nil, err
	}
	t := &Telemetry{Metrics: metrics, level: new(slog.LevelVar), database: c.Database}
	t.level.Set(c.LogLevel)
	t.logger, err = NewLogger(LoggerConfig{Writer: c.LogOutput, Level: t.level, Format: c.LogFormat, Redacted: t.Redacted("log")})
	if err != nil {
		return nil, err
	}
	t.tracing, err = NewTracing(ctx, TracingConfig{
		ServiceVersion: c.Version, Exporter: c.SpanExporter, Getenv: c.Getenv,
		Dropped: func(n int) { t.spansDropped.with().Add(float64(n)) },
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Logger is the process's logger.
func (t *Telemetry) Logger() *slog.Logger { return t.logger }

// Level is the logger's level, to be read and changed at run time.
func (t *Telemetry) Level() *slog.LevelVar { return t.level }

// Shutdown sends the last spans.
func (t *Telemetry) Shutdown(ctx context.Context) error { return t.tracing.Shutdown(ctx) }

// Middleware goes round every route of the public listener.
func (t *Telemetry) Middleware() []gin.HandlerFunc { return []gin.HandlerFunc{t.HTTP("public")} }
