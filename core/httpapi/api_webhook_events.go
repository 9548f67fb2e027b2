package httpapi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// listEvents shows the account's webhook events, those of the names in events[] when
// there are any (contract.md, A7 and C5).
func (a *api) listEvents(c *call) error {
	query := c.Request.URL.Query()
	wanted, err := parsePage(query)
	if err != nil {
		return err
	}
	names, kept, err := eventNames(query)
	if err != nil {
		return err
	}
	list := func(p part) ([]core.WebhookEvent, error) {
		return a.c.EventDesk.List(c.Request.Context(), c.account.ID, core.WebhookEventQuery{
			Names: names, Newest: p.newest, After: core.DeliveryID(p.after), Skip: p.skip, Limit: p.limit,
		})
	}
	return answerUncounted(c, "webhook-events", wanted, kept,
		func(e core.WebhookEvent) string { return string(e.ID) },
		func(e core.WebhookEvent) any { return eventResource(e) }, list)
}

// eventNames reads the filter, and gives what links keep of it.
func eventNames(query url.Values) (names []core.EventName, kept url.Values, err error) {
	kept = make(url.Values)
	for _, parameter := range []string{"events[]", "events"} {
		for _, name := range query[parameter] {
			if !core.EventName(name).Valid() {
				return nil, nil, badParameter(parameter, "is invalid")
			}
			names = append(names, core.EventName(name))
			kept.Add(parameter, name)
		}
	}
	return names, kept, nil
}

// eventID is the webhook event that the path names; errNoEvent when nothing can have
// that name.
func eventID(c *call) (core.DeliveryID, error) {
	id, ok := tenants.ParseUUID(c.param("event"))
	if !ok {
		return "", errNoEvent
	}
	return core.DeliveryID(id), nil
}

// getEvent shows one and what was tried. Another account's is not there.
func (a *api) getEvent(c *call) error {
	id, err := eventID(c)
	if err != nil {
		return err
	}
	event, err := a.c.EventDesk.Event(c.Request.Context(), c.account.ID, id)
	if err != nil {
		return absent(err, errNoEvent)
	}
	attempts, err := a.c.EventDesk.Attempts(c.Request.Context(), c.account.ID, id)
	if err != nil {
		return absent(err, errNoEvent)
	}
	shown := eventResource(event)
	shown.Attributes.Attempts = make([]eventAttempt, len(attempts))
	for i, attempt := range attempts {
		shown.Attributes.Attempts[i] = eventAttempt{
			Number: attempt.Number, Outcome: attempt.Outcome, Detail: orNull(attempt.Detail),
			ResponseCode: statusOf(attempt.Code), ResponseBody: orNull(attempt.Answer),
			DurationMS: attempt.Duration.Milliseconds(), Ended: stampOrNull(attempt.Ended),
		}
	}
	return c.write(http.StatusOK, document{Data: shown})
}

func (a *api) deleteEvent(c *call) error {
	id, err := eventID(c)
	if err != nil {
		return err
	}
	if err := a.c.EventDesk.Delete(c.Request.Context(), c.account.ID, id); err != nil {
		return absent(err, errNoEvent)
	}
	c.empty(http.StatusNoContent)
	return nil
}

// retryEvent is actions/retry: another event about the same, to the same endpoint.
func (a *api) retryEvent(c *call) error {
	id, err := eventID(c)
	if err != nil {
		return err
	}
	if err := validate(c.body, nil); err != nil {
		return err
	}
	event, err := a.c.EventDesk.Repeat(c.Request.Context(), c.account.ID, id)
	if err != nil {
		return absent(err, errNoEvent)
	}
	shown := eventResource(event)
	c.Header("Location", shown.Links.Self)
	return c.write(http.StatusCreated, document{Data: shown})
}

// eventAttributes are contract.md, A7. Payload is JSON in a string.
type eventAttributes struct {
	Endpoint         string         `json:"endpoint"`
	APIVersion       string         `json:"apiVersion"`
	Payload          string         `json:"payload"`
	Event            core.EventName `json:"event"`
	Status           string         `json:"status"`
	LastResponseCode *int           `json:"lastResponseCode"`
	LastResponseBody *string        `json:"lastResponseBody"`
	Attempts         []eventAttempt `json:"attempts,omitzero"` // of one that is shown alone
	Created          string         `json:"created"`
	Updated          string         `json:"updated"`
}

// eventAttempt is one try, and what the endpoint said.
type eventAttempt struct {
	Number       int     `json:"number"` // from 1
	Outcome      string  `json:"outcome"`
	Detail       *string `json:"detail"`
	ResponseCode *int    `json:"responseCode"`
	ResponseBody *string `json:"responseBody"`
	DurationMS   int64   `json:"durationMs"`
	Ended        *string `json:"ended"`
}

type eventMeta struct {
	IdempotencyToken string `json:"idempotencyToken"`
}

// Status of a webhook event on the wire.
const (
	eventDelivering = "DELIVERING"
	eventDelivered  = "DELIVERED"
	eventFailing    = "FAILING"
	eventFailed     = "FAILED"
)

// eventStatus puts our states into the words that clients know.
func eventStatus(e core.WebhookEvent) string {
	switch {
	case e.State == core.DeliveryQueued && e.Attempts > 0:
		return eventFailing
	case e.State == core.DeliveryQueued:
		return eventDelivering
	case e.State == core.DeliveryDone:
		return eventDelivered
	default:
		return eventFailed
	}
}

func eventResource(e core.WebhookEvent) resource[eventAttributes] {
	return resource[eventAttributes]{
		ID: string(e.ID), Type: "webhook-events",
		Attributes: eventAttributes{
			Endpoint: e.URL, APIVersion: e.APIVersion, Payload: string(e.Payload), Event: e.Event.Name, Status: eventStatus(e),
			LastResponseCode: statusOf(e.LastCode), LastResponseBody: orNull(e.LastAnswer),
			Created: stamp(e.Created), Updated: stamp(e.Updated),
		},
		Relationships: map[string]relationship{"account": accountRelationship(e.Account)},
		Links:         &selfLink{accountPath(e.Account) + "/webhook-events/" + string(e.ID)},
		Meta:          eventMeta{e.IdempotencyToken()},
	}
}

// statusOf is a status of HTTP; nil for none.
func statusOf(code string) *int {
	status, err := strconv.Atoi(code)
	if err != nil {
		return nil
	}
	return &status
}

// EventDocument implements core.Wire.
func (Resources) EventDocument(event core.WebhookEvent) ([]byte, error) {
	event.State, event.Attempts, event.LastCode, event.LastAnswer = core.DeliveryQueued, 0, "", ""
	return json.Marshal(document{Data: eventResource(event)})
}
