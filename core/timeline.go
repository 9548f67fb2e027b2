package core

import (
	"context"
	"time"

	"github.com/passmend/passmend/tenants"
)

// Timelines shows support and an account's owner what became of requests. Nothing
// in it is an address or a link.
type Timelines interface {
	// Requests lists newest first.
	Requests(ctx context.Context, account tenants.AccountID, query RequestQuery) ([]Request, error)
	// Deliveries gives what was done for a request, in the order in which it was
	// queued; none for a request that does not exist.
	Deliveries(ctx context.Context, account tenants.AccountID, request RequestID) ([]DeliveryRecord, error)
}

// RequestQuery chooses requests of an account.
type RequestQuery struct {
	// AddressDigest, when set, chooses those asked for with that address.
	AddressDigest []byte
	// Before, when set, continues a list after the request of that id.
	Before RequestID
	Limit  int // 1 to 100
}

// DeliveryRecord is a delivery as it stands, with its attempts and what its provider
// reported afterwards, each oldest first.
type DeliveryRecord struct {
	Delivery
	State     DeliveryState
	Reason    Reason
	MessageID string
	RunAt     time.Time // when it is due, or was
	Ended     time.Time // zero: not yet
	Attempts  []AttemptRecord
	Reports   []ProviderEventRecord
}

// AttemptRecord is an attempt with its place in time.
type AttemptRecord struct {
	Attempt
	Number int // from 1
	Ended  time.Time
}

// Timeline is a request and everything that was done for it.
type Timeline struct {
	Request    Request
	Deliveries []DeliveryRecord
}

// Support looks into the ledger for people.
type Support struct {
	Ledger    Ledger
	Timelines Timelines
	Digester  Digester
}

// Timeline gives a request's; ErrNotFound.
func (s *Support) Timeline(ctx context.Context, account tenants.AccountID, id RequestID) (Timeline, error) {
	request, err := s.Ledger.Request(ctx, account, id)
	if err != nil {
		return Timeline{}, err
	}
	deliveries, err := s.Timelines.Deliveries(ctx, account, id)
	return Timeline{Request: request, Deliveries: deliveries}, err
}

// RequestFilter chooses requests as people do.
type RequestFilter struct {
	Address Address   // the zero value: any
	Before  RequestID // when set, continues a list after that request
	Limit   int       // 1 to 100
}

// List gives the requests that the filter chooses, newest first. An address is
// found whether or not it is a user's: it is erased when a request ends, and its
// keyed digest is not.
func (s *Support) List(ctx context.Context, account tenants.AccountID, filter RequestFilter) ([]Request, error) {
	query := RequestQuery{Before: filter.Before, Limit: filter.Limit}
	if address := filter.Address.Reveal(); address != "" {
		query.AddressDigest = s.Digester.Digest(digestAddress, account, []byte(address))
	}
	return s.Timelines.Requests(ctx, account, query)
}

// Find lists the requests for an address, newest first.
func (s *Support) Find(ctx context.Context, account tenants.AccountID, address Address, limit int) ([]Request, error) {
	return s.List(ctx, account, RequestFilter{Address: address, Limit: limit})
}
