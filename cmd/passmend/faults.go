//go:build faults

package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// inbox is where accepted requests go. In this build they go there too late: it is
// the control of the crash tests, which must catch it, and nothing else.
func (s *service) inbox() core.Inbox { return hasty{s} }

// hasty answers before the commit.
type hasty struct{ service *service }

// Accept lets the caller go and commits a tenth of a second later.
func (h hasty) Accept(ctx context.Context, account tenants.AccountID, request core.Request) error {
	ctx = context.WithoutCancel(ctx)
	time.AfterFunc(100*time.Millisecond, func() {
		if err := h.service.store.Accept(ctx, account, request); err != nil {
			h.service.logger.ErrorContext(ctx, "accept after the answer failed", slog.Any("error", err))
		}
	})
	return nil
}
