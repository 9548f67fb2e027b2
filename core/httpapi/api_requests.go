package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// readsAccount lets operators and those roles through that see all of the account.
func readsAccount(c *call) error {
	if c.token.Operator() || c.user.Role.ReadsAccount() {
		return nil
	}
	return errForbidden
}

// listRequests shows the account's requests, newest first; with email, those for
// that address, whether or not a user has it.
func (a *api) listRequests(c *call) error {
	query := c.Request.URL.Query()
	wanted, err := parsePage(query)
	if err != nil {
		return err
	}
	filter := core.RequestFilter{Before: core.RequestID(wanted.after), Limit: wanted.size}
	kept := url.Values{}
	if typed, sent, err := onlyParameter(query, "email"); err != nil {
		return err
	} else if sent {
		if strings.TrimSpace(typed) == "" {
			return badParameter("email", "cannot be blank")
		}
		if filter.Address, err = core.ParseAddress(typed); err != nil {
			return err
		}
		kept.Set("email", typed)
	}
	found, next, err := a.requestsOf(c, filter)
	if err != nil {
		return err
	}
	list := make([]any, len(found))
	for i, request := range found {
		list[i] = requestResource(request)
	}
	path := "/v1/accounts/" + c.Param("account") + "/password-requests"
	return c.write(http.StatusOK, document{Data: list, Links: wanted.links(path, kept, next)})
}

// requestsOf gives a page and the cursor of the next, which is empty on the last.
func (a *api) requestsOf(c *call, filter core.RequestFilter) (found []core.Request, next string, err error) {
	found, err = a.c.Support.List(c.Request.Context(), c.account.ID, filter)
	if err != nil || len(found) < filter.Limit {
		return found, "", err
	}
	filter.Before, filter.Limit = found[len(found)-1].ID, 1
	more, err := a.c.Support.List(c.Request.Context(), c.account.ID, filter)
	if err != nil || len(more) == 0 {
		return found, "", err
	}
	return found, string(filter.Before), nil
}

// getRequest shows one request and all that was done for it. What is another
// account's is not there.
func (a *api) getRequest(c *call) error {
	id, ok := tenants.ParseUUID(c.param("request"))
	if !ok {
		return errNoRequest
	}
	timeline, err := a.c.Support.Timeline(c.Request.Context(), c.account.ID, core.RequestID(id))
	if errors.Is(err, core.ErrNotFound) {
		return errNoRequest
	}
	if err != nil {
		return err
	}
	shown := requestResource(timeline.Request)
	shown.Attributes.Deliveries = make([]deliveryItem, len(timeline.Deliveries))
	for i, delivery := range timeline.Deliveries {
		shown.Attributes.Deliveries[i] = deliveryOf(delivery)
	}
	return c.write(http.StatusOK, document{Data: shown})
}

// requestAttributes tell what became of a request. Nothing in them is the address,
// the link, or what a link is made from.
type requestAttributes struct {
	State      core.RequestState `json:"state"`
	Reason     *string           `json:"reason"`
	Deliver    bool              `json:"deliver"`
	Accepted   string            `json:"accepted"`
	Expires    *string           `json:"expires"`
	Redeemed   *string           `json:"redeemed"`
	Deliveries []deliveryItem    `json:"deliveries,omitzero"` // left out of lists
}

type deliveryItem struct {
	ID        string             `json:"id"`
	Kind      core.Kind          `json:"kind"`
	State     core.DeliveryState `json:"state"`
	Reason    *string            `json:"reason"`
	Provider  *string            `json:"provider"`
	MessageID *string            `json:"messageId"`
	Queued    string             `json:"queued"`
	RunAt     *string            `json:"runAt"`
	Ended     *string            `json:"ended"`
	Attempts  []attemptItem      `json:"attempts"`
}

type attemptItem struct {
	Number     int     `json:"number"` // from 1
	Provider   *string `json:"provider"`
	Outcome    string  `json:"outcome"`
	Detail     *string `json:"detail"`
	DurationMS int64   `json:"durationMs"`
	Ended      *string `json:"ended"`
}

func requestResource(request core.Request) resource[requestAttributes] {
	shown := resource[requestAttributes]{
		ID: string(request.ID), Type: "password-requests",
		Attributes: requestAttributes{
			State: request.State, Reason: orNull(string(request.Reason)), Deliver: request.Deliver,
			Accepted: stamp(request.Accepted), Expires: stampOrNull(request.Expires), Redeemed: stampOrNull(request.Spent),
		},
		Relationships: map[string]relationship{"account": accountRelationship(request.Account)},
		Links:         &selfLink{accountPath(request.Account) + "/password-requests/" + string(request.ID)},
	}
	if request.User != "" {
		shown.Relationships["user"] = relationship{
			Links: &relatedLink{userPath(request.Account, request.User)},
			Data:  &linkage{Type: "users", ID: string(request.User)},
		}
	}
	return shown
}

func deliveryOf(delivery core.DeliveryRecord) deliveryItem {
	item := deliveryItem{
		ID: string(delivery.ID), Kind: delivery.Kind, State: delivery.State,
		Reason: orNull(string(delivery.Reason)), Provider: orNull(delivery.Provider), MessageID: orNull(delivery.MessageID),
		Queued: stamp(delivery.Queued), RunAt: stampOrNull(delivery.RunAt), Ended: stampOrNull(delivery.Ended),
		Attempts: make([]attemptItem, len(delivery.Attempts)),
	}
	for i, attempt := range delivery.Attempts {
		item.Attempts[i] = attemptItem{
			Number: attempt.Number, Provider: orNull(attempt.Provider), Outcome: attempt.Outcome, Detail: orNull(attempt.Detail),
			DurationMS: attempt.Duration.Milliseconds(), Ended: stampOrNull(attempt.Ended),
		}
	}
	return item
}

func stampOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return orNull(stamp(t))
}
