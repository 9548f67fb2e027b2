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
	Template  string // "reset", "invite", "changed" or "accounts"
	Locale    string // BCP 47
	Link      Secret // "reset" and "invite" only
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
	// Code is the receiving side's status, at most 16 characters: "250", "5.7.1"
	// (RFC 3463) or "410" (HTTP). May be empty.
	Code string
	// Answer is what an event's endpoint said, for its owner: at most 256
	// printable characters. Empty for mail.
	Answer string
	// Steps tell where the time went, in order.
	Steps []Step
}

// Step is one timed part of a Send, for the host's trace: dial, tls, auth, data.
type Step struct {
	Name     string
	Start    time.Duration // since Send was entered
	Duration time.Duration
}

// Callback is one HTTP request of the provider's service, as it arrived at
// /v1/accounts/{ACCOUNT}/provider-events/{PROVIDER}.
type Callback struct {
	// Headers holds names in canonical form (RFC 9110, section 5.1) in no
	// particular order; a name may be there more than once.
	Headers []Header
	// Body is at most 1 MiB.
	Body []byte
}

// ProviderEvent is one thing that the service reports of an earlier message.
type ProviderEvent struct {
	// ID is the service's name for the event; a repeated one is taken once.
	ID string
	// Kind says what happened.
	Kind EventKind
	// MessageID is the Receipt.MessageID of the message.
	MessageID string
	// Recipient is the address that the event is about; may be empty.
	Recipient string
	// At is when it happened by the service's clock; zero: unknown.
	At time.Time
	// Public and Private are as in Failure.
	Public, Private string
}

// EventKind is what happened to a message after it was taken.
type EventKind string

// The closed list of event kinds.
const (
	Delivered  EventKind = "delivered"  // the recipient's server took it
	Bounced    EventKind = "bounced"    // refused for good; the address is suppressed
	Deferred   EventKind = "deferred"   // refused for now; the service tries again
	Complained EventKind = "complained" // the recipient calls it spam; suppressed
)
