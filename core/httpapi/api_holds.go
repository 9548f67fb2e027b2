package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// listHolds shows what is kept back of the account and of its providers, or, in a
// call about no account, of everything and of the platform's providers. The list is
// whole: there is one hold for each provider at the most, and one for all.
func (a *api) listHolds(c *call) error {
	holds, err := a.c.Holds.Holds(c.Request.Context(), c.account.ID)
	if err != nil {
		return err
	}
	list := make([]any, len(holds))
	for i, hold := range holds {
		list[i] = holdResource(hold)
	}
	return c.write(http.StatusOK, document{Data: list})
}

// putHold keeps back all that the path is about.
func (a *api) putHold(c *call) error {
	if err := validate(c.body, nil); err != nil {
		return err
	}
	provider := c.param("provider")
	if err := a.c.Holds.BeginHold(c.Request.Context(), c.account.ID, provider, c.token.Operator()); err != nil {
		return absent(err, errNoProvider)
	}
	holds, err := a.c.Holds.Holds(c.Request.Context(), c.account.ID)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(holds, func(h core.Hold) bool { return h.Provider == provider })
	if at < 0 {
		return errNoHold // somebody else let it go at once
	}
	return c.write(http.StatusOK, document{Data: holdResource(holds[at])})
}

// deleteHold lets it go, all at once or at a rate.
func (a *api) deleteHold(c *call) error {
	rate, err := rateParameter(c.Request.URL.Query())
	if err != nil {
		return err
	}
	if err := a.c.Holds.EndHold(c.Request.Context(), c.account.ID, c.param("provider"), rate, c.token.Operator()); err != nil {
		return absent(err, errNoHold)
	}
	c.empty(http.StatusNoContent)
	return nil
}

// rateParameter is 0 when none was sent.
func rateParameter(query url.Values) (int, error) {
	text, sent, err := onlyParameter(query, "rate")
	if err != nil || !sent {
		return 0, err
	}
	rate, err := strconv.ParseUint(text, 10, 16)
	if err != nil || rate < 1 || rate > core.MostDrained {
		return 0, badParameter("rate", "must be a number from 1 to "+strconv.Itoa(core.MostDrained))
	}
	return int(rate), nil
}

type holdAttributes struct {
	Provider *string `json:"provider"`
	State    string  `json:"state"`
	Rate     *int    `json:"rate"` // deliveries a second; null: as fast as they can
	Operator bool    `json:"operator"`
	Waiting  int     `json:"waiting"`
	UnderWay int     `json:"underWay"`
	Since    string  `json:"since"`
	Released *string `json:"released"`
}

// everythingHeld stands for a hold that is about no single provider; no provider has
// it as its name.
const everythingHeld = "*"

func holdResource(hold core.Hold) resource[holdAttributes] {
	attributes := holdAttributes{
		Provider: orNull(hold.Provider), State: core.HoldHeld, Operator: hold.Firm,
		Waiting: hold.Waiting, UnderWay: hold.UnderWay, Since: stamp(hold.Since),
	}
	if !hold.Released.IsZero() {
		attributes.State, attributes.Released = core.HoldDraining, orNull(stamp(hold.Released))
	}
	if hold.Rate > 0 {
		attributes.Rate = &hold.Rate
	}
	shown := resource[holdAttributes]{ID: everythingHeld, Type: "holds", Attributes: attributes, Links: &selfLink{holdPath(hold.Account)}}
	if hold.Account != "" {
		shown.Relationships = map[string]relationship{"account": accountRelationship(hold.Account)}
	}
	if hold.Provider != "" {
		shown.ID = hold.Provider
		shown.Links.Self += "/" + hold.Provider
	}
	return shown
}

func holdPath(account tenants.AccountID) string {
	if account == "" {
		return "/v1/holds"
	}
	return accountPath(account) + "/holds"
}
