package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// giant serves without the SDK, which would not send what this does: to Send it
// answers with a reply of 2 GiB.
func giant(mode string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(err)
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM([]byte(os.Getenv("PLUGIN_CLIENT_CERT")))
	listener, err := net.Listen("unix", inside())
	check(err)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(mode, w, r) }),
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
			Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		},
	}
	fmt.Printf("1|2|unix|%s|grpc|%s\n", inside(), base64.RawStdEncoding.EncodeToString(der))
	check(server.ServeTLS(listener, "", ""))
}

func answer(mode string, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	defer w.Header().Set("Grpc-Status", "0")
	switch {
	case strings.HasSuffix(r.URL.Path, "/Describe"):
		_, _ = io.Copy(io.Discard, r.Body)
		schema := `{"type":"object"}`
		reply := "\x0a\x02\x08\x01" + field(2, mode) + field(3, "0.0.1") + field(4, "mail") + field(5, schema)
		_, _ = io.WriteString(w, string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(reply))))+reply)
	case strings.HasSuffix(r.URL.Path, "/Health"), strings.HasSuffix(r.URL.Path, "/Check"):
		_, _ = io.WriteString(w, "\x00\x00\x00\x00\x04\x0a\x02\x08\x01")
	case strings.HasSuffix(r.URL.Path, "/Send"):
		_, _ = w.Write(binary.BigEndian.AppendUint32([]byte{0}, 2<<30-1))
		for part := make([]byte, 64<<10); ; {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	case strings.HasSuffix(r.URL.Path, "/Shutdown"):
		os.Exit(0)
	default: // go-plugin's own streams stay open
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		<-r.Context().Done()
	}
}

// field is a field of protobuf: its number and a text.
func field(number byte, text string) string {
	return string([]byte{number<<3 | 2, byte(len(text))}) + text
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
