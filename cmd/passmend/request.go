package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/tenants"
)

func requestCommand() *cobra.Command {
	return group("request", "Look at what became of requests", requestShowCommand(), requestFindCommand())
}

func (d *desk) support() (*core.Support, error) {
	ring, err := keys.Open(d.config.keysFile)
	if err != nil {
		return nil, err
	}
	return &core.Support{Ledger: d.store, Timelines: d.store, Digester: ring}, nil
}

// whose is where requests are looked for: an account, or the service itself.
type whose struct {
	account string
	recover bool
}

func whoseFlags(cmd *cobra.Command) *whose {
	w := new(whose)
	cmd.Flags().StringVar(&w.account, "account", "", "the account's id or slug")
	cmd.Flags().BoolVar(&w.recover, "recover", false, "what was asked of no account, by POST /v1/recover")
	return w
}

// owner gives the account that the requests are kept under, and what to call it.
func (w *whose) owner(ctx context.Context, d *desk) (id tenants.AccountID, name string, err error) {
	switch {
	case w.recover && w.account != "":
		return "", "", usagef("--recover: goes without --account: what it looks at was asked of no account")
	case w.recover:
		return tenants.RecoverID, "POST /v1/recover", nil
	case w.account == "":
		return "", "", usagef("--account: is needed: an account's id or slug; or --recover")
	}
	account, err := d.account(ctx, w.account)
	return account.ID, "account " + account.Slug, err
}

func requestShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID (--account ACCOUNT | --recover)",
		Short: "Print a request's timeline: accepted, resolved, each attempt and report, redeemed",
		Example: `  passmend request show 0197c0de-0000-7000-8000-00000000abcd --account acme
  passmend request show 0197c0de-0000-7000-8000-00000000abcd --recover`,
		Args: cobra.ExactArgs(1),
	}
	whose := whoseFlags(cmd)
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) error {
		id, ok := tenants.ParseUUID(args[0])
		if !ok {
			return usagef("ID: must be a request's UUID; 'passmend request find' shows them")
		}
		owner, name, err := whose.owner(ctx, d)
		if err != nil {
			return err
		}
		support, err := d.support()
		if err != nil {
			return err
		}
		timeline, err := support.Timeline(ctx, owner, core.RequestID(id))
		if errors.Is(err, core.ErrNotFound) {
			return fmt.Errorf("%s has no request %s", name, id)
		}
		if err != nil {
			return err
		}
		return printTimeline(cmd.OutOrStdout(), timeline)
	}, "keys_file")
}

func requestFindCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "find ADDRESS (--account ACCOUNT | --recover)",
		Short: "List the requests for an address, newest first, a user's or not",
		Long: `Lists the requests for an address. The ledger keeps no address of a request that
has ended: it is found by a digest under the keys file.`,
		Example: `  passmend request find ada@example.com --account acme
  passmend request find ada@example.com --recover`,
		Args: cobra.ExactArgs(1),
	}
	whose := whoseFlags(cmd)
	limit := cmd.Flags().Int("limit", 20, "how many at the most, 1 to 100")
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) error {
		if *limit < 1 || *limit > 100 {
			return usagef("--limit: must be 1 to 100 (got %d)", *limit)
		}
		address, err := core.ParseAddress(args[0])
		if err != nil {
			return usagef("ADDRESS: %w", err)
		}
		owner, _, err := whose.owner(ctx, d)
		if err != nil {
			return err
		}
		support, err := d.support()
		if err != nil {
			return err
		}
		found, err := support.Find(ctx, owner, address, *limit)
		if err != nil {
			return err
		}
		rows := make([][]string, 0, len(found))
		for _, request := range found {
			rows = append(rows, []string{string(request.ID), stamp(request.Accepted), standing(request)})
		}
		return printTable(cmd.OutOrStdout(), []string{"ID", "ACCEPTED", "STATE"}, rows)
	}, "keys_file")
}

// printTimeline writes one line for each thing that happened, in order.
func printTimeline(w io.Writer, timeline core.Timeline) error {
	request := timeline.Request
	rows := [][]string{{stamp(request.Accepted), "accepted", deliverWord(request.Deliver)}}
	for _, delivery := range timeline.Deliveries {
		for _, attempt := range delivery.Attempts {
			detail := fmt.Sprintf("%s by %s in %s", attempt.Outcome, or(attempt.Provider, "nobody"), milliseconds(attempt.Duration))
			if attempt.Detail != "" {
				detail += ": " + attempt.Detail
			}
			rows = append(rows, []string{stamp(attempt.Ended), fmt.Sprintf("%s, attempt %d", delivery.Kind, attempt.Number), detail})
		}
		rows = append(rows, deliveryRow(delivery))
		for _, report := range delivery.Reports {
			detail := fmt.Sprintf("told by %s", report.Provider)
			if report.Detail != "" {
				detail += ": " + report.Detail
			}
			rows = append(rows, []string{stamp(report.Recorded), fmt.Sprintf("%s, %s", delivery.Kind, report.Kind), detail})
		}
	}
	if !request.Spent.IsZero() {
		rows = append(rows, []string{stamp(request.Spent), "redeemed", "a new password was set"})
	}
	if !request.Disputed.IsZero() {
		rows = append(rows, []string{stamp(request.Disputed), "disputed", "whoever opened the link had not asked for it"})
	}
	slices.SortStableFunc(rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) }) // stamps sort as time does
	fmt.Fprintf(w, "request %s: %s\n", request.ID, standing(request))
	if request.LinkRequest != "" {
		fmt.Fprintf(w, "sends the link of request %s again\n", request.LinkRequest)
	}
	if !request.Expires.IsZero() {
		fmt.Fprintf(w, "link works until %s\n", stamp(request.Expires))
	}
	fmt.Fprintln(w)
	return printTable(w, []string{"WHEN", "WHAT", "DETAIL"}, rows)
}

// deliveryRow says how a delivery ended, or when it is due.
func deliveryRow(delivery core.DeliveryRecord) []string {
	name := string(delivery.Kind)
	if delivery.Kind == core.KindResolve {
		name = "resolved"
	}
	if delivery.Ended.IsZero() {
		return []string{stamp(delivery.RunAt), name, "due"}
	}
	detail := string(delivery.State)
	switch delivery.State {
	case core.DeliveryDelivered, core.DeliveryBounced, core.DeliveryComplained:
		detail = string(core.DeliveryDone) // what was reported since has rows of its own
	}
	if delivery.Reason != "" {
		detail += ", " + strings.ReplaceAll(string(delivery.Reason), "_", " ")
	}
	return []string{stamp(delivery.Ended), name, detail}
}

func deliverWord(deliver bool) string {
	if deliver {
		return "a mail is wanted"
	}
	return "no mail is wanted"
}

func standing(request core.Request) string {
	if request.Reason == "" {
		return string(request.State)
	}
	return string(request.State) + " (" + strings.ReplaceAll(string(request.Reason), "_", " ") + ")"
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000Z") }
