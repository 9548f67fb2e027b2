package core

import (
	"time"

	"github.com/passmend/passmend/tenants"
)

// Backlog is how many deliveries of an account wait in one way.
type Backlog struct {
	Account    tenants.AccountID
	Kind       Kind
	State      string // BacklogReady, BacklogLater or BacklogLeased
	Deliveries int64
	Oldest     time.Duration // since the oldest became ready; BacklogReady only
}

// How a delivery waits that has not ended.
const (
	BacklogReady  = "ready"  // could be worked on
	BacklogLater  = "later"  // is due at a later hour
	BacklogLeased = "leased" // a worker has it
)
