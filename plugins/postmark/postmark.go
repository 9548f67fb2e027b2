// Package postmark is Passmend's provider for Postmark's API, written as a vendor
// would write one: it knows plugins/sdk and nothing else of Passmend.
//
// Limits first: one recipient a message; addresses are dot-atoms (no quoted local
// parts, no address literals); opens and links are never tracked, for a rewritten
// link is not the link; templates kept at Postmark are used by alias only; the
// names of sender signatures and streams are kept at Postmark. Retry is the
// host's.
//
// Postmark has no idempotency key. A message whose answer was lost, or that
// ended in status 500, is remembered for a day, and before it is sent again
// Postmark is asked whether it has it. The memory ends with the process, and
// Postmark's search may lag behind: then the same mail goes out twice, with the
// same Message-ID.
//
//	Send ── build ── in doubt? ── GET /messages/outbound ── found: receipt
//	                     │ no               └─ not found ─┐
//	                     └─ group ── POST /email, or ─────┴─ result
//	                                 /email/batch when several wait
package postmark

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"net/http"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// Version is the provider's own.
const Version = "0.1.0"

//go:embed schema.json
var schema []byte

// Provider is an sdk.EventParser for Postmark. Make it with New; it keeps idle
// connections until they are 30 s old or Close is called.
type Provider struct {
	client *client
	group  *group
	doubts *doubts
}

var _ sdk.EventParser = (*Provider)(nil)

// New makes a provider; nothing is connected before the first call.
func New() *Provider {
	p := &Provider{client: newClient(), doubts: newDoubts()}
	p.group = newGroup(p.post)
	return p
}

// Close waits for requests in flight, which end at the latest when their callers
// have left, and ends the kept connections.
func (p *Provider) Close() {
	p.group.close()
	p.client.http.CloseIdleConnections()
}

// Describe implements sdk.Provider.
func (*Provider) Describe(context.Context) (sdk.Description, error) {
	return sdk.Description{
		Name:           "postmark",
		Version:        Version,
		Contents:       []sdk.Content{sdk.ContentMail},
		SettingsSchema: schema,
		Permissions:    sdk.Permissions{Hosts: []string{"api.postmarkapp.com"}, Ports: []uint16{443}},
	}, nil
}

// Health implements sdk.Provider: there is nothing to be ill with.
func (*Provider) Health(context.Context) error { return nil }

// Check implements sdk.Provider: it asks Postmark for the server, the stream and
// the templates that the settings name.
func (p *Provider) Check(ctx context.Context, settings sdk.Settings) error {
	s, err := parseSettings(settings)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for _, probe := range []struct{ setting, path, id string }{
		{"serverToken", "/server", ""},
		{"messageStream", "/message-streams/", s.MessageStream},
		{"resetTemplate", "/templates/", s.ResetTemplate},
		{"inviteTemplate", "/templates/", s.InviteTemplate},
		{"changedTemplate", "/templates/", s.ChangedTemplate},
	} {
		if probe.path != "/server" && probe.id == "" {
			continue
		}
		if failure := p.probe(ctx, s, probe.setting, probe.path+probe.id); failure != nil {
			return failure
		}
	}
	return nil
}

// probe asks for one thing, which is there when Postmark answers with an object.
func (p *Provider) probe(ctx context.Context, s *settings, setting, path string) *sdk.Failure {
	e := p.client.do(ctx, s, http.MethodGet, path, nil)
	var object map[string]json.RawMessage
	if e.status == http.StatusOK && json.Unmarshal(e.body, &object) == nil {
		return nil
	}
	failure := e.failure()
	switch {
	case setting != "serverToken" && (e.status == http.StatusNotFound || e.status == http.StatusUnprocessableEntity):
		failure.Kind, failure.Public = sdk.Misconfigured, setting+" names nothing that the Postmark server has"
	case failure.Kind == sdk.ContentRefused: // there is no message that could be refused
		failure.Kind, failure.Public = sdk.Misconfigured, "baseUrl does not lead to Postmark's API"
	}
	return failure
}

// Send implements sdk.Provider.
func (p *Provider) Send(ctx context.Context, request sdk.SendRequest) (sdk.Receipt, error) {
	entered := time.Now()
	if request.Mail == nil {
		return sdk.Receipt{}, refused("this provider takes mail only")
	}
	s, err := parseSettings(request.Settings)
	if err != nil {
		return sdk.Receipt{}, err
	}
	m, err := build(s, request)
	if err != nil {
		return sdk.Receipt{}, err
	}
	if ctx.Err() != nil {
		return sdk.Receipt{}, &sdk.Failure{Kind: sdk.Temporary, Public: "the call was over before it began"}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r := p.deliver(ctx, s, m)
	var steps []sdk.Step
	if r.trace != nil {
		steps = r.trace.steps(entered)
	}
	if r.failure != nil {
		failure := *r.failure
		failure.Steps = steps
		return sdk.Receipt{}, &failure
	}
	r.receipt.Steps = steps
	return r.receipt, nil
}

// deliver sends what is not in doubt, and what is once Postmark says that it does
// not have it. A doubt ends with a message that Postmark took before our eyes:
// until then every further attempt asks again.
func (p *Provider) deliver(ctx context.Context, s *settings, m *message) result {
	if p.doubts.has(m.delivery) {
		if r, decided := p.lookUp(ctx, s, m); decided {
			return r
		}
	}
	r := p.group.send(ctx, s, m)
	if r.alone {
		r = p.post(ctx, s, []*message{m})[0]
	}
	switch {
	case r.doubtful:
		p.doubts.add(m.delivery)
	case r.failure == nil:
		p.doubts.settle(m.delivery)
	}
	return r
}

// post makes one request with all of batch, which is never empty and either has
// templates or has none.
func (p *Provider) post(ctx context.Context, s *settings, batch []*message) []result {
	path, body := "/email", batch[0].body
	switch several, templated := len(batch) > 1, batch[0].templated; {
	case several && templated:
		path, body = "/email/batchWithTemplates", list(`{"Messages":[`, batch, `]}`)
	case several:
		path, body = "/email/batch", list(`[`, batch, `]`)
	case templated:
		path = "/email/withTemplate"
	}
	e := p.client.do(ctx, s, http.MethodPost, path, body)
	results := e.results(len(batch), len(batch) > 1)
	for i := range results {
		results[i].trace = e.trace
	}
	return results
}

func list(before string, batch []*message, after string) []byte {
	var buffer bytes.Buffer
	buffer.WriteString(before)
	for i, m := range batch {
		if i > 0 {
			buffer.WriteByte(',')
		}
		buffer.Write(m.body)
	}
	buffer.WriteString(after)
	return buffer.Bytes()
}
