package core

import "encoding/json"

// EventName is from the closed list of contract.md, R5.
type EventName string

// The events that recovery itself emits.
const (
	EventPasswordReset   EventName = "user.password-reset"
	EventPasswordChanged EventName = "user.password-changed"
	EventFailedOver      EventName = "delivery.failed-over"
)

// Event is something that an account may subscribe to. It is recorded in the
// commit that made it true, whether or not anybody listens.
type Event struct {
	ID      EventID
	Name    EventName
	User    UserID
	Request RequestID
	// Facts is a JSON object. It never holds a token: that is computed for each
	// attempt and reads back as [redacted].
	Facts json.RawMessage
}
