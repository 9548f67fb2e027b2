package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core/httpapi"
)

// Row 23: the bounds of a connection, as they are configured.
func TestServerBounds(t *testing.T) {
	t.Parallel()
	s := httpapi.NewHTTPServer(http.NotFoundHandler(), "127.0.0.1:0")
	got := []any{s.Addr, s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout, s.IdleTimeout, s.MaxHeaderBytes}
	want := []any{"127.0.0.1:0", 5 * time.Second, 10 * time.Second, 30 * time.Second, 60 * time.Second, 16 << 10}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// T14 in small: each greedy or slow client is cut, with the times divided by
// twenty, and an honest one is served meanwhile.
func TestT14GreedyClientsAreCut(t *testing.T) {
	t.Parallel()
	e := setup(t)
	server := httpapi.NewHTTPServer(e.handler, "")
	server.ReadHeaderTimeout /= 20
	server.ReadTimeout /= 20
	server.IdleTimeout /= 20
	listener := got(net.Listen("tcp", "127.0.0.1:0"))(t)
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	address := listener.Addr().String()

	head := "POST /v1/accounts/acme/passwords HTTP/1.1\r\nHost: " + address + "\r\nContent-Type: application/json\r\n"
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	zip.Write(make([]byte, 10<<20))
	zip.Close()
	for _, c := range []struct{ name, send, want string }{
		{"half a header", "POST /v1/acc", "400"},
		{"headers without an end", head, ""},
		{"a body that does not come", head + "Content-Length: 100\r\n\r\n{", "503"},
		{"a chunked body that does not end", head + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", "503"},
		{"idle after an answer", "GET /v1/ping HTTP/1.1\r\nHost: " + address + "\r\n\r\n", "200"},
		{"40 KiB of headers", head + "X-Large: " + strings.Repeat("x", 40<<10) + "\r\n\r\n", "431"},
		{"a body of 1 MiB", head + "Content-Length: 1048576\r\n\r\n" + strings.Repeat(" ", 64<<10), "413"},
		{"a body of 20 KiB in chunks", head + "Transfer-Encoding: chunked\r\n\r\n5000\r\n" + strings.Repeat(" ", 0x5000) + "\r\n0\r\n\r\n", "413"},
		{"a deep body", head + "Connection: close\r\nContent-Length: 10000\r\n\r\n" + strings.Repeat("[", 10000), "400"},
		{"a gzip bomb", head + fmt.Sprintf("Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", bomb.Len()) + bomb.String(), "400"},
		{"two lengths", head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "400"},
		{"positive control: an honest one", head + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(good), good), "202"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := got(net.Dial("tcp", address))(t)
			defer conn.Close()
			must(t, conn.SetDeadline(time.Now().Add(8*time.Second)))
			go io.WriteString(conn, c.send)
			answer, err := io.ReadAll(conn) // ends when the server cuts
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("still open, got %q", answer)
			}
			status := ""
			if fields := strings.Fields(string(answer)); len(fields) > 1 {
				status = fields[1]
			}
			if status != c.want && !(c.name == "a gzip bomb" && status == "413") {
				t.Errorf("%q, want %s", answer, c.want)
			}
		})
	}
}
