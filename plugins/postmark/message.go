package postmark

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"mime"
	"strings"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// maxMessage is the most bytes of one message's JSON that Postmark takes: 10 MB.
const maxMessage = 10_000_000

// metadataName is the name under which a message carries its delivery's digest:
// in Postmark's activity, in its webhooks and for the look-up before a repeat.
const metadataName = "delivery"

// message is a built mail: an endpoint, the JSON for it, and the delivery's name.
type message struct {
	templated bool
	body      []byte
	delivery  string
}

// payload is the body of POST /email and POST /email/withTemplate.
type payload struct {
	From          string
	To            string
	ReplyTo       string            `json:",omitempty"`
	Subject       string            `json:",omitempty"`
	TextBody      string            `json:",omitempty"`
	HtmlBody      string            `json:",omitempty"`
	TemplateAlias string            `json:",omitempty"`
	TemplateModel *templateModel    `json:",omitempty"`
	Headers       []header          `json:",omitempty"`
	Attachments   []attachment      `json:",omitempty"`
	Metadata      map[string]string `json:",omitempty"`
	MessageStream string
	// Both are always written: a link that is tracked is not the link.
	TrackOpens bool
	TrackLinks string
}

type header struct{ Name, Value string }

type attachment struct {
	Name        string
	Content     []byte // base64 in JSON, as Postmark asks
	ContentType string
	ContentID   string
}

// templateModel is what a template kept at Postmark may use.
type templateModel struct {
	Link      string `json:"link"`
	ExpiresAt string `json:"expires_at"`
	Locale    string `json:"locale"`
	Subject   string `json:"subject"`
	FromName  string `json:"from_name"`
	ToName    string `json:"to_name"`
	Text      string `json:"text"`
}

// build checks every field and writes the message before anything is connected.
// Its error is a *sdk.Failure.
//
// X-PM-KeepID makes Postmark keep the Message-ID that Headers give; without it
// Postmark writes its own, another one for every attempt.
func build(s *settings, request sdk.SendRequest) (*message, error) {
	m := request.Mail
	template := s.template(m.Facts.Template)
	if err := check(m, template); err != nil {
		return nil, err
	}
	p := payload{
		From:          mailbox(m.From),
		To:            mailbox(m.To),
		Headers:       []header{{"Message-ID", "<" + m.MessageID + ">"}, {"X-PM-KeepID", "true"}},
		MessageStream: s.MessageStream,
		TrackLinks:    "None",
	}
	if m.ReplyTo.Address != "" {
		p.ReplyTo = mailbox(m.ReplyTo)
	}
	for _, h := range m.Headers {
		p.Headers = append(p.Headers, header(h))
	}
	delivery := deliveryName(request.IdempotencyKey)
	if delivery != "" {
		p.Metadata = map[string]string{metadataName: delivery}
	}
	if template != "" {
		// Inline parts stay away: the template does not refer to them.
		p.TemplateAlias, p.TemplateModel = template, model(m)
	} else {
		p.Subject, p.TextBody, p.HtmlBody = m.Subject, m.Text, m.HTML
		p.Attachments = attachments(m.Inline)
	}
	body, err := json.Marshal(p)
	if err != nil {
		return nil, refused("the message cannot be encoded")
	}
	if len(body) > maxMessage {
		return nil, refused("the message is larger than the 10 MB that Postmark takes")
	}
	return &message{templated: template != "", body: body, delivery: delivery}, nil
}

func model(m *sdk.Mail) *templateModel {
	t := &templateModel{
		Link:     m.Facts.Link.Reveal(),
		Locale:   m.Facts.Locale,
		Subject:  m.Subject,
		FromName: m.From.Name,
		ToName:   m.To.Name,
		Text:     m.Text,
	}
	if !m.Facts.ExpiresAt.IsZero() {
		t.ExpiresAt = m.Facts.ExpiresAt.UTC().Format(time.RFC3339)
	}
	return t
}

func attachments(inline []sdk.Inline) []attachment {
	var list []attachment
	for _, part := range inline {
		name := part.Name
		if name == "" {
			name = part.ContentID
		}
		list = append(list, attachment{name, part.Bytes, part.ContentType, "cid:" + part.ContentID})
	}
	return list
}

// deliveryName is the idempotency key as Postmark is told it: a digest, for the
// key is the host's own and of any length, and a metadata value has 80 characters.
func deliveryName(idempotencyKey string) string {
	if idempotencyKey == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(idempotencyKey))
	return hex.EncodeToString(sum[:])
}

// mailbox writes a name always as a quoted string, so that nothing in it can add
// a recipient.
func mailbox(m sdk.Mailbox) string {
	if m.Name == "" {
		return m.Address
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(m.Name) + `" <` + m.Address + ">"
}

// check refuses what could write a header or a recipient of its own.
func check(m *sdk.Mail, template string) error {
	switch {
	case !isAddress(m.To.Address):
		return &sdk.Failure{Kind: sdk.RecipientRefused, Public: "the recipient's address cannot be used with Postmark"}
	case !isAddress(m.From.Address):
		return &sdk.Failure{Kind: sdk.Misconfigured, Public: "the sender's address is not usable"}
	case m.ReplyTo.Address != "" && !isAddress(m.ReplyTo.Address):
		return &sdk.Failure{Kind: sdk.Misconfigured, Public: "the reply address is not usable"}
	case hasControl(m.From.Name), hasControl(m.To.Name), hasControl(m.ReplyTo.Name):
		return refused("a display name holds control characters")
	case hasControl(m.Subject):
		return refused("the subject holds control characters")
	case !isMessageID(m.MessageID):
		return refused("the Message-ID is not usable")
	case m.Text == "" && m.HTML == "" && template == "":
		return refused("the mail is empty")
	}
	for _, h := range m.Headers {
		if !isFieldName(h.Name) || isReserved(h.Name) || hasControl(h.Value) {
			return refused("a header field is not usable")
		}
	}
	for _, part := range m.Inline {
		if _, _, err := mime.ParseMediaType(part.ContentType); err != nil ||
			!isMessageID(part.ContentID) || hasControl(part.Name) {
			return refused("an inline part is not usable")
		}
	}
	return nil
}

// isMessageID takes what may stand between the angle brackets of a Message-ID or
// a Content-ID: printable ASCII without brackets and spaces.
func isMessageID(id string) bool {
	return id != "" && len(id) <= 900 && isPrintable(id) && !strings.ContainsAny(id, "<>")
}

// isFieldName follows RFC 5322, 3.6.8.
func isFieldName(name string) bool {
	return name != "" && len(name) <= 76 && isPrintable(name) && !strings.Contains(name, ":")
}

// isReserved names the fields that Mail has places of its own for, those that
// would add recipients or change how the body is read, and those that Postmark
// takes as instructions.
func isReserved(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "from", "sender", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id", "mime-version", "return-path":
		return true
	}
	return strings.HasPrefix(name, "content-") || strings.HasPrefix(name, "resent-") || strings.HasPrefix(name, "x-pm-")
}

func refused(public string) *sdk.Failure {
	return &sdk.Failure{Kind: sdk.ContentRefused, Public: public}
}
