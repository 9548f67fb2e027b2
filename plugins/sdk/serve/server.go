package serve

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/serve/internal/providerv1"
)

// server is the plugin's end. Whatever the provider does, a call ends with a
// reply: a panic is an unknown outcome and not the end of the process, so that
// the other calls in flight live on.
type server struct {
	providerv1.UnimplementedProviderServer
	provider sdk.Provider
}

func (s *server) Describe(ctx context.Context, _ *providerv1.DescribeRequest) (*providerv1.DescribeReply, error) {
	var description sdk.Description
	err := guard("Describe", func() (err error) {
		description, err = s.provider.Describe(ctx)
		return err
	})
	if err != nil {
		return &providerv1.DescribeReply{Result: failed(err)}, nil
	}
	_, description.ParsesEvents = s.provider.(sdk.EventParser)
	reply := descriptionToWire(description)
	reply.Result = accepted()
	return reply, nil
}

func (s *server) Check(ctx context.Context, request *providerv1.CheckRequest) (*providerv1.CheckReply, error) {
	err := guard("Check", func() error {
		return s.provider.Check(ctx, settingsFromWire(request.GetSettings()))
	})
	return &providerv1.CheckReply{Result: resultOf(err)}, nil
}

func (s *server) Send(ctx context.Context, request *providerv1.SendRequest) (*providerv1.SendReply, error) {
	var receipt sdk.Receipt
	err := guard("Send", func() (err error) {
		receipt, err = s.provider.Send(ctx, sendFromWire(request))
		return err
	})
	if err == nil {
		return receiptToWire(receipt), nil
	}
	return &providerv1.SendReply{Result: failed(err)}, nil
}

func (s *server) ParseEvent(ctx context.Context, request *providerv1.ParseEventRequest) (*providerv1.ParseEventReply, error) {
	parser, ok := s.provider.(sdk.EventParser)
	if !ok {
		return s.UnimplementedProviderServer.ParseEvent(ctx, request)
	}
	var events []sdk.ProviderEvent
	err := guard("ParseEvent", func() (err error) {
		events, err = parser.ParseEvent(ctx, settingsFromWire(request.GetSettings()), callbackFromWire(request))
		return err
	})
	if err != nil {
		return &providerv1.ParseEventReply{Result: failed(err)}, nil
	}
	return &providerv1.ParseEventReply{Result: accepted(), Events: eventsToWire(events)}, nil
}

func (s *server) Health(ctx context.Context, _ *providerv1.HealthRequest) (*providerv1.HealthReply, error) {
	err := guard("Health", func() error { return s.provider.Health(ctx) })
	return &providerv1.HealthReply{Result: resultOf(err)}, nil
}

// guard turns a panic into an Unknown failure. The panic's value may quote the
// message, so it goes to standard error, which the host redacts by value, and
// not into the reply.
func guard(method string, call func() error) (err error) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		fmt.Fprintf(os.Stderr, "panic in %s: %v\n%s", method, value, debug.Stack())
		err = &sdk.Failure{
			Kind:    sdk.Unknown,
			Public:  "the provider broke down during the call",
			Private: fmt.Sprintf("panic in %s (%T)", method, value),
		}
	}()
	return call()
}

func resultOf(err error) *providerv1.Result {
	if err == nil {
		return accepted()
	}
	return failed(err)
}
