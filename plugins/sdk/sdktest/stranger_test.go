package sdktest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/serve"
)

// answerStrangers serves p over TLS to whoever connects: the host's certificate is
// not asked for.
func answerStrangers(p sdk.Provider) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	listener, err := net.Listen("unix", filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "open"))
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})))
	ours := serve.Versions(p)[serve.ProtocolVersion][serve.Name].(plugin.GRPCPlugin)
	if err := ours.GRPCServer(nil, server); err != nil {
		panic(err)
	}
	fmt.Printf("1|%d|unix|%s|grpc|%s\n", serve.ProtocolVersion, listener.Addr(), base64.RawStdEncoding.EncodeToString(der))
	_ = server.Serve(listener)
	os.Exit(1)
}
