package observability

import (
	"context"
	"errors"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Reports traces and counts what providers say of earlier messages. What is about no
// message of the account's counts as unknown.
func (t *Telemetry) Reports(next core.Reports) core.Reports { return reports{next, t} }

type reports struct {
	next core.Reports
	t    *Telemetry
}

func (r reports) Report(ctx context.Context, account tenants.AccountID, report core.Report) (fresh bool, err error) {
	err = r.t.inDatabase(ctx, "INSERT", "provider_events", func(ctx context.Context) (err error) {
		fresh, err = r.next.Report(ctx, account, report)
		return err
	})
	result := "repeated"
	switch {
	case errors.Is(err, core.ErrNotFound):
		result = "unknown"
	case err != nil:
		return fresh, err
	case fresh:
		result = "recorded"
	}
	r.t.providerEvents.with(eventKinds.of(report.Kind), result).Inc()
	return fresh, err
}
