package core

import (
	"encoding/json"
	"slices"
)

// EventName is from the closed list of contract.md, R5.
type EventName string

// The closed list of events.
const (
	EventUserCreated      EventName = "user.created"
	EventUserUpdated      EventName = "user.updated"
	EventUserDeleted      EventName = "user.deleted"
	EventUserBanned       EventName = "user.banned"
	EventUserUnbanned     EventName = "user.unbanned"
	EventPasswordReset    EventName = "user.password-reset"
	EventPasswordChanged  EventName = "user.password-changed"
	EventPasswordDisputed EventName = "user.password-reset.disputed"
	EventTokenGenerated   EventName = "token.generated"
	EventTokenRegenerated EventName = "token.regenerated"
	EventTokenRevoked     EventName = "token.revoked"
	EventFailedOver       EventName = "delivery.failed-over"
	EventBounced          EventName = "delivery.bounced"
	EventComplained       EventName = "delivery.complained"
	EventDomainDegraded   EventName = "domain.degraded"
	EventEndpointDisabled EventName = "webhook-endpoint.disabled"
)

// EventNames is every event, in the order of documentation.
func EventNames() []EventName {
	return []EventName{
		EventUserCreated, EventUserUpdated, EventUserDeleted, EventUserBanned, EventUserUnbanned,
		EventPasswordReset, EventPasswordChanged, EventPasswordDisputed,
		EventTokenGenerated, EventTokenRegenerated, EventTokenRevoked,
		EventFailedOver, EventBounced, EventComplained, EventDomainDegraded, EventEndpointDisabled,
	}
}

// Valid says whether the event is one of the list.
func (n EventName) Valid() bool { return slices.Contains(EventNames(), n) }

// Event is something that an account may subscribe to. It is recorded in the
// commit that made it true, whether or not anybody listens; each webhook endpoint
// that does has a delivery queued in the same commit.
type Event struct {
	ID   EventID
	Name EventName
	// User is whom it is about; receivers are shown the user as it is when they are told.
	User    UserID
	Request RequestID
	// Facts is a JSON object: what receivers are told beyond the user, as the members
	// of the payload's meta. A member "data" takes the place of the user's resource,
	// for what is about something else or about a user who is gone. It never holds a
	// token: that is computed for each attempt and reads back as [redacted].
	Facts json.RawMessage
}
