package serve

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/serve/internal/providerv1"
)

// Client is the host's end: an sdk.Provider over a connection. Every error is a
// *sdk.Failure. An answer that is lost, late, too large or unreadable is
// Unknown: the message may have been delivered.
type Client struct{ rpc providerv1.ProviderClient }

var _ sdk.EventParser = (*Client)(nil)

// NewClient speaks over conn, which stays the caller's. Limits on messages are
// the connection's.
func NewClient(conn grpc.ClientConnInterface) *Client {
	return &Client{rpc: providerv1.NewProviderClient(conn)}
}

// Describe asks who the provider is; names and versions are as it gave them.
func (c *Client) Describe(ctx context.Context) (sdk.Description, error) {
	reply, err := c.rpc.Describe(ctx, &providerv1.DescribeRequest{})
	if err != nil {
		return sdk.Description{}, lost(err)
	}
	if failure := failureFromWire(reply.GetResult()); failure != nil {
		return sdk.Description{}, failure
	}
	return descriptionFromWire(reply), nil
}

// Check asks whether settings are usable.
func (c *Client) Check(ctx context.Context, settings sdk.Settings) error {
	wire, err := settingsToWire(settings)
	if err != nil {
		return refused(err)
	}
	reply, err := c.rpc.Check(ctx, &providerv1.CheckRequest{Settings: wire})
	if err != nil {
		return lost(err)
	}
	return errorOf(failureFromWire(reply.GetResult()))
}

// Send hands a message over. What does not fit the wire is ContentRefused and
// was not sent.
func (c *Client) Send(ctx context.Context, request sdk.SendRequest) (sdk.Receipt, error) {
	wire, err := sendToWire(request)
	if err != nil {
		return sdk.Receipt{}, refused(err)
	}
	if proto.Size(wire) > MaxRequestBytes {
		return sdk.Receipt{}, refused(errTooLarge)
	}
	reply, err := c.rpc.Send(ctx, wire)
	if err != nil {
		return sdk.Receipt{}, lost(err)
	}
	if failure := failureFromWire(reply.GetResult()); failure != nil {
		return sdk.Receipt{}, failure
	}
	return receiptFromWire(reply), nil
}

// ParseEvent has the provider read a callback. A provider that is no EventParser
// is Misconfigured.
func (c *Client) ParseEvent(ctx context.Context, settings sdk.Settings, callback sdk.Callback) ([]sdk.ProviderEvent, error) {
	wire, err := callbackToWire(settings, callback)
	if err != nil {
		return nil, refused(err)
	}
	reply, err := c.rpc.ParseEvent(ctx, wire)
	if err != nil {
		return nil, lost(err)
	}
	if failure := failureFromWire(reply.GetResult()); failure != nil {
		return nil, failure
	}
	return eventsFromWire(reply.GetEvents()), nil
}

// Health asks whether the provider can take work.
func (c *Client) Health(ctx context.Context) error {
	reply, err := c.rpc.Health(ctx, &providerv1.HealthRequest{})
	if err != nil {
		return lost(err)
	}
	return errorOf(failureFromWire(reply.GetResult()))
}

// errorOf keeps a nil *sdk.Failure from becoming a non-nil error.
func errorOf(failure *sdk.Failure) error {
	if failure == nil {
		return nil
	}
	return failure
}

var (
	errTooLarge = errors.New("larger than 4 MiB")
	errNotUTF8  = errors.New("text is not valid UTF-8")
)

func refused(err error) *sdk.Failure {
	return &sdk.Failure{
		Kind:    sdk.ContentRefused,
		Public:  "the message cannot be handed to the provider",
		Private: err.Error(),
	}
}

// lost translates a gRPC error. The status text may quote anything, so only the
// code is kept.
func lost(err error) *sdk.Failure {
	code := status.Code(err)
	failure := &sdk.Failure{Kind: sdk.Unknown, Private: "gRPC " + code.String()}
	switch code {
	case codes.Unavailable:
		failure.Public = "the provider process ended during the call"
	case codes.DeadlineExceeded:
		failure.Public = "the provider did not answer in time"
	case codes.Canceled:
		failure.Public = "the call was cancelled"
	case codes.ResourceExhausted:
		failure.Public = "the provider's answer is too large"
	case codes.Unimplemented:
		failure.Kind = sdk.Misconfigured
		failure.Public = "the provider does not offer this call"
	default:
		failure.Public = "the provider gave no usable answer"
	}
	return failure
}
