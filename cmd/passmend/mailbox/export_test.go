package mailbox

import "time"

// Parse and Preview are for fuzzing without a connection each.
func Parse(raw []byte) Message { return parse([]string{"ada@example.com"}, raw, time.Time{}) }

func (m Message) Preview() string { return m.preview() }
