package sdk

import "time"

// SendRequest is one message to hand over. Exactly one of Mail and Event is set.
type SendRequest struct {
	// IdempotencyKey is the same for every attempt of one delivery.
	IdempotencyKey string
	Settings       Settings
	Mail           *Mail
	Event          *Event
	// TraceParent is the W3C trace parent of the host's call; may be empty.
	TraceParent string
}

// Mailbox is a display name, possibly empty, and an addr-spec. Neither holds
// control characters: the host refuses them before the call.
type Mailbox struct {
	Name    string
	Address string
}

// Header is one header field, in the order in which it is to be written.
type Header struct {
	Name  string
	Value string
}

// Mail is a finished mail. A provider with templates of its own may use Facts in
// place of Text and HTML; the link must arrive byte for byte as given.
type Mail struct {
	From    Mailbox
	To      Mailbox
	ReplyTo Mailbox // zero value: none
	Subject string
	Text    string
	HTML    string
	// MessageID is the value for the Message-ID field without angle brackets,
	// the same for every attempt.
	MessageID string
	Headers   []Header
	Inline    []Inline
	Facts     Facts
}

// Inline is a part that the HTML refers to by cid: (RFC 2392).
type Inline struct {
	ContentID   string
	ContentType string
	Name        string
	Bytes       []byte
}

// Facts is what the mail says, as data.
type Facts struct {
	Template  string // "reset", "invite" or "changed"
	Locale    string // BCP 47
	Link      Secret // empty for "changed"
	ExpiresAt time.Time
}

// Event is a signed webhook call, ready to be posted: every header is final.
type Event struct {
	URL     string
	Headers []Header
	Body    []byte
	// Forbidden lists networks in CIDR form that must not be connected to.
	Forbidden []string
}

// Receipt says that a message was taken.
type Receipt struct {
	// Outcome is Accepted, or AcceptedUnknown when the receiving side took the
	// message without saying so clearly.
	Outcome Outcome
	// MessageID is the receiving side's own name for the message; may be empty.
	MessageID string
	// Steps tell where the time went, in order.
	Steps []Step
}

// Step is one timed part of a Send, for the host's trace: dial, tls, auth, data.
type Step struct {
	Name     string
	Start    time.Duration // since Send was entered
	Duration time.Duration
}
