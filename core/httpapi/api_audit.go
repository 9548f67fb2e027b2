package httpapi

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// listAuditEvents shows who changed what in the account.
func (a *api) listAuditEvents(c *call) error {
	query := c.Request.URL.Query()
	filter, kept, err := auditFilter(query)
	if err != nil {
		return err
	}
	return a.answerAudit(c, query, filter, kept, listPath(c, "audit-events"), a.auditOf(c, c.account.ID))
}

// listAllAuditEvents shows who changed what anywhere; with account, in that one,
// which may have been deleted since, or on the platform.
func (a *api) listAllAuditEvents(c *call) error {
	query := c.Request.URL.Query()
	filter, kept, err := auditFilter(query)
	if err != nil {
		return err
	}
	list := func(q core.AuditQuery) ([]core.AuditEvent, error) {
		return a.c.Audit.AllAuditEvents(c.Request.Context(), q)
	}
	whose, sent, err := onlyParameter(query, "account")
	if err != nil {
		return err
	}
	if sent {
		id, ok := tenants.ParseUUID(whose)
		if !ok && whose != "platform" {
			return badParameter("account", "must be an account's UUID or platform")
		}
		kept.Set("account", whose)
		list = a.auditOf(c, tenants.AccountID(id))
	}
	return a.answerAudit(c, query, filter, kept, "/v1/audit-events", list)
}

func (a *api) auditOf(c *call, account tenants.AccountID) func(core.AuditQuery) ([]core.AuditEvent, error) {
	return func(q core.AuditQuery) ([]core.AuditEvent, error) {
		return a.c.Audit.AuditEvents(c.Request.Context(), account, q)
	}
}

func (a *api) answerAudit(c *call, query url.Values, filter core.AuditQuery, kept url.Values, path string, list func(core.AuditQuery) ([]core.AuditEvent, error)) error {
	wanted, err := parseCursorPage(query)
	if err != nil {
		return err
	}
	found, next, err := turn(wanted, func(e core.AuditEvent) string { return string(e.ID) },
		func(after string, limit int) ([]core.AuditEvent, error) {
			filter.Before, filter.Limit = core.AuditEventID(after), limit
			return list(filter)
		})
	if err != nil {
		return err
	}
	data := make([]any, len(found))
	for i, event := range found {
		data[i] = auditResource(event)
	}
	return c.write(http.StatusOK, document{Data: data, Links: wanted.links(path, kept, next)})
}

// auditFilter reads event and actor, and what links keep of them.
func auditFilter(query url.Values) (filter core.AuditQuery, kept url.Values, err error) {
	kept = make(url.Values)
	name, sent, err := onlyParameter(query, "event")
	switch {
	case err != nil:
		return filter, nil, err
	case sent && !core.AuditName(name).Valid():
		return filter, nil, badParameter("event", "must be one of "+auditNames())
	case sent:
		filter.Name = core.AuditName(name)
		kept.Set("event", name)
	}
	actor, sent, err := onlyParameter(query, "actor")
	if err != nil || !sent {
		return filter, kept, err
	}
	kept.Set("actor", actor)
	if id, ok := tenants.ParseUUID(actor); ok {
		filter.Actor = id
		return filter, kept, nil
	}
	if filter.Kind = core.ActorKind(actor); !slices.Contains(core.ActorKinds(), filter.Kind) {
		return filter, nil, badParameter("actor", "must be a UUID, operator, admin, user, command or service")
	}
	return filter, kept, nil
}

func auditNames() string {
	names := make([]string, 0, 40)
	for _, name := range core.AuditNames() {
		names = append(names, string(name))
	}
	return strings.Join(names, ", ")
}

// auditAttributes are all that an entry's hash is over, so that whoever keeps them
// can verify the chain.
type auditAttributes struct {
	Event     core.AuditName `json:"event"`
	Seq       int64          `json:"seq"`
	Actor     auditActor     `json:"actor"`
	Object    auditObject    `json:"object"`
	Fields    []string       `json:"fields"`
	Network   *string        `json:"network"`
	RequestID *string        `json:"requestId"`
	Created   string         `json:"created"`
	Previous  string         `json:"previous"`
	Hash      string         `json:"hash"`
}

type auditActor struct {
	Kind core.ActorKind `json:"kind"`
	ID   *string        `json:"id"`
}

type auditObject struct {
	Type string  `json:"type"`
	ID   *string `json:"id"`
}

func auditResource(e core.AuditEvent) resource[auditAttributes] {
	shown := resource[auditAttributes]{
		ID: string(e.ID), Type: "audit-events",
		Attributes: auditAttributes{
			Event: e.Name, Seq: e.Seq, Actor: auditActor{e.Actor.Kind, orNull(e.Actor.ID)},
			Object: auditObject{e.Object.Type, orNull(e.Object.ID)}, Fields: append([]string{}, e.Fields...),
			Network: orNull(e.Network), RequestID: orNull(e.Request), Created: e.At.UTC().Format("2006-01-02T15:04:05.000000Z07:00"),
			Previous: hex.EncodeToString(e.Previous), Hash: hex.EncodeToString(e.Hash),
		},
	}
	if e.Account != "" {
		shown.Relationships = map[string]relationship{"account": accountRelationship(e.Account)}
	}
	return shown
}
