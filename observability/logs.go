package observability

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// Format is how log lines are written.
type Format string

// The closed list of formats.
const (
	FormatJSON Format = "json"
	FormatText Format = "text"
)

// LoggerConfig says where log lines go.
type LoggerConfig struct {
	Writer io.Writer // needed
	// Level is read at every line, so that it can be changed at run time; nil: info.
	Level  *slog.LevelVar
	Format Format // empty: FormatJSON
	// Redacted is told how many patterns a line held that should not have been in
	// it; nil: nobody is told.
	Redacted func(n int)
}

func (c *LoggerConfig) validate() error {
	if c.Writer == nil {
		return errors.New("log: Writer is missing")
	}
	if c.Level == nil {
		c.Level = new(slog.LevelVar)
	}
	if c.Format == "" {
		c.Format = FormatJSON
	}
	if c.Format != FormatJSON && c.Format != FormatText {
		return fmt.Errorf("log: format %q is not one of %s, %s", c.Format, FormatJSON, FormatText)
	}
	return nil
}

// NewLogger gives a logger that writes one line per event, adds trace_id and
// span_id of the context's span, and passes every line through a Filter.
func NewLogger(c LoggerConfig) (*slog.Logger, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	filter := NewFilter(c.Writer, c.Redacted)
	options := &slog.HandlerOptions{Level: c.Level}
	var handler slog.Handler
	if c.Format == FormatText {
		handler = slog.NewTextHandler(filter, options)
	} else {
		handler = slog.NewJSONHandler(filter, options)
	}
	return slog.New(traced{handler}), nil
}

// traced adds the ids of the context's span to each line.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, record slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		record.AddAttrs(
			slog.String("trace_id", span.TraceID().String()),
			slog.String("span_id", span.SpanID().String()),
		)
	}
	return h.Handler.Handle(ctx, record)
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }
func (h traced) WithGroup(name string) slog.Handler       { return traced{h.Handler.WithGroup(name)} }
