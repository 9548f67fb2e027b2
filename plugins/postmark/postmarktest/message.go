package postmarktest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/mail"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Message is one that was taken, as its recipient would see it.
type Message struct {
	ID      string // Postmark's
	At      time.Time
	From    string
	To      string
	ReplyTo string
	Subject string
	Text    string
	HTML    string
	// MessageID is the Message-ID field without brackets.
	MessageID   string
	Headers     []Header // without Message-ID and what Postmark takes as instructions
	Attachments []Attachment
	Metadata    map[string]string
	Stream      string
	Template    string // the alias; empty: none
	TrackOpens  bool
	TrackLinks  string
}

// Header is a field of a message.
type Header struct{ Name, Value string }

// Attachment is a part of a message; ContentID as the client gave it.
type Attachment struct {
	Name, ContentType, ContentID string
	Content                      []byte
}

// Template is one of a server's: {{name}} is replaced and escaped for HTML,
// {{{name}}} is replaced.
type Template struct{ Subject, Text, HTML string }

// fault is an error of the API.
type fault struct {
	ErrorCode int
	Message   string
}

// accepted is the answer about a message that was taken.
type accepted struct {
	To          string
	SubmittedAt string
	MessageID   string
	ErrorCode   int
	Message     string
}

// email is the body of the sending endpoints. Fields that it does not have are
// refused, as Postmark does.
type email struct {
	From, To, Cc, Bcc, ReplyTo string
	Subject, Tag               string
	TextBody, HtmlBody         string
	TrackOpens                 *bool
	TrackLinks                 string
	MessageStream              string
	Headers                    []Header
	Metadata                   map[string]string
	Attachments                []struct{ Name, Content, ContentType, ContentID string }
	TemplateAlias              string
	TemplateID                 int `json:"TemplateId"`
	TemplateModel              map[string]any
	InlineCSS                  *bool `json:"InlineCss"`
}

// count tells how many messages a body carries, as far as it can be read.
func count(path string, body []byte) int {
	switch path {
	case "/email", "/email/withTemplate":
		return 1
	case "/email/batch":
		var list []json.RawMessage
		_ = json.Unmarshal(body, &list) // what cannot be read is refused later
		return len(list)
	case "/email/batchWithTemplates":
		var list struct{ Messages []json.RawMessage }
		_ = json.Unmarshal(body, &list)
		return len(list.Messages)
	}
	return 0
}

// send is the sending endpoints.
func (s *Server) send(path string, body []byte, real bool) (status int, answer any) {
	switch path {
	case "/email", "/email/withTemplate":
		if len(body) > maxSingle {
			return http.StatusRequestEntityTooLarge, fault{300, "a message has at most 10 MB"}
		}
		answer := s.one(body, path == "/email/withTemplate", real)
		if refused, ok := answer.(fault); ok {
			return http.StatusUnprocessableEntity, refused
		}
		return http.StatusOK, answer
	case "/email/batch", "/email/batchWithTemplates":
		if len(body) > maxBatch {
			return http.StatusRequestEntityTooLarge, fault{300, "a batch has at most 50 MB"}
		}
		return s.batch(body, path == "/email/batchWithTemplates", real)
	}
	return http.StatusNotFound, fault{12, "there is nothing here"}
}

func (s *Server) batch(body []byte, templated, real bool) (status int, answer any) {
	var messages []json.RawMessage
	var err error
	if templated {
		var list struct{ Messages []json.RawMessage }
		err = strict(body, &list)
		messages = list.Messages
	} else {
		err = strict(body, &messages)
	}
	if err != nil {
		return http.StatusUnprocessableEntity, fault{402, "the body is not the JSON of a batch"}
	}
	if len(messages) > 500 {
		return http.StatusUnprocessableEntity, fault{410, "a batch has at most 500 messages"}
	}
	answers := make([]any, len(messages))
	for i, message := range messages {
		answers[i] = s.one(message, templated, real)
	}
	return http.StatusOK, answers
}

// one takes a message, or gives a fault.
func (s *Server) one(body []byte, templated, real bool) any {
	var e email
	if !json.Valid(body) {
		return fault{402, "the body is not JSON"}
	}
	if err := strict(body, &e); err != nil {
		return fault{403, "a field is unknown or has the wrong type"}
	}
	m, refused := s.read(&e, templated)
	if refused != nil {
		return *refused
	}
	return s.keep(m, real)
}

func strict(body []byte, into any) error {
	if !utf8.Valid(body) {
		return errors.New("not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// read holds a message against the documentation, and renders it.
func (s *Server) read(e *email, templated bool) (Message, *fault) {
	from, err := mail.ParseAddress(e.From)
	if err != nil {
		return Message{}, &fault{300, "From is not an address"}
	}
	to, err := mail.ParseAddressList(e.To)
	if err != nil || len(to) > 50 {
		return Message{}, &fault{300, "To is not a list of at most 50 addresses"}
	}
	if e.ReplyTo != "" {
		if _, err := mail.ParseAddressList(e.ReplyTo); err != nil {
			return Message{}, &fault{300, "ReplyTo is not a list of addresses"}
		}
	}
	var recipients []string
	for _, address := range to {
		if slices.Contains(s.options.Inactive, address.Address) {
			return Message{}, &fault{406, "the recipient " + address.Address + " is inactive"}
		}
		recipients = append(recipients, address.Address)
	}
	if !s.signed(from.Address) {
		return Message{}, &fault{400, "there is no signature for " + from.Address}
	}
	m := Message{
		From: e.From, To: strings.Join(recipients, ","), ReplyTo: e.ReplyTo,
		Subject: e.Subject, Text: e.TextBody, HTML: e.HtmlBody,
		Metadata: e.Metadata, Stream: e.MessageStream, TrackLinks: e.TrackLinks, TrackOpens: true,
	}
	for _, step := range []func(*email, *Message, bool) *fault{s.stream, s.content, headers, metadata, attached, tracking} {
		if refused := step(e, &m, templated); refused != nil {
			return Message{}, refused
		}
	}
	return m, nil
}

func (s *Server) signed(address string) bool {
	_, domain, _ := strings.Cut(address, "@")
	return s.options.Senders == nil || slices.Contains(s.options.Senders, address) || slices.Contains(s.options.Senders, domain)
}

func (s *Server) stream(_ *email, m *Message, _ bool) *fault {
	if m.Stream == "" {
		m.Stream = "outbound"
	}
	if !slices.Contains(s.options.Streams, m.Stream) {
		return &fault{1235, "there is no such stream"}
	}
	return nil
}

func (s *Server) content(e *email, m *Message, templated bool) *fault {
	if !templated {
		switch {
		case e.TemplateAlias != "" || e.TemplateID != 0 || e.TemplateModel != nil:
			return &fault{403, "a template belongs to another endpoint"}
		case e.TextBody == "" && e.HtmlBody == "":
			return &fault{300, "there is neither TextBody nor HtmlBody"}
		case len(e.TextBody) > maxPart || len(e.HtmlBody) > maxPart:
			return &fault{300, "a body has at most 5 MB"}
		case len([]rune(e.Subject)) > 2000:
			return &fault{300, "Subject has at most 2000 characters"}
		}
		return nil
	}
	template, ok := s.options.Templates[e.TemplateAlias]
	switch {
	case e.TextBody != "" || e.HtmlBody != "" || e.Subject != "":
		return &fault{403, "bodies and the subject come from the template"}
	case !ok:
		return &fault{1101, "there is no such template"}
	case e.TemplateModel == nil:
		return &fault{1109, "TemplateModel is missing"}
	}
	m.Template = e.TemplateAlias
	m.Subject, m.Text, m.HTML = render(template.Subject, e.TemplateModel), render(template.Text, e.TemplateModel), render(template.HTML, e.TemplateModel)
	return nil
}

func render(text string, model map[string]any) string {
	for _, name := range slices.Sorted(maps.Keys(model)) {
		value := fmt.Sprint(model[name])
		text = strings.ReplaceAll(text, "{{{"+name+"}}}", value)
		text = strings.ReplaceAll(text, "{{"+name+"}}", html.EscapeString(value))
	}
	return text
}

// headers keeps a Message-ID only for who asks for it.
func headers(e *email, m *Message, _ bool) *fault {
	var keep bool
	var id string
	for _, h := range e.Headers {
		if h.Name == "" || strings.ContainsAny(h.Name, " :\r\n") || strings.ContainsAny(h.Value, "\r\n") {
			return &fault{300, "a header is not valid"}
		}
		switch strings.ToLower(h.Name) {
		case "message-id":
			id = strings.Trim(h.Value, "<>")
		case "x-pm-keepid":
			keep = strings.EqualFold(h.Value, "true")
		default:
			m.Headers = append(m.Headers, h)
		}
	}
	if keep {
		m.MessageID = id
	}
	return nil
}

func metadata(e *email, _ *Message, _ bool) *fault {
	for name, value := range e.Metadata {
		if name == "" || len(name) > 20 || len(value) > 80 {
			return &fault{300, "Metadata has names of at most 20 and values of at most 80 characters"}
		}
	}
	return nil
}

func attached(e *email, m *Message, _ bool) *fault {
	for _, a := range e.Attachments {
		content, err := base64.StdEncoding.DecodeString(a.Content)
		if err != nil || a.Name == "" || a.ContentType == "" {
			return &fault{300, "an attachment is not valid"}
		}
		if slices.Contains([]string{".exe", ".vbs", ".bat", ".js", ".scr"}, strings.ToLower(path.Ext(a.Name))) {
			return &fault{411, "attachments of this type are not taken"}
		}
		m.Attachments = append(m.Attachments, Attachment{a.Name, a.ContentType, a.ContentID, content})
	}
	return nil
}

// tracking rewrites links and adds a pixel unless the message forbids it.
func tracking(e *email, m *Message, _ bool) *fault {
	if e.TrackOpens != nil {
		m.TrackOpens = *e.TrackOpens
	}
	if m.TrackLinks == "" {
		m.TrackLinks = "HtmlAndText"
	}
	rewrite := strings.NewReplacer("https://", "https://track.pstmrk.test/3s/", "http://", "https://track.pstmrk.test/3/")
	inHTML, inText := strings.HasPrefix(m.TrackLinks, "Html"), strings.HasSuffix(m.TrackLinks, "Text") || m.TrackLinks == "TextOnly"
	if !inHTML && !inText && m.TrackLinks != "None" {
		return &fault{300, "TrackLinks is none of the four values"}
	}
	if inHTML {
		m.HTML = rewrite.Replace(m.HTML)
	}
	if inText {
		m.Text = rewrite.Replace(m.Text)
	}
	if m.TrackOpens && m.HTML != "" {
		m.HTML += `<img src="https://track.pstmrk.test/open">`
	}
	return nil
}

// search is GET /messages/outbound, newest first.
func (s *Server) search(query url.Values) (status int, answer any) {
	limit, err := strconv.Atoi(query.Get("count"))
	offset, err2 := strconv.Atoi(query.Get("offset"))
	if err != nil || err2 != nil || limit < 0 || limit > 500 || offset < 0 || limit+offset > 10_000 {
		return http.StatusUnprocessableEntity, fault{700, "count and offset are required, at most 500 and 10,000 together"}
	}
	stream := query.Get("messagestream")
	if stream == "" {
		stream = "outbound"
	}
	type found struct {
		MessageID     string
		MessageStream string
		Status        string
		ReceivedAt    string
		From          string
		Subject       string
		Recipients    []string
		Metadata      map[string]string
	}
	list := []found{}
	for _, m := range s.Messages() {
		if m.Stream != stream || !matches(m, query) {
			continue
		}
		list = append(list, found{
			m.ID, m.Stream, "Sent", m.At.Format(time.RFC3339Nano), m.From, m.Subject, strings.Split(m.To, ","), m.Metadata,
		})
	}
	slices.Reverse(list)
	total := len(list)
	list = list[min(offset, total):min(offset+limit, total)]
	return http.StatusOK, map[string]any{"TotalCount": total, "Messages": list}
}

func matches(m Message, query url.Values) bool {
	if recipient := query.Get("recipient"); recipient != "" && !strings.Contains(m.To, recipient) {
		return false
	}
	for name := range query {
		if field, ok := strings.CutPrefix(name, "metadata_"); ok && m.Metadata[field] != query.Get(name) {
			return false
		}
	}
	return true
}
