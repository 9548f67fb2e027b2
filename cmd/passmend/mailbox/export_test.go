package mailbox

import "time"

// ParseOne and Preview are for fuzzing without a connection each.
func ParseOne(raw []byte) Message { return Parse([]string{"ada@example.com"}, raw, time.Time{}) }

func (m Message) Preview() string { return m.preview() }
