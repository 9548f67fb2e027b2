// Package serve carries an sdk.Provider across the process border: both ends of
// the gRPC contract in provider.proto, over go-plugin.
//
// Limits first: a request is at most 4 MiB and a reply at most 1 MiB; without
// mutual TLS nothing is served; a call whose answer is lost counts as unknown,
// never as failed. Starting, watching and ending processes is the host's;
// protobuf and gRPC types do not leave this package.
//
// A plugin's whole main is
//
//	func main() { serve.Provider(myprovider.New()) }
package serve

//go:generate make -C ../../.. generate

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/serve/internal/providerv1"
)

// The handshake. The cookie is not a secret: it tells a start by Passmend from a
// start by hand. A host speaks ProtocolVersion and the one before it; the highest
// that both ends speak is used. Version 2 added ParseEvent.
const (
	CookieKey               = "PASSMEND_PLUGIN"
	CookieValue             = "provider-3f6c1f5e"
	ProtocolVersion         = 2
	PreviousProtocolVersion = 1
	// Name is what the host dispenses.
	Name = "provider"
)

// Message sizes in bytes.
const (
	MaxRequestBytes = 4 << 20
	MaxReplyBytes   = 1 << 20
)

// clientCertificate is the variable in which go-plugin hands the host's
// certificate over (v1.8.0, AutoMTLS).
const clientCertificate = "PLUGIN_CLIENT_CERT"

// Provider is a plugin's whole main: it serves p until the host ends the process
// and does not return before. Run by hand it says what the binary is and exits
// with status 1; the same without the host's certificate, for secrets arrive
// over this connection.
func Provider(p sdk.Provider) {
	if os.Getenv(CookieKey) != CookieValue {
		explain(os.Stderr, p)
		os.Exit(1)
	}
	if os.Getenv(clientCertificate) == "" {
		fmt.Fprintln(os.Stderr, "the host gave no certificate: mutual TLS is required")
		os.Exit(1)
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  Handshake(),
		VersionedPlugins: Versions(p),
		GRPCServer:       newServer,
		// go-plugin narrates at trace level by default; only errors are news.
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr, JSONFormat: true}),
	})
}

// Handshake is go-plugin's handshake configuration, the same at both ends.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{
		ProtocolVersion:  ProtocolVersion,
		MagicCookieKey:   CookieKey,
		MagicCookieValue: CookieValue,
	}
}

// Versions is go-plugin's map for both ends, by version of the contract; the host
// passes nil and dispenses Name, which gives a *Client. One server answers both
// versions, for the second only adds to the first.
func Versions(p sdk.Provider) map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{
		PreviousProtocolVersion: {Name: &bridge{provider: p}},
		ProtocolVersion:         {Name: &bridge{provider: p}},
	}
}

// ClientConfig is what the host starts a plugin with: mutual TLS always, nothing
// of the host's environment, gRPC only, the limits on messages. run makes the
// process; dial connects to the socket that run accepted; output takes what the
// plugin writes to os.Stdout and os.Stderr once it serves, and must not block.
func ClientConfig(
	run func(cmd *exec.Cmd, dir string) (runner.Runner, error),
	dial func(context.Context) (net.Conn, error),
	stdout, stderr io.Writer,
) *plugin.ClientConfig {
	return &plugin.ClientConfig{
		HandshakeConfig:  Handshake(),
		VersionedPlugins: Versions(nil),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, dir string) (runner.Runner, error) {
			return run(cmd, dir)
		},
		SyncStdout: stdout,
		SyncStderr: stderr,
		// The host reports starts and ends itself, with reasons.
		Logger: hclog.NewNullLogger(),
		GRPCDialOptions: append(limits(), grpc.WithContextDialer(
			func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) })),
	}
}

// limits are the host's limits on the connection.
func limits() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(MaxReplyBytes),
			grpc.MaxCallSendMsgSize(MaxRequestBytes),
		),
		// A call that may have arrived is not to be sent again by the transport.
		grpc.WithDisableRetry(),
	}
}

func newServer(options []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(options,
		grpc.MaxRecvMsgSize(MaxRequestBytes),
		grpc.MaxSendMsgSize(MaxReplyBytes),
	)...)
}

type bridge struct {
	plugin.NetRPCUnsupportedPlugin
	provider sdk.Provider
}

func (b *bridge) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	providerv1.RegisterProviderServer(s, &server{provider: b.provider})
	return nil
}

func (*bridge) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return NewClient(conn), nil
}

func explain(w io.Writer, p sdk.Provider) {
	name := "This"
	if d, err := p.Describe(context.Background()); err == nil && d.Name != "" {
		name = "passmend-" + d.Name + " " + d.Version
	}
	fmt.Fprintln(w, name, "is a delivery provider of Passmend. It is not run by hand: put it into the")
	fmt.Fprintln(w, "plugin directory (PASSMEND_PLUGIN_DIR) and passmend starts it.")
}
