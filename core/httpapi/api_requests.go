package httpapi

import (
	"net/http"
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
	wanted, err := parseCursorPage(query)
	if err != nil {
		return err
	}
	address, kept, err := emailParameter(query)
	if err != nil {
		return err
	}
	found, next, err := turn(wanted, func(r core.Request) string { return string(r.ID) },
		func(after string, limit int) ([]core.Request, error) {
			return a.c.Support.List(c.Request.Context(), c.account.ID,
				core.RequestFilter{Address: address, Before: core.RequestID(after), Limit: limit})
		})
	if err != nil {
		return err
	}
	list := make([]any, len(found))
	for i, request := range found {
		list[i] = requestResource(request)
	}
	return c.write(http.StatusOK, document{Data: list, Links: wanted.links(listPath(c, "password-requests"), kept, next)})
}

// getRequest shows one request and all that was done for it. What is another
// account's is not there.
func (a *api) getRequest(c *call) error {
	id, ok := tenants.ParseUUID(c.param("request"))
	if !ok {
		return errNoRequest
	}
	timeline, err := a.c.Support.Timeline(c.Request.Context(), c.account.ID, core.RequestID(id))
	if err != nil {
		return absent(err, errNoRequest)
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
	Disputed   *string           `json:"disputed"`
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
	Reports   []reportItem       `json:"reports"`
}

// reportItem is what the provider's service told of a delivery afterwards.
type reportItem struct {
	Provider string  `json:"provider"`
	Kind     string  `json:"kind"`
	Detail   *string `json:"detail"`
	At       *string `json:"at"` // by the service's clock
	Recorded string  `json:"recorded"`
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
	return resource[requestAttributes]{
		ID: string(request.ID), Type: "password-requests",
		Attributes: requestAttributes{
			State: request.State, Reason: orNull(string(request.Reason)), Deliver: request.Deliver,
			Accepted: stamp(request.Accepted), Expires: stampOrNull(request.Expires), Redeemed: stampOrNull(request.Spent), Disputed: stampOrNull(request.Disputed),
		},
		Relationships: ownedBy(request.Account, request.User),
		Links:         &selfLink{accountPath(request.Account) + "/password-requests/" + string(request.ID)},
	}
}

func deliveryOf(delivery core.DeliveryRecord) deliveryItem {
	item := deliveryItem{
		ID: string(delivery.ID), Kind: delivery.Kind, State: delivery.State,
		Reason: orNull(string(delivery.Reason)), Provider: orNull(delivery.Provider), MessageID: orNull(delivery.MessageID),
		Queued: stamp(delivery.Queued), RunAt: stampOrNull(delivery.RunAt), Ended: stampOrNull(delivery.Ended),
		Attempts: make([]attemptItem, len(delivery.Attempts)),
		Reports:  make([]reportItem, len(delivery.Reports)),
	}
	for i, attempt := range delivery.Attempts {
		item.Attempts[i] = attemptItem{
			Number: attempt.Number, Provider: orNull(attempt.Provider), Outcome: attempt.Outcome, Detail: orNull(attempt.Detail),
			DurationMS: attempt.Duration.Milliseconds(), Ended: stampOrNull(attempt.Ended),
		}
	}
	for i, report := range delivery.Reports {
		item.Reports[i] = reportItem{
			Provider: report.Provider, Kind: report.Kind, Detail: orNull(report.Detail),
			At: stampOrNull(report.At), Recorded: stamp(report.Recorded),
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
