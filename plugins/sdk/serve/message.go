package serve

import (
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/serve/internal/providerv1"
)

// Protobuf refuses to encode text that is not UTF-8, after which nobody could say
// whether the call was made. So the request is checked first.

func settingsToWire(settings sdk.Settings) (*providerv1.Settings, error) {
	wire := &providerv1.Settings{Values: settings.Values}
	if len(settings.Secrets) == 0 {
		return wire, nil
	}
	wire.Secrets = make(map[string]string, len(settings.Secrets))
	for name, secret := range settings.Secrets {
		if !valid(name, secret.Reveal()) {
			return nil, errNotUTF8
		}
		wire.Secrets[name] = secret.Reveal()
	}
	return wire, nil
}

func settingsFromWire(wire *providerv1.Settings) sdk.Settings {
	settings := sdk.Settings{Values: wire.GetValues()}
	if len(wire.GetSecrets()) == 0 {
		return settings
	}
	settings.Secrets = make(map[string]sdk.Secret, len(wire.GetSecrets()))
	for name, secret := range wire.GetSecrets() {
		settings.Secrets[name] = sdk.NewSecret(secret)
	}
	return settings
}

func sendToWire(request sdk.SendRequest) (*providerv1.SendRequest, error) {
	settings, err := settingsToWire(request.Settings)
	if err != nil {
		return nil, err
	}
	if !valid(request.IdempotencyKey, request.TraceParent) {
		return nil, errNotUTF8
	}
	wire := &providerv1.SendRequest{
		IdempotencyKey: request.IdempotencyKey,
		Settings:       settings,
		TraceParent:    request.TraceParent,
	}
	switch {
	case request.Mail != nil:
		mail, err := mailToWire(request.Mail)
		if err != nil {
			return nil, err
		}
		wire.Content = &providerv1.SendRequest_Mail{Mail: mail}
	case request.Event != nil:
		event, err := eventToWire(request.Event)
		if err != nil {
			return nil, err
		}
		wire.Content = &providerv1.SendRequest_Event{Event: event}
	}
	return wire, nil
}

func sendFromWire(wire *providerv1.SendRequest) sdk.SendRequest {
	request := sdk.SendRequest{
		IdempotencyKey: wire.GetIdempotencyKey(),
		Settings:       settingsFromWire(wire.GetSettings()),
		TraceParent:    wire.GetTraceParent(),
	}
	if mail := wire.GetMail(); mail != nil {
		request.Mail = mailFromWire(mail)
	}
	if event := wire.GetEvent(); event != nil {
		request.Event = &sdk.Event{
			URL:       event.GetUrl(),
			Headers:   headersFromWire(event.GetHeaders()),
			Body:      event.GetBody(),
			Forbidden: event.GetForbidden(),
		}
	}
	return request
}

func mailToWire(mail *sdk.Mail) (*providerv1.Mail, error) {
	facts := mail.Facts
	if !valid(mail.From.Name, mail.From.Address, mail.To.Name, mail.To.Address, mail.ReplyTo.Name, mail.ReplyTo.Address,
		mail.Subject, mail.Text, mail.HTML, mail.MessageID, facts.Template, facts.Locale, facts.Link.Reveal()) {
		return nil, errNotUTF8
	}
	headers, err := headersToWire(mail.Headers)
	if err != nil {
		return nil, err
	}
	wire := &providerv1.Mail{
		From:      mailboxToWire(mail.From),
		To:        mailboxToWire(mail.To),
		Subject:   mail.Subject,
		Text:      mail.Text,
		Html:      mail.HTML,
		MessageId: mail.MessageID,
		Headers:   headers,
		Facts: &providerv1.Facts{
			Template:        facts.Template,
			Locale:          facts.Locale,
			Link:            facts.Link.Reveal(),
			ExpiresAtUnixMs: timeToWire(facts.ExpiresAt),
		},
	}
	if mail.ReplyTo.Address != "" {
		wire.ReplyTo = mailboxToWire(mail.ReplyTo)
	}
	for _, inline := range mail.Inline {
		if !valid(inline.ContentID, inline.ContentType, inline.Name) {
			return nil, errNotUTF8
		}
		wire.Inline = append(wire.Inline, &providerv1.Inline{
			ContentId:   inline.ContentID,
			ContentType: inline.ContentType,
			Name:        inline.Name,
			Bytes:       inline.Bytes,
		})
	}
	return wire, nil
}

func mailFromWire(wire *providerv1.Mail) *sdk.Mail {
	mail := &sdk.Mail{
		From:      mailboxFromWire(wire.GetFrom()),
		To:        mailboxFromWire(wire.GetTo()),
		ReplyTo:   mailboxFromWire(wire.GetReplyTo()),
		Subject:   wire.GetSubject(),
		Text:      wire.GetText(),
		HTML:      wire.GetHtml(),
		MessageID: wire.GetMessageId(),
		Headers:   headersFromWire(wire.GetHeaders()),
		Facts: sdk.Facts{
			Template:  wire.GetFacts().GetTemplate(),
			Locale:    wire.GetFacts().GetLocale(),
			Link:      sdk.NewSecret(wire.GetFacts().GetLink()),
			ExpiresAt: timeFromWire(wire.GetFacts().GetExpiresAtUnixMs()),
		},
	}
	for _, inline := range wire.GetInline() {
		mail.Inline = append(mail.Inline, sdk.Inline{
			ContentID:   inline.GetContentId(),
			ContentType: inline.GetContentType(),
			Name:        inline.GetName(),
			Bytes:       inline.GetBytes(),
		})
	}
	return mail
}

func eventToWire(event *sdk.Event) (*providerv1.Event, error) {
	headers, err := headersToWire(event.Headers)
	if err != nil {
		return nil, err
	}
	if !valid(event.URL) || !valid(event.Forbidden...) {
		return nil, errNotUTF8
	}
	return &providerv1.Event{Url: event.URL, Headers: headers, Body: event.Body, Forbidden: event.Forbidden}, nil
}

func mailboxToWire(mailbox sdk.Mailbox) *providerv1.Mailbox {
	return &providerv1.Mailbox{Name: mailbox.Name, Address: mailbox.Address}
}

func mailboxFromWire(wire *providerv1.Mailbox) sdk.Mailbox {
	return sdk.Mailbox{Name: wire.GetName(), Address: wire.GetAddress()}
}

func headersToWire(headers []sdk.Header) ([]*providerv1.Header, error) {
	var wire []*providerv1.Header
	for _, header := range headers {
		if !valid(header.Name, header.Value) {
			return nil, errNotUTF8
		}
		wire = append(wire, &providerv1.Header{Name: header.Name, Value: header.Value})
	}
	return wire, nil
}

func headersFromWire(wire []*providerv1.Header) []sdk.Header {
	var headers []sdk.Header
	for _, header := range wire {
		headers = append(headers, sdk.Header{Name: header.GetName(), Value: header.GetValue()})
	}
	return headers
}
