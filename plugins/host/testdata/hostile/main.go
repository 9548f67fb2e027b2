// Command hostile is a plugin that misbehaves in the way its name says: linked as
// passmend-MODE it does MODE.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/serve"
)

func main() {
	mode := strings.TrimPrefix(filepath.Base(os.Args[0]), "passmend-")
	before(mode)
	if mode == "giant" {
		giant(mode)
	}
	serve.Provider(&provider{mode: mode})
	if mode == "stubborn" {
		time.Sleep(time.Hour)
	}
}

// before is what goes wrong around the handshake.
func before(mode string) {
	handshake := func(version, network, address, certificate string) {
		fmt.Printf("1|%s|%s|%s|grpc|%s\n", version, network, address, certificate)
		time.Sleep(time.Hour)
	}
	switch mode {
	case "exit":
		os.Exit(3)
	case "exit-late":
		time.Sleep(50 * time.Millisecond)
		panic("no")
	case "silent":
		time.Sleep(time.Hour)
	case "garbage":
		fmt.Println("Hello, I am a plugin")
		time.Sleep(time.Hour)
	case "long-before":
		fmt.Println(strings.Repeat("x", 70<<10))
	case "endless":
		for {
			fmt.Print(strings.Repeat("x", 70<<10))
		}
	case "tcp":
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		go func() {
			if _, err := listener.Accept(); err == nil {
				fmt.Fprintln(os.Stderr, "somebody connected")
			}
		}()
		handshake("1", "tcp", listener.Addr().String(), certificate())
	case "outside":
		path := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "..", "outside")
		listen(path)
		handshake("1", "unix", path, certificate())
	case "file":
		path := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "file")
		_ = os.WriteFile(path, nil, 0o600)
		handshake("1", "unix", path, certificate())
	case "version":
		handshake("9", "unix", listen(inside()), certificate())
	case "no-certificate":
		handshake("1", "unix", listen(inside()), "")
	case "bad-certificate":
		handshake("1", "unix", listen(inside()), base64.RawStdEncoding.EncodeToString(make([]byte, 200)))
	case "mute":
		handshake("1", "unix", listen(inside()), certificate())
	case "no-tls":
		path := inside()
		listener, err := net.Listen("unix", path)
		if err != nil {
			panic(err)
		}
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Write([]byte("no TLS here\n"))
				_ = conn.Close()
			}
		}()
		handshake("1", "unix", path, certificate())
	case "fork":
		child := &exec.Cmd{Path: "/bin/sleep", Args: []string{os.Args[0] + "-child", "600"}, Stdout: os.Stdout, Stderr: os.Stderr}
		if err := child.Start(); err != nil {
			panic(err)
		}
	}
}

func inside() string { return filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "socket") }

// listen takes connections and says nothing.
func listen(path string) string {
	if _, err := net.Listen("unix", path); err != nil {
		panic(err)
	}
	return path
}

func certificate() string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return base64.RawStdEncoding.EncodeToString(der)
}

type provider struct{ mode string }

func (p *provider) Describe(context.Context) (sdk.Description, error) {
	d := sdk.Description{
		Name: p.mode, Version: "0.0.1", Contents: []sdk.Content{sdk.ContentMail}, SettingsSchema: []byte(`{"type":"object"}`),
	}
	switch p.mode {
	case "wrong-name":
		d.Name = "smtp"
	case "no-contents":
		d.Contents = nil
	case "describe-hangs":
		time.Sleep(time.Hour)
	case "describe-fails":
		return d, errors.New("not today")
	case "describe-exits":
		os.Exit(4)
	}
	return d, nil
}

func (p *provider) Health(context.Context) error {
	switch p.mode {
	case "ill":
		return &sdk.Failure{Kind: sdk.Temporary, Public: "ill"}
	case "health-hangs":
		time.Sleep(time.Hour)
	}
	return nil
}

func (p *provider) Check(context.Context, sdk.Settings) error {
	switch p.mode {
	case "panic":
		panic("check")
	case "hang":
		time.Sleep(time.Hour)
	}
	return nil
}

func (p *provider) Send(_ context.Context, request sdk.SendRequest) (sdk.Receipt, error) {
	switch p.mode {
	case "panic":
		panic("send")
	case "hang":
		time.Sleep(time.Hour)
	case "eat":
		for {
			eaten = append(eaten, make([]byte, 16<<20))
			for i := 0; i < 16<<20; i += 4096 {
				eaten[len(eaten)-1][i] = 1
			}
		}
	case "bomb":
		// Each would be two by the next line, and so on.
		for range 100 {
			if err := exec.Command("/bin/sleep", "600").Start(); err == nil {
				return sdk.Receipt{Outcome: sdk.Accepted, Answer: "it went off"}, nil
			}
		}
		return sdk.Receipt{}, &sdk.Failure{Kind: sdk.Temporary, Public: "no process can be made"}
	case "die":
		os.Exit(7)
	case "huge":
		return sdk.Receipt{}, &sdk.Failure{Kind: sdk.Temporary, Private: strings.Repeat("x", 2<<20)}
	case "quotes":
		return sdk.Receipt{}, &sdk.Failure{Kind: sdk.RecipientRefused, Public: everything(request) + "\r\n\x1b[2J", Private: everything(request)}
	case "environment":
		var names []string
		for _, variable := range os.Environ() {
			name, _, _ := strings.Cut(variable, "=")
			names = append(names, name)
		}
		return sdk.Receipt{MessageID: strings.Join(names, " ")}, nil
	case "actions":
		actions(request.Settings.Values)
	case "long-line":
		line := []byte(strings.Repeat("x", 70<<10) + "\n")
		for range 3 {
			_, _ = realOut.Write(line)
			_, _ = realErr.Write(line)
			_, _ = os.Stdout.Write(line)
			_, _ = os.Stderr.Write(line)
		}
	case "flood":
		for range 20_000 {
			fmt.Fprintln(realErr, "a line like any other")
		}
	case "prints":
		for _, stream := range []*os.File{realOut, realErr, os.Stdout, os.Stderr} {
			fmt.Fprintln(stream, everything(request))
			fmt.Fprintln(stream, base64.StdEncoding.EncodeToString([]byte(request.Mail.Facts.Link.Reveal())))
			fmt.Fprintln(stream, strings.Repeat("y", 16<<10-20)+request.Mail.Facts.Link.Reveal())
		}
	}
	return sdk.Receipt{Outcome: sdk.Accepted}, nil
}

func (p *provider) ParseEvent(context.Context, sdk.Settings, sdk.Callback) ([]sdk.ProviderEvent, error) {
	switch p.mode {
	case "panic":
		panic("parse")
	case "hang":
		time.Sleep(time.Hour)
	}
	return nil, nil
}

// eaten is memory that is never given back.
var eaten [][]byte

// realOut and realErr are the streams of the process; go-plugin exchanges
// os.Stdout and os.Stderr for pipes of its own.
var realOut, realErr = os.Stdout, os.Stderr

func everything(request sdk.SendRequest) string {
	return fmt.Sprintf("subject %s to %s link %s token %s password %s",
		request.Mail.Subject, request.Mail.To.Address, request.Mail.Facts.Link.Reveal(),
		filepath.Base(request.Mail.Facts.Link.Reveal()), request.Settings.Secrets["password"].Reveal())
}
