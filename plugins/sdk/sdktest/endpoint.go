package sdktest

import (
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/passmend/passmend/plugins/sdk"
)

// endpoint is where events go: an HTTP server of the kit's on loopback.
type endpoint struct {
	server *http.Server
	base   string
	port   string
	done   chan struct{}

	mu    sync.Mutex
	hooks map[string]*hook // by path
}

// hook is one event's own path.
type hook struct {
	path   string
	answer http.HandlerFunc

	mu  sync.Mutex
	got []call
}

// call is one request that arrived.
type call struct {
	method, target string
	header         http.Header
	body           []byte
}

func listen() (*endpoint, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &endpoint{base: "http://" + listener.Addr().String(), done: make(chan struct{}), hooks: make(map[string]*hook)}
	_, e.port, _ = net.SplitHostPort(listener.Addr().String())
	e.server = &http.Server{Handler: e, ReadHeaderTimeout: callLimit}
	go func() {
		defer close(e.done)
		_ = e.server.Serve(listener) // ends with close
	}()
	return e, nil
}

func (e *endpoint) close() {
	_ = e.server.Close()
	<-e.done
}

// ServeHTTP keeps the request and answers as its hook says.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	h := e.hooks[r.URL.Path]
	e.mu.Unlock()
	if h == nil {
		http.NotFound(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // it was cut off: nobody is there to answer
	}
	h.mu.Lock()
	h.got = append(h.got, call{method: r.Method, target: r.URL.RequestURI(), header: r.Header, body: body})
	h.mu.Unlock()
	h.answer(w, r)
}

// hook makes a path of its own that answers so; nil: 204.
func (e *endpoint) hook(answer http.HandlerFunc) *hook {
	if answer == nil {
		answer = status(http.StatusNoContent)
	}
	h := &hook{path: "/hooks/" + rand.Text(), answer: answer}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hooks[h.path] = h
	return h
}

func (h *hook) calls() []call {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// hang answers when the caller has gone, which is noticed once the body is read.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// cutOff ends the connection in place of an answer.
func cutOff(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// event makes a request with an event for a hook of its own.
func (r *run) event(answer http.HandlerFunc) (sdk.SendRequest, *hook) {
	if r.endpoint == nil {
		e, err := listen()
		if err != nil {
			r.fatalf("the kit's endpoint: %v", err)
		}
		r.endpoint = e
	}
	h := r.endpoint.hook(answer)
	return sdk.SendRequest{
		IdempotencyKey: "event." + rand.Text(),
		Settings:       r.Settings,
		TraceParent:    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		Event: &sdk.Event{
			URL: r.endpoint.base + h.path + "?account=acme&x=%20y",
			Headers: []sdk.Header{
				{Name: "Content-Type", Value: "application/vnd.api+json"},
				{Name: "Webhook-Id", Value: "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"},
				{Name: "Webhook-Signature", Value: "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4= v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="},
				{Name: "User-Agent", Value: "Passmend-Kit/1.0"},
			},
			Body: []byte("{\"data\": {\"type\":\"webhook-events\",  \"note\":\"Zo\u00eb \\u00eb\"}}\n\x00\xff"),
		},
	}, h
}
