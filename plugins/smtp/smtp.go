// Package smtp is Passmend's provider for any SMTP server, written as a vendor
// would write one: it knows plugins/sdk and nothing else of Passmend.
//
// Limits first: one recipient a message; addresses are dot-atoms (no quoted local
// parts, no address literals); the connection is encrypted unless the server is
// on loopback; XOAUTH2 takes a token and does not fetch one. Retry is the host's,
// with two exceptions, both before the message was begun: a kept connection that
// turns out to be dead is replaced once, and a server that has enough connections
// is asked again over one of those it has.
//
//	Send ── build, sign ── pool ── kept connection: RSET ┐
//	                         └──── dial, tls, auth ──────┴ MAIL, RCPT, DATA, text │ "." ── reply
//	                                                                temporary <───┤
//	                                                                  unknown <───┴── from here on
package smtp

import (
	"context"
	_ "embed"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// Version is the provider's own.
const Version = "0.2.0"

// callTimeout bounds a call that came without a deadline.
const callTimeout = time.Minute

//go:embed schema.json
var schema []byte

// Provider is an sdk.Provider for SMTP. Make it with New; it keeps idle
// connections until they are 30 s old or Close is called.
type Provider struct{ pool *pool }

var _ sdk.Provider = (*Provider)(nil)

// New makes a provider; nothing is connected before the first call.
func New() *Provider { return &Provider{pool: newPool()} }

// Close ends the kept connections. Calls in flight end as they would; a Send that
// follows works and keeps nothing.
func (p *Provider) Close() { p.pool.close() }

// Describe implements sdk.Provider.
func (*Provider) Describe(context.Context) (sdk.Description, error) {
	return sdk.Description{
		Name:           "smtp",
		Version:        Version,
		Contents:       []sdk.Content{sdk.ContentMail},
		SettingsSchema: schema,
		Permissions:    sdk.Permissions{Hosts: []string{"*"}, Ports: []uint16{25, 465, 587, 2525}},
	}, nil
}

// Health implements sdk.Provider: there is nothing to be ill with.
func (*Provider) Health(context.Context) error { return nil }

// Check implements sdk.Provider: it connects, encrypts and authenticates, and
// says goodbye.
func (p *Provider) Check(ctx context.Context, settings sdk.Settings) error {
	parsed, err := parseSettings(settings)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	t := newTimer()
	c, err := dial(ctx, parsed, t)
	if err != nil {
		return failureOf(err, t)
	}
	c.quit()
	return nil
}

// Send implements sdk.Provider.
func (p *Provider) Send(ctx context.Context, request sdk.SendRequest) (sdk.Receipt, error) {
	t := newTimer()
	if request.Mail == nil {
		return sdk.Receipt{}, &sdk.Failure{Kind: sdk.ContentRefused, Public: "this provider takes mail only"}
	}
	parsed, err := parseSettings(request.Settings)
	if err != nil {
		return sdk.Receipt{}, err
	}
	message, err := build(request.Mail, parsed.dkim)
	if err != nil {
		return sdk.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	said, err := p.deliver(ctx, parsed, message, request.Mail.From, t)
	if err != nil {
		return sdk.Receipt{}, failureOf(err, t)
	}
	return sdk.Receipt{
		Outcome:   sdk.Accepted,
		MessageID: queueID(said.text),
		Code:      statusOf(said.code, said.text).String(),
		Steps:     t.steps,
	}, nil
}

// deliver sends when it is the sender's turn for a connection. A server that has
// too many already lowers what may be open, and the message waits for one of them.
func (p *Provider) deliver(ctx context.Context, s *settings, m *message, sender sdk.Mailbox, t *timer) (reply, error) {
	for {
		slot, err := p.pool.enter(ctx, s.key(), s.Connections, sender)
		if err != nil {
			return reply{}, &stageError{stage: stageWait, err: err}
		}
		said, kept, err := attempt(ctx, slot, s, m, t)
		if isCrowded(err) && slot.crowded() {
			continue
		}
		slot.leave(kept)
		return said, err
	}
}

// attempt sends over a kept connection, and once more over a fresh one when the
// kept one was dead before the server could have taken anything. The connection
// that it gives back may be kept; nil means there is none.
func attempt(ctx context.Context, slot *slot, s *settings, m *message, t *timer) (reply, *conn, error) {
	if c := slot.kept; c != nil {
		said, err := c.send(ctx, m, t)
		if c.usable() {
			return said, c, err
		}
		c.drop()
		if err == nil || !isStale(err) || ctx.Err() != nil {
			return said, nil, err
		}
	}
	c, err := dial(ctx, s, t)
	if err != nil {
		return reply{}, nil, err
	}
	said, err := c.send(ctx, m, t)
	if c.usable() {
		return said, c, err
	}
	c.drop()
	return said, nil, err
}

// timer collects the steps of one call.
type timer struct {
	entered time.Time
	steps   []sdk.Step
}

func newTimer() *timer { return &timer{entered: time.Now()} }

// step starts a step; calling the result ends it.
func (t *timer) step(name string) (end func()) {
	start := time.Now()
	return func() {
		t.steps = append(t.steps, sdk.Step{
			Name:     name,
			Start:    start.Sub(t.entered),
			Duration: time.Since(start),
		})
	}
}
