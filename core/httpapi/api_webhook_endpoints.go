package httpapi

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// endpointBody is the body of POST, PATCH and PUT webhook-endpoints.
func endpointBody(creating bool) []field {
	data := []field{
		{name: "type", kind: kindString, required: true, judge: func(text string) string {
			if name := foldName(text); name != "webhookendpoints" && name != "webhookendpoint" {
				return "is invalid"
			}
			return ""
		}},
		{name: "attributes", kind: kindObject, required: creating, inside: []field{
			{name: "url", kind: kindString, required: creating},
			{name: "subscriptions", kind: kindArray, of: kindString},
			{name: "signatureAlgorithm", kind: kindString},
			{name: "apiVersion", kind: kindString, judge: func(text string) string {
				if !slices.Contains(tenants.APIVersions(), text) {
					return "is invalid"
				}
				return ""
			}},
			{name: "encryptionKey", kind: kindString, nullable: true, blank: true},
		}},
	}
	if !creating {
		data = append(data, field{name: "id", kind: kindString})
	}
	return []field{{name: "data", kind: kindObject, required: true, inside: data}}
}

// wantedEndpoint reads a body that was found good. A key that is null is none.
func wantedEndpoint(body *node) core.EndpointChange {
	data, _ := body.member("data")
	sent, _ := data.member("attributes")
	want := core.EndpointChange{
		URL: textMember(sent, "url"), APIVersion: textMember(sent, "apiVersion"), Recipient: textMember(sent, "encryptionKey"),
	}
	if algorithm := textMember(sent, "signatureAlgorithm"); algorithm != nil {
		want.Algorithm = (*core.SignatureAlgorithm)(algorithm)
	}
	if names, there := sent.member("subscriptions"); there {
		want.Subscriptions = make([]core.EventName, len(names.items)) // not nil: empty is refused
		for i, name := range names.items {
			want.Subscriptions[i] = core.EventName(name.text)
		}
	}
	return want
}

// endpointSecret is where a client that asks for it finds the secret: once, and apart
// from the resource, which has none (contract.md, A6).
type endpointSecret struct {
	Secret string `json:"secret"`
}

// postEndpoint makes an endpoint and shows its secret, which nobody can ask for again.
func (a *api) postEndpoint(c *call) error {
	if err := validate(c.body, endpointBody(true)); err != nil {
		return err
	}
	endpoint, secret, err := a.c.EndpointDesk.Create(c.Request.Context(), c.account, wantedEndpoint(c.body))
	if err != nil {
		return err
	}
	shown := endpointResource(endpoint)
	c.Header("Location", shown.Links.Self)
	return c.write(http.StatusCreated, document{Data: shown, Meta: endpointSecret{secret.Reveal()}})
}

// listEndpoints shows the account's endpoints: so few that they are read at once.
func (a *api) listEndpoints(c *call) error {
	wanted, err := parsePage(c.Request.URL.Query())
	if err != nil {
		return err
	}
	all, err := a.c.Endpoints.Endpoints(c.Request.Context(), c.account.ID, "", core.MaxEndpoints)
	if err != nil {
		return err
	}
	id := func(e core.Endpoint) string { return string(e.ID) }
	return answerList(c, "webhook-endpoints", wanted, nil, id,
		func(e core.Endpoint) any { return endpointResource(e) },
		func(p part) ([]core.Endpoint, error) { return partOf(all, p, id), nil },
		func() (int, error) { return len(all), nil })
}

// partOf gives a part of a list that is there as a whole, newest first.
func partOf[T any](all []T, p part, id func(T) string) []T {
	listed := slices.Clone(all)
	if !p.newest {
		slices.Reverse(listed)
	}
	if p.after != "" {
		listed = slices.DeleteFunc(listed, func(one T) bool {
			return p.newest && id(one) >= p.after || !p.newest && id(one) <= p.after
		})
	}
	listed = listed[min(p.skip, len(listed)):]
	return listed[:min(p.limit, len(listed))]
}

// endpointID is the endpoint that the path names; errNoEndpoint when nothing can have
// that name.
func endpointID(c *call) (core.EndpointID, error) {
	id, ok := tenants.ParseUUID(c.param("endpoint"))
	if !ok {
		return "", errNoEndpoint
	}
	return core.EndpointID(id), nil
}

// onEndpoint answers with the endpoint of the path as do leaves it. Another account's
// is not there.
func onEndpoint(do func(*call, core.EndpointID) (core.Endpoint, error)) step {
	return func(c *call) error {
		id, err := endpointID(c)
		if err != nil {
			return err
		}
		endpoint, err := do(c, id)
		if err != nil {
			return absent(err, errNoEndpoint)
		}
		return c.write(http.StatusOK, document{Data: endpointResource(endpoint)})
	}
}

func (a *api) getEndpoint(c *call, id core.EndpointID) (core.Endpoint, error) {
	return a.c.Endpoints.Endpoint(c.Request.Context(), c.account.ID, id)
}

// patchEndpoint is PATCH and PUT: what is not sent stays in both.
func (a *api) patchEndpoint(c *call, id core.EndpointID) (core.Endpoint, error) {
	if _, err := a.getEndpoint(c, id); err != nil {
		return core.Endpoint{}, err // before the body: what is not there has no body to judge
	}
	if err := validate(c.body, endpointBody(false)); err != nil {
		return core.Endpoint{}, err
	}
	data, _ := c.body.member("data")
	if sent, there := data.member("id"); there && !samePathID(sent.text, string(id)) {
		return core.Endpoint{}, badMember("/data/id", "does not name the webhook endpoint of the path")
	}
	return a.c.EndpointDesk.Update(c.Request.Context(), c.account.ID, id, wantedEndpoint(c.body))
}

// enableEndpoint is actions/enable: it is told of events again.
func (a *api) enableEndpoint(c *call, id core.EndpointID) (core.Endpoint, error) {
	if err := validate(c.body, nil); err != nil {
		return core.Endpoint{}, err
	}
	return a.c.Endpoints.EnableEndpoint(c.Request.Context(), c.account.ID, id)
}

// rotateEndpoint is actions/rotate-secret. The secret before it signs too, for a day.
func (a *api) rotateEndpoint(c *call) error {
	id, err := endpointID(c)
	if err != nil {
		return err
	}
	if err := validate(c.body, nil); err != nil {
		return err
	}
	endpoint, secret, err := a.c.EndpointDesk.Rotate(c.Request.Context(), c.account.ID, id)
	if err != nil {
		return absent(err, errNoEndpoint)
	}
	return c.write(http.StatusOK, document{Data: endpointResource(endpoint), Meta: endpointSecret{secret.Reveal()}})
}

func (a *api) deleteEndpoint(c *call) error {
	id, err := endpointID(c)
	if err != nil {
		return err
	}
	if err := a.c.Endpoints.DeleteEndpoint(c.Request.Context(), c.account.ID, id); err != nil {
		return absent(err, errNoEndpoint)
	}
	c.empty(http.StatusNoContent)
	return nil
}

// endpointAttributes are contract.md, A6, and what is ours: the key that tokens are
// encrypted to, and whether the endpoint is told of events.
type endpointAttributes struct {
	URL                string                  `json:"url"`
	Subscriptions      []core.EventName        `json:"subscriptions"`
	SignatureAlgorithm core.SignatureAlgorithm `json:"signatureAlgorithm"`
	APIVersion         string                  `json:"apiVersion"`
	EncryptionKey      *string                 `json:"encryptionKey"`
	Status             string                  `json:"status"`
	DisabledReason     *string                 `json:"disabledReason"`
	Failures           int                     `json:"failures"`     // in a row
	FailingSince       *string                 `json:"failingSince"` // the first of them
	FormerSecretUntil  *string                 `json:"formerSecretUntil"`
	Created            string                  `json:"created"`
	Updated            string                  `json:"updated"`
}

// Status of an endpoint on the wire.
const (
	endpointEnabled  = "ENABLED"
	endpointFailing  = "FAILING"
	endpointDisabled = "DISABLED"
)

func endpointResource(e core.Endpoint) resource[endpointAttributes] {
	status := endpointEnabled
	switch {
	case !e.Disabled.IsZero():
		status = endpointDisabled
	case e.Failures > 0:
		status = endpointFailing
	}
	return resource[endpointAttributes]{
		ID: string(e.ID), Type: "webhook-endpoints",
		Attributes: endpointAttributes{
			URL: e.URL, Subscriptions: e.Subscriptions, SignatureAlgorithm: e.Algorithm, APIVersion: e.APIVersion,
			EncryptionKey: orNull(e.Recipient), Status: status, DisabledReason: orNull(string(e.DisabledReason)),
			Failures: e.Failures, FailingSince: stampOrNull(e.FailingSince), FormerSecretUntil: stampOrNull(e.FormerUntil),
			Created: stamp(e.Created), Updated: stamp(e.Updated),
		},
		Relationships: map[string]relationship{"account": accountRelationship(e.Account)},
		Links:         &selfLink{accountPath(e.Account) + "/webhook-endpoints/" + string(e.ID)},
	}
}

// EndpointResource implements core.Wire.
func (Resources) EndpointResource(endpoint core.Endpoint) (json.RawMessage, error) {
	return json.Marshal(endpointResource(endpoint))
}

var _ core.Wire = Resources{}
