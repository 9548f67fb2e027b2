package sdktest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"github.com/passmend/passmend/plugins/sdk"
)

// courier is a provider that keeps the contract: it posts mail to a world's inbox
// and events to where they want to go. fault changes one thing about it.
type courier struct {
	fault  string
	client *http.Client

	one    sync.Mutex // for the fault of that name
	mu     sync.Mutex
	nth    int
	secret string // the first one ever seen
}

func newCourier(fault string) *courier {
	return &courier{fault: fault, client: &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

const courierSchema = `{"type":"object","required":["inbox"],"properties":{
	"inbox":{"type":"string","title":"Inbox","description":"Where mail is posted to.","x-order":1},
	"key":{"type":"string","title":"Key","writeOnly":true,"x-order":2,"x-show-if":{"inbox":"x"}}}}`

func (c *courier) Describe(context.Context) (sdk.Description, error) {
	c.mu.Lock()
	c.nth++
	nth := c.nth
	c.mu.Unlock()
	d := sdk.Description{
		Name: "courier", Version: "1.0.0", Contents: []sdk.Content{sdk.ContentMail, sdk.ContentEvent},
		SettingsSchema: []byte(courierSchema), Permissions: sdk.Permissions{Hosts: []string{"*"}},
	}
	schema := func(old, replaced string) {
		d.SettingsSchema = []byte(strings.Replace(courierSchema, old, replaced, 1))
	}
	switch c.fault {
	case "another name":
		d.Name = "other"
	case "loose version":
		d.Version = "1.0"
	case "changes its mind":
		d.Version = fmt.Sprintf("1.0.%d", nth)
	case "slow to describe":
		time.Sleep(300 * time.Millisecond)
	case "URL for a host":
		d.Permissions.Hosts = []string{"https://api.example.com/"}
	case "no memory":
		d.Permissions.MemoryBytes = 1 << 20
	case "little memory":
		d.Permissions.MemoryBytes = 16 << 20
	case "no schema":
		d.SettingsSchema = []byte(`{"type":"array"}`)
	case "secret not marked":
		schema(`"writeOnly":true,`, "")
	case "no label":
		schema(`"title":"Inbox",`, "")
	case "order in words":
		schema(`"x-order":1`, `"x-order":"first"`)
	case "shown for nothing":
		schema(`{"inbox":"x"}`, `{"mode":"x"}`)
	case "requires a stranger":
		schema(`["inbox"]`, `["inbox","host"]`)
	case "forgets a setting":
		schema(`"inbox":{`, `"box":{`)
	case "mail alone":
		d.Contents = d.Contents[:1]
	}
	return d, nil
}

func (c *courier) Health(context.Context) error {
	if c.fault == "unwell" {
		return &sdk.Failure{Kind: sdk.Temporary}
	}
	c.one.Lock()
	defer c.one.Unlock()
	return nil
}

func misconfigured(public string) error {
	return &sdk.Failure{Kind: sdk.Misconfigured, Public: public}
}

// settings gives the inbox's URL and the key.
func (c *courier) settings(given sdk.Settings) (inbox, key string, err error) {
	var values struct {
		Inbox string `json:"inbox"`
	}
	key = given.Secrets["key"].Reveal()
	c.mu.Lock()
	if c.secret == "" {
		c.secret = key
	}
	if c.fault == "keeps the first secret" {
		key = c.secret
	}
	c.mu.Unlock()
	if c.fault == "takes anything" {
		return values.Inbox, key, nil
	}
	if err := json.Unmarshal(given.Values, &values); err != nil {
		if c.fault == "shrugs at garbage" {
			return "", key, nil
		}
		return "", "", misconfigured("the settings are not an object")
	}
	if values.Inbox == "" {
		switch c.fault {
		case "names nothing":
			return "", "", misconfigured("no")
		case "ordinary error":
			return "", "", errors.New("inbox is missing")
		case "wrong kind":
			return "", "", &sdk.Failure{Kind: sdk.Unknown, Public: "inbox is missing"}
		case "goes on and on":
			return "", "", misconfigured("inbox is missing" + strings.Repeat("!", 300))
		}
		return "", "", misconfigured("inbox is missing")
	}
	return values.Inbox, key, nil
}

func (c *courier) Check(ctx context.Context, given sdk.Settings) error {
	if c.fault == "refuses everything" {
		return misconfigured("no")
	}
	inbox, key, err := c.settings(given)
	if err != nil || c.fault == "takes anything" || inbox == "" {
		return err
	}
	body := []byte(nil)
	if c.fault == "check sends" {
		body = []byte("Message-ID: <check@acme.example>\nContent-Type: text/plain\n\n")
	}
	if c.fault == "check ignores its deadline" {
		ctx = context.WithoutCancel(ctx)
	}
	return c.post(ctx, inbox, key, "", body)
}

func (c *courier) Send(ctx context.Context, request sdk.SendRequest) (sdk.Receipt, error) {
	if c.fault == "panics" {
		panic("no")
	}
	switch {
	case c.fault == "prints the link" && request.Mail != nil:
		fmt.Fprintln(os.Stderr, "sending", request.Mail.Facts.Link.Reveal())
	case c.fault == "prints the address" && request.Mail != nil:
		fmt.Println("sending to", request.Mail.To.Address)
	case c.fault == "wants a trace" && request.TraceParent == "":
		return sdk.Receipt{}, misconfigured("there is no trace parent")
	case c.fault == "sends what is over":
		ctx = context.WithoutCancel(ctx)
	case c.fault == "one at a time":
		c.one.Lock()
		defer c.one.Unlock()
	}
	switch {
	case request.Mail != nil:
		return c.sendMail(ctx, request)
	case request.Event != nil && c.fault != "mail alone":
		return c.sendEvent(ctx, request.Event)
	case c.fault == "takes nothing":
		return sdk.Receipt{}, nil
	case request.Event != nil: // though its description does not say so
		return sdk.Receipt{}, nil
	}
	return sdk.Receipt{}, &sdk.Failure{Kind: sdk.ContentRefused, Public: "there is nothing to send"}
}

func (c *courier) sendMail(ctx context.Context, request sdk.SendRequest) (sdk.Receipt, error) {
	inbox, key, err := c.settings(request.Settings)
	if err != nil {
		return sdk.Receipt{}, err
	}
	m := *request.Mail
	if c.fault != "takes line breaks" && !harmless(m) {
		return sdk.Receipt{}, &sdk.Failure{Kind: sdk.ContentRefused, Public: "the mail is hostile"}
	}
	began := time.Now()
	if c.fault == "ignores the context" {
		ctx = context.WithoutCancel(ctx)
	}
	to := m.To.Address
	if c.fault == "normalizes addresses" {
		local, domain, _ := strings.Cut(to, "@")
		local, _, _ = strings.Cut(local, "+")
		to = local + "@" + domain
	}
	raw := c.compose(m)
	if c.fault == "drops under load" && strings.HasPrefix(m.MessageID, "concurrent-7.") {
		return sdk.Receipt{}, nil
	}
	if err := c.post(ctx, inbox, key, to, raw); err != nil {
		return sdk.Receipt{}, err
	}
	if c.fault == "sends twice" {
		if err := c.post(ctx, inbox, key, to, raw); err != nil {
			return sdk.Receipt{}, err
		}
	}
	receipt := sdk.Receipt{Outcome: sdk.Accepted, Code: "250", Steps: []sdk.Step{{Name: "data", Duration: time.Since(began)}}}
	if c.fault == "a receipt that says no" {
		receipt.Code = "two hundred and fifty"
	}
	return receipt, nil
}

// harmless says that nothing in a mail becomes a line, a field or a recipient.
func harmless(m sdk.Mail) bool {
	texts := []string{m.Subject, m.From.Name, m.To.Name, m.ReplyTo.Name, m.ReplyTo.Address, m.MessageID}
	for _, h := range m.Headers {
		texts = append(texts, h.Name, h.Value)
		if strings.EqualFold(h.Name, "bcc") {
			return false
		}
	}
	for _, i := range m.Inline {
		texts = append(texts, i.ContentID, i.ContentType, i.Name)
	}
	return !strings.ContainsAny(m.To.Address, " ,<>\r\n\"") &&
		!slices.ContainsFunc(texts, func(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) })
}

// compose writes the mail.
func (c *courier) compose(m sdk.Mail) []byte {
	var b bytes.Buffer
	line := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	mailbox := func(m sdk.Mailbox) string {
		if c.fault == "plain names" {
			return fmt.Sprintf("%s <%s>", m.Name, m.Address)
		}
		if c.fault == "takes line breaks" {
			return m.Name + " <" + m.Address + ">"
		}
		return (&mail.Address{Name: m.Name, Address: m.Address}).String()
	}
	id := m.MessageID
	if c.fault == "own message id" {
		id = fmt.Sprint(time.Now().UnixNano())
	}
	line("Message-ID", "<"+id+">")
	if c.fault == "two message ids" {
		line("Message-ID", "<second@acme.example>")
	}
	subject := m.Subject
	if c.fault == "cuts subjects" {
		subject = subject[:min(len(subject), 78)]
	}
	if c.fault != "takes line breaks" {
		subject = mime.QEncoding.Encode("utf-8", subject)
	}
	line("Subject", subject)
	line("From", mailbox(m.From))
	line("To", mailbox(m.To))
	if m.ReplyTo.Address != "" && c.fault != "no reply address" {
		line("Reply-To", mailbox(m.ReplyTo))
	}
	if c.fault == "own reply address" {
		line("Reply-To", mailbox(m.From))
	}
	headers := slices.Clone(m.Headers)
	if c.fault == "sorts headers" {
		slices.SortFunc(headers, func(a, b sdk.Header) int { return strings.Compare(a.Name, b.Name) })
	}
	for _, h := range headers {
		line(h.Name, h.Value)
	}
	text, html := m.Text, m.HTML
	switch c.fault {
	case "rewrites links":
		html = strings.ReplaceAll(html, "https://", "https://track.example/?u=https://")
	case "counts openings":
		html += `<img src="https://track.example/1.gif">`
	case "breaks lines":
		text = strings.ReplaceAll(text, "-_B", "-_B\n")
	case "loses text":
		text = strings.ReplaceAll(text, "ü", "?")
	case "eats dots":
		text = strings.ReplaceAll(text, "\n..\n", "\n.\n")
	case "wraps":
		html = strings.ReplaceAll(html, strings.Repeat("x", 998), strings.Repeat("x", 998)+"\n")
	case "makes HTML":
		if html == "" {
			html = "<p>" + text + "</p>"
		}
	case "makes text":
		if text == "" {
			text = "Please read the HTML"
		}
	case "cuts":
		html = html[:min(len(html), 1<<19)]
	case "wants a link":
		if m.Facts.Link.Reveal() == "" {
			text = ""
		}
	}
	line("Content-Type", `multipart/mixed; boundary="part"`)
	part := func(content string, headers ...string) {
		fmt.Fprintf(&b, "\r\n--part\r\n%s\r\nContent-Transfer-Encoding: base64\r\n\r\n%s", strings.Join(headers, "\r\n"),
			base64.StdEncoding.EncodeToString([]byte(content)))
	}
	part(text, "Content-Type: text/plain; charset=utf-8")
	part(html, "Content-Type: text/html; charset=utf-8")
	for _, i := range m.Inline {
		if c.fault != "no images" {
			part(string(i.Bytes), "Content-Type: "+i.ContentType, "Content-ID: <"+i.ContentID+">")
		}
	}
	fmt.Fprint(&b, "\r\n--part--\r\n")
	return b.Bytes()
}

// post hands a mail to the inbox; without one it only asks.
func (c *courier) post(ctx context.Context, inbox, key, to string, raw []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, inbox, bytes.NewReader(raw))
	if err != nil {
		return misconfigured("inbox is no URL")
	}
	request.Header.Set("X-Key", key)
	request.Header.Set("X-To", base64.StdEncoding.EncodeToString([]byte(to)))
	answer, err := c.client.Do(request)
	if err != nil {
		if ctx.Err() == nil && request.URL.Path == "/fail/unknown" && c.fault != "is sure" {
			return &sdk.Failure{Kind: sdk.Unknown, Public: "the connection was lost"}
		}
		return &sdk.Failure{Kind: sdk.Temporary, Public: "the inbox cannot be reached"}
	}
	defer func() { _ = answer.Body.Close() }()
	said, _ := io.ReadAll(io.LimitReader(answer.Body, 1024))
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	failure := &sdk.Failure{Kind: sdk.Outcome(said), Public: "the inbox refuses it"}
	switch {
	case c.fault == "tells the secret":
		failure.Private = "key " + key
	case c.fault == "tells the address":
		failure.Public += " for " + to
	case c.fault == "everything is temporary":
		failure.Kind = sdk.Temporary
	case c.fault == "nothing is temporary":
		failure.Kind = sdk.ContentRefused
	}
	if failure.Kind == sdk.AuthenticationFailed {
		failure.Public = "key is refused"
	}
	return failure
}

func (c *courier) sendEvent(ctx context.Context, event *sdk.Event) (sdk.Receipt, error) {
	target, err := url.Parse(event.URL)
	if err != nil || target.Scheme != "http" || target.Hostname() == "" {
		if c.fault != "any scheme" {
			return sdk.Receipt{}, misconfigured("the URL is no web address")
		}
	}
	if c.fault == "reads to the end" {
		ctx = context.WithoutCancel(ctx)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, event.URL, bytes.NewReader(event.Body))
	if err != nil {
		return sdk.Receipt{}, misconfigured("the URL is no web address")
	}
	switch c.fault {
	case "small events":
		request.Body, request.ContentLength = io.NopCloser(bytes.NewReader(event.Body[:min(len(event.Body), 1<<19)])), -1
	case "GET":
		request.Method = http.MethodGet
	case "mends bodies":
		request.Body, request.ContentLength = io.NopCloser(bytes.NewReader(bytes.ToValidUTF8(event.Body, nil))), -1
	case "adds a field":
		request.Header.Set("X-Powered-By", "courier")
	}
	for _, h := range event.Headers {
		if strings.ContainsAny(h.Value, "\r\n") {
			if c.fault == "strips line breaks" {
				h.Value = strings.NewReplacer("\r", "", "\n", "").Replace(h.Value)
			} else {
				return sdk.Receipt{}, &sdk.Failure{Kind: sdk.ContentRefused, Public: "a header is hostile"}
			}
		}
		if c.fault == "one field of a name" {
			request.Header.Set(h.Name, h.Value)
		} else {
			request.Header.Add(h.Name, h.Value)
		}
	}
	answer, err := c.eventClient(event.Forbidden).Do(request)
	if errors.Is(err, errForbidden) {
		return sdk.Receipt{}, misconfigured("the URL leads to a forbidden network")
	}
	if err != nil {
		if c.fault == "lost is done" {
			return sdk.Receipt{Code: "200"}, nil
		}
		return sdk.Receipt{}, &sdk.Failure{Kind: sdk.Temporary, Public: "the endpoint cannot be reached"}
	}
	defer func() { _ = answer.Body.Close() }()
	limit := int64(200)
	switch c.fault {
	case "long answers":
		limit = 1000
	case "reads to the end":
		limit = 1 << 40
	}
	said, _ := io.ReadAll(io.LimitReader(answer.Body, limit))
	text := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || c.fault == "raw answers" {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(string(said), "?"))
	code := strconv.Itoa(answer.StatusCode)
	if c.fault == "no codes" {
		code = ""
	}
	if answer.StatusCode/100 == 2 && (c.fault != "200 alone" || answer.StatusCode == 200) || c.fault == "refused is done" {
		return sdk.Receipt{Outcome: sdk.Accepted, Code: code, Answer: text}, nil
	}
	failure := &sdk.Failure{Kind: sdk.ContentRefused, Public: "the endpoint refuses it", Code: code, Answer: text}
	switch {
	case answer.StatusCode == http.StatusTooManyRequests:
		failure.Kind = sdk.RateLimited
		if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && c.fault != "impatient" {
			failure.RetryAfter = time.Duration(seconds) * time.Second
		}
	case answer.StatusCode >= 500 && c.fault != "gives up":
		failure.Kind = sdk.Temporary
	}
	return sdk.Receipt{}, failure
}

var errForbidden = errors.New("forbidden network")

// eventClient is a client that stays out of networks.
func (c *courier) eventClient(networks []string) *http.Client {
	dialer := &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		for _, network := range networks {
			if netip.MustParsePrefix(network).Contains(at.Addr().Unmap()) {
				return errForbidden
			}
		}
		return nil
	}}
	if c.fault == "goes everywhere" {
		dialer.Control = nil
	}
	client := &http.Client{
		Transport:     &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true},
		CheckRedirect: c.client.CheckRedirect,
	}
	if c.fault == "follows redirects" {
		client.CheckRedirect = nil
	}
	return client
}

const callbackKey = "the key of the callbacks"

// ParseEvent reads {"events":[{"id","kind","message"}]} under an X-Key.
func (c *courier) ParseEvent(_ context.Context, settings sdk.Settings, callback sdk.Callback) ([]sdk.ProviderEvent, error) {
	proved := c.fault == "believes everybody" || c.fault == "any key"
	for _, h := range callback.Headers {
		if h.Name == "X-Key" && (h.Value == settings.Secrets["callback"].Reveal() || c.fault == "any key" || c.fault == "own key" && h.Value == callbackKey) {
			proved = true
		}
	}
	if c.fault == "any key" && !slices.ContainsFunc(callback.Headers, func(h sdk.Header) bool { return h.Name == "X-Key" }) {
		proved = false
	}
	if !proved {
		return nil, &sdk.Failure{Kind: sdk.AuthenticationFailed, Public: "the callback proves nothing"}
	}
	var body struct {
		Events []struct {
			ID, Kind, Message string
		}
	}
	if c.fault == "slow reader" && len(callback.Body) > 1<<19 {
		time.Sleep(2100 * time.Millisecond)
	}
	if err := json.Unmarshal(callback.Body, &body); err != nil && c.fault != "reads garbage" {
		return nil, &sdk.Failure{Kind: sdk.ContentRefused, Public: "the callback cannot be read"}
	}
	var read []sdk.ProviderEvent
	if c.fault == "reads nothing" {
		body.Events = nil
	}
	for _, e := range body.Events {
		event := sdk.ProviderEvent{ID: e.ID, Kind: sdk.EventKind(e.Kind), MessageID: e.Message}
		switch c.fault {
		case "new ids":
			event.ID = fmt.Sprint(time.Now().UnixNano())
		case "no ids":
			event.ID = ""
		}
		read = append(read, event)
	}
	return read, nil
}
