package sdk

import (
	"fmt"
	"log/slog"
)

// Secret is a string that prints as [redacted] wherever it is formatted, logged
// or encoded. Only Reveal gives the value.
type Secret struct{ value string }

// NewSecret wraps value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal gives the value; what the caller does with it shows in review.
func (s Secret) Reveal() string { return s.value }

// String, Format, LogValue and MarshalText all give "[redacted]".
func (Secret) String() string               { return "[redacted]" }
func (Secret) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte("[redacted]")) }
func (Secret) LogValue() slog.Value         { return slog.StringValue("[redacted]") }
func (Secret) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }
