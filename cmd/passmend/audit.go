package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

func auditCommand() *cobra.Command {
	return group("audit", "Look at who changed what, export it, and verify that nobody changed that",
		auditListCommand(), auditExportCommand(), auditVerifyCommand())
}

// auditScope says whose log a command is about.
type auditScope struct {
	account  *string
	platform *bool
}

func addAuditScope(flags *pflag.FlagSet) auditScope {
	return auditScope{
		account:  flags.String("account", "", "an account's id or slug; a deleted one's id"),
		platform: flags.Bool("platform", false, "what concerns no account: operators' tokens, platform providers, plugins"),
	}
}

// find gives whose log it is; all when none was named.
func (s auditScope) find(ctx context.Context, d *desk) (owner tenants.AccountID, all bool, err error) {
	switch {
	case *s.platform && *s.account != "":
		return "", false, usagef("give --account or --platform, or neither for all")
	case *s.platform:
		return "", false, nil
	case *s.account == "":
		return "", true, nil
	}
	if id, ok := tenants.ParseUUID(*s.account); ok {
		if _, err := d.store.AuditChain(ctx, tenants.AccountID(id)); err == nil {
			return tenants.AccountID(id), false, nil
		}
	}
	account, err := d.account(ctx, *s.account)
	return account.ID, false, err
}

func auditListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [--account ACCOUNT | --platform]",
		Short: "List who changed what, newest first",
		Example: `  passmend audit list --account acme
  passmend audit list --event authn_password_change --limit 20
  passmend audit list --platform --actor command`,
		Args: cobra.NoArgs,
	}
	scope := addAuditScope(cmd.Flags())
	event := cmd.Flags().String("event", "", "only this event, as user_created")
	actor := cmd.Flags().String("actor", "", "only what this id did, or this kind: operator, admin, user, command, service")
	limit := cmd.Flags().Int("limit", 50, "how many at the most, 1 to 100")
	return deskCommand(cmd, func(ctx context.Context, d *desk, _ []string) error {
		if *limit < 1 || *limit > 100 {
			return usagef("--limit: must be 1 to 100 (got %d)", *limit)
		}
		query := core.AuditQuery{Name: core.AuditName(*event), Limit: *limit}
		if *event != "" && !query.Name.Valid() {
			return usagef("--event: must be one of %s (got %q)", joined(core.AuditNames()), *event)
		}
		if kind := core.ActorKind(*actor); slices.Contains(core.ActorKinds(), kind) {
			query.Kind = kind
		} else {
			query.Actor = *actor
		}
		owner, all, err := scope.find(ctx, d)
		if err != nil {
			return err
		}
		found, err := d.auditEvents(ctx, owner, all, query)
		if err != nil {
			return err
		}
		rows := make([][]string, len(found))
		for i, e := range found {
			rows[i] = []string{
				stamp(e.At), or(string(e.Account), "platform"), strings.TrimSpace(string(e.Actor.Kind) + " " + e.Actor.ID), string(e.Name),
				strings.TrimSpace(e.Object.Type + " " + e.Object.ID), or(strings.Join(e.Fields, ","), "-"), or(e.Network, "-"), or(e.Request, "-"),
			}
		}
		return printTable(cmd.OutOrStdout(), []string{"AT", "ACCOUNT", "ACTOR", "EVENT", "OBJECT", "FIELDS", "NETWORK", "REQUEST"}, rows)
	})
}

func (d *desk) auditEvents(ctx context.Context, owner tenants.AccountID, all bool, query core.AuditQuery) ([]core.AuditEvent, error) {
	if all {
		return d.store.AllAuditEvents(ctx, query)
	}
	return d.store.AuditEvents(ctx, owner, query)
}

func joined[S ~string](names []S) string {
	texts := make([]string, len(names))
	for i, name := range names {
		texts[i] = string(name)
	}
	return strings.Join(texts, ", ")
}

// auditLine is an entry of an export: all that its hash is over.
type auditLine struct {
	Account   *tenants.AccountID `json:"account"` // null: the platform
	Seq       int64              `json:"seq"`
	ID        core.AuditEventID  `json:"id"`
	At        string             `json:"at"`
	Event     core.AuditName     `json:"event"`
	ActorKind core.ActorKind     `json:"actorKind"`
	Actor     string             `json:"actor"`
	Type      string             `json:"objectType"`
	Object    string             `json:"object"`
	Fields    []string           `json:"fields"`
	Network   string             `json:"network"`
	RequestID string             `json:"requestId"`
	Previous  string             `json:"previous"`
	Hash      string             `json:"hash"`
}

func newAuditLine(e core.AuditEvent) auditLine {
	line := auditLine{
		Seq: e.Seq, ID: e.ID, At: e.At.UTC().Format("2006-01-02T15:04:05.000000Z"), Event: e.Name,
		ActorKind: e.Actor.Kind, Actor: e.Actor.ID, Type: e.Object.Type, Object: e.Object.ID, Fields: append([]string{}, e.Fields...),
		Network: e.Network, RequestID: e.Request, Previous: hex.EncodeToString(e.Previous), Hash: hex.EncodeToString(e.Hash),
	}
	if e.Account != "" {
		line.Account = &e.Account
	}
	return line
}

func auditExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export [--account ACCOUNT | --platform]",
		Short: "Print audit logs as lines of JSON, oldest first in each",
		Long: `Prints audit logs as lines of JSON, each with all that its hash is over. What is kept
elsewhere shows also what 'passmend audit verify' cannot see: a log that was written
anew from some entry on.`,
		Example: `  passmend audit export --account acme > acme.jsonl
  passmend audit export --since 2026-01-01T00:00:00Z | gzip > audit.jsonl.gz
  passmend audit export --since 24h >> kept-elsewhere.jsonl`,
		Args: cobra.NoArgs,
	}
	scope := addAuditScope(cmd.Flags())
	since := cmd.Flags().String("since", "", "from then on: a time as 2026-01-01T00:00:00Z, or how long ago, as 24h")
	return deskCommand(cmd, func(ctx context.Context, d *desk, _ []string) error {
		from, err := parseSince(*since, time.Now())
		if err != nil {
			return err
		}
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetEscapeHTML(false)
		return d.eachChain(ctx, scope, func(owner tenants.AccountID) error {
			return d.eachAuditEvent(ctx, owner, func(e core.AuditEvent) error {
				if e.At.Before(from) {
					return nil
				}
				return encoder.Encode(newAuditLine(e))
			})
		})
	})
}

// parseSince reads a time or how long ago it was; the zero time for nothing.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	ago, err := time.ParseDuration(text)
	if err != nil || ago < 0 {
		return time.Time{}, usagef("--since: must be a time as 2026-01-01T00:00:00Z or a duration as 24h (got %q)", text)
	}
	return now.Add(-ago), nil
}

// eachAuditEvent reads a chain from its beginning, page by page.
func (d *desk) eachAuditEvent(ctx context.Context, owner tenants.AccountID, each func(core.AuditEvent) error) error {
	var after int64
	for {
		page, err := d.store.AuditLinks(ctx, owner, after, listPage)
		if err != nil {
			return err
		}
		for _, e := range page {
			if err := each(e); err != nil {
				return err
			}
			after = e.Seq
		}
		if len(page) < listPage {
			return nil
		}
	}
}

// eachChain goes through the log that was named, or through the platform's and every
// account's.
func (d *desk) eachChain(ctx context.Context, scope auditScope, each func(owner tenants.AccountID) error) error {
	owner, all, err := scope.find(ctx, d)
	if err != nil {
		return err
	}
	if err := each(owner); err != nil || !all {
		return err
	}
	var after tenants.AccountID
	for {
		page, err := d.store.AuditChains(ctx, after, listPage)
		if err != nil {
			return err
		}
		for _, chain := range page {
			if err := each(chain.Account); err != nil {
				return err
			}
			after = chain.Account
		}
		if len(page) < listPage {
			return nil
		}
	}
}

func auditVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify [--account ACCOUNT | --platform]",
		Short: "Walk the audit logs' chains; name the first entry that is not as it was written",
		Long: `Walks each chain from its beginning, or from where retention has moved it, to its end.
Prints how many entries each has and the hash of the newest: note it elsewhere, and
hold it against a later export, to see that none was written anew.

Exit status 1 when an entry was changed, taken out or put in; all chains are walked.`,
		Example: `  passmend audit verify
  passmend audit verify --account acme`,
		Args: cobra.NoArgs,
	}
	scope := addAuditScope(cmd.Flags())
	return deskCommand(cmd, func(ctx context.Context, d *desk, _ []string) error {
		var rows [][]string
		var broken []error
		err := d.eachChain(ctx, scope, func(owner tenants.AccountID) error {
			chain, err := core.VerifyAudit(ctx, d.store, owner)
			switch {
			case errors.Is(err, core.ErrNotFound):
				return nil // nothing was ever recorded
			case errors.As(err, new(*core.BrokenLink)):
				broken = append(broken, err)
				rows = append(rows, []string{or(string(owner), "platform"), "BROKEN", "-", "-"})
				return nil
			case err != nil:
				return err
			}
			rows = append(rows, []string{or(string(owner), "platform"), "whole", strconv.FormatInt(chain.Seq-chain.Base, 10), hex.EncodeToString(chain.Hash)})
			return nil
		})
		if err != nil {
			return err
		}
		if err := printTable(cmd.OutOrStdout(), []string{"ACCOUNT", "CHAIN", "ENTRIES", "NEWEST HASH"}, rows); err != nil || len(broken) == 0 {
			return err
		}
		if len(broken) > 1 {
			return fmt.Errorf("%w; and %d more logs are broken", broken[0], len(broken)-1)
		}
		return broken[0]
	})
}
