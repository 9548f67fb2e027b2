package postmark

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// maxCallback is what the host hands on at most.
const maxCallback = 1 << 20

// record is what matters here of a webhook's body. Others of its fields can hold
// the whole mail and are not read.
type record struct {
	kind
	ID          json.RawMessage
	Type        string
	MessageID   string
	Email       string // of a bounce and a complaint
	Recipient   string // of a delivery
	BouncedAt   string
	DeliveredAt string
	Inactive    bool
	Details     string
}

// kind is read first: another kind's fields may have other types.
type kind struct{ RecordType string }

func (k kind) known() bool {
	return k.RecordType == "Delivery" || k.RecordType == "Bounce" || k.RecordType == "SpamComplaint"
}

// ParseEvent implements sdk.EventParser. Postmark signs nothing; its webhooks are
// known by the user name and the password that their URL, or HttpAuth, holds.
// Without a configured password none is believed.
func (*Provider) ParseEvent(_ context.Context, settings sdk.Settings, callback sdk.Callback) ([]sdk.ProviderEvent, error) {
	s, err := parseSettings(settings)
	if err != nil {
		return nil, err
	}
	if err := s.authenticate(callback.Headers); err != nil {
		return nil, err
	}
	if len(callback.Body) > maxCallback {
		return nil, refused("the webhook's body is too large")
	}
	var r record
	if err := json.Unmarshal(callback.Body, &r.kind); err != nil {
		return nil, refused("the webhook's body is not one of Postmark's")
	}
	if !r.known() {
		return nil, nil
	}
	if err := json.Unmarshal(callback.Body, &r); err != nil {
		return nil, refused("the webhook's body is not one of Postmark's")
	}
	event, ok := r.event()
	if !ok {
		return nil, nil
	}
	return []sdk.ProviderEvent{event}, nil
}

// authenticate takes exactly one Authorization field. Digests are compared, so
// that the time tells neither the length nor how much was right.
func (s *settings) authenticate(headers []sdk.Header) error {
	request := http.Request{Header: make(http.Header)}
	for _, h := range headers {
		if http.CanonicalHeaderKey(h.Name) == "Authorization" {
			request.Header.Add("Authorization", h.Value)
		}
	}
	user, password, ok := request.BasicAuth()
	ok = ok && len(request.Header["Authorization"]) == 1 && s.callbackPassword != ""
	sameUser, samePassword := same(user, s.CallbackUser), same(password, s.callbackPassword)
	if ok && sameUser&samePassword == 1 {
		return nil
	}
	failure := &sdk.Failure{Kind: sdk.AuthenticationFailed, Public: "the webhook's credentials are not callbackUser and callbackPassword"}
	if s.callbackPassword == "" {
		failure.Public = "callbackPassword is not set, so no webhook is believed"
	}
	return failure
}

func same(a, b string) int {
	left, right := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(left[:], right[:])
}

// event gives false for what the host has no use for: automatic answers, and
// records of no message.
func (r record) event() (sdk.ProviderEvent, bool) {
	event := sdk.ProviderEvent{MessageID: messageID(r.MessageID), Recipient: r.Email}
	at := r.BouncedAt
	switch r.RecordType {
	case "Delivery":
		event.Kind, event.Public = sdk.Delivered, "the recipient's mail server took the message"
		event.Recipient, at = r.Recipient, r.DeliveredAt
	case "SpamComplaint":
		event.Kind, event.Public = sdk.Complained, "the recipient called the message spam"
	case "Bounce":
		event.Kind, event.Public = r.bounce()
	}
	if event.Kind == "" || event.MessageID == "" {
		return sdk.ProviderEvent{}, false
	}
	if !isAddress(event.Recipient) {
		event.Recipient = ""
	}
	if event.At, _ = time.Parse(time.RFC3339, at); !event.At.IsZero() {
		event.At = event.At.UTC()
	}
	event.ID = r.name(at)
	event.Private = plainWords(fmt.Sprintf("%s %s %s", r.RecordType, r.Type, r.Details))
	return event, true
}

// bounce goes by "Bounce types" of Postmark's Bounce API. What Postmark does not
// say for good of the address leaves the address usable: a suppressed one gets no
// link any more.
func (r record) bounce() (sdk.EventKind, string) {
	switch r.Type {
	case "SpamComplaint":
		return sdk.Complained, "the recipient called the message spam"
	case "HardBounce", "BadEmailAddress":
		return sdk.Bounced, "the recipient's address does not exist or takes no mail"
	}
	if r.Inactive {
		return sdk.Bounced, "Postmark sends no more mail to the recipient's address"
	}
	switch r.Type {
	case "SoftBounce", "Transient", "DnsError":
		return sdk.Deferred, "the recipient's mail server could not take the message"
	case "Blocked", "SpamNotification", "VirusNotification", "DMARCPolicy", "Unknown", "SMTPApiError", "TemplateRenderingFailed", "ManuallyDeactivated":
		return sdk.Deferred, "the message was not delivered; the recipient's address stays usable"
	}
	return "", ""
}

// name is the same for every retry of one event: bounces and complaints have an
// id of their own, a delivery has its message and its time.
func (r record) name(at string) string {
	digest := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q", r.RecordType, r.ID, r.MessageID, at))
	return fmt.Sprintf("%x", digest[:16])
}
