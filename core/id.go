package core

// Identifiers are UUIDs in canonical form (36 characters, lower case). Requests,
// deliveries, attempts, events, suppressions, endpoints, signing keys and audit events are UUIDv7
// (RFC 9562, section 5.7), so that rows lie in the order of their making. Each has a
// type of its own because each would do damage in the place of another.
type (
	UserID        string
	RequestID     string
	DeliveryID    string
	LeaseID       string
	EventID       string
	TokenID       string
	ProviderID    string
	SuppressionID string
	EndpointID    string
	SigningKeyID  string
	AuditEventID  string
)
