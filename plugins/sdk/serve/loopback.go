package serve

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/serve/internal/providerv1"
)

// Loopback puts p behind a real gRPC connection inside this process, for the
// conformance kit and for tests: what comes back has been through the wire.
// There is no process and no TLS. The caller calls stop, which ends calls in
// flight and waits for the server.
func Loopback(p sdk.Provider) (over sdk.Provider, stop func(), err error) {
	listener := bufconn.Listen(64 << 10)
	s := newServer(nil)
	providerv1.RegisterProviderServer(s, &server{provider: p})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(listener) // ends with Stop; there is nobody else to close it
	}()
	conn, err := grpc.NewClient("passthrough:///loopback", append(limits(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return listener.DialContext(ctx)
		}))...)
	if err != nil {
		s.Stop()
		<-done
		return nil, nil, fmt.Errorf("loopback connection: %w", err)
	}
	return NewClient(conn), func() {
		_ = conn.Close()
		s.Stop()
		<-done
	}, nil
}
