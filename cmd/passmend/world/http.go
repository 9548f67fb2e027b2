package world

import (
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/sdktest"
)

// maxRequest bounds a request's body, in bytes.
const maxRequest = 8 << 20

// httpServer is a mail service with an API in JSON, as its vendor describes it; way
// is what becomes of every request: an outcome, stalledServer, or "" for taken.
type httpServer struct {
	spec   HTTP
	way    string
	secret string
	server *http.Server
	base   string
	done   chan struct{}

	mu    sync.Mutex
	taken []sdktest.Sent
}

func startHTTP(spec HTTP, way string, secrets map[string]string) (*httpServer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &httpServer{spec: spec, way: way, secret: secrets[spec.Secret], base: "http://" + listener.Addr().String(), done: make(chan struct{})}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(s.done)
		_ = s.server.Serve(listener) // ends with close
	}()
	return s, nil
}

func (s *httpServer) close() {
	_ = s.server.Close()
	<-s.done
}

func (s *httpServer) sent() []sdktest.Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]sdktest.Sent(nil), s.taken...)
}

// ServeHTTP takes a mail, or several in an array, or fails.
func (s *httpServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err != nil {
		return // it was cut off: nobody is there to answer
	}
	switch {
	case s.way == stalledServer:
		<-r.Context().Done()
	case s.way != "":
		respond(w, s.spec.Outcomes[sdk.Outcome(s.way)])
	case s.spec.Header != "" && !strings.Contains(r.Header.Get(s.spec.Header), s.secret):
		respond(w, s.spec.Outcomes[sdk.AuthenticationFailed])
	default:
		respond(w, s.take(body))
	}
}

// take keeps the mails of a request and gives the answer, once for each in a batch.
func (s *httpServer) take(body []byte) Answer {
	answer := s.spec.Accepted
	var batch []json.RawMessage
	if json.Unmarshal(body, &batch) != nil {
		s.keep(body)
		return answer
	}
	all := make([]any, len(batch))
	for i := range batch {
		s.keep(batch[i])
		all[i] = answer.Body
	}
	answer.Body = all
	return answer
}

func (s *httpServer) keep(mail []byte) {
	sent, isMail := s.read(mail)
	if !isMail {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = append(s.taken, sent)
}

func respond(w http.ResponseWriter, a Answer) {
	if a.Status == 0 {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	for name, value := range a.Headers {
		w.Header().Set(name, value)
	}
	w.WriteHeader(a.Status)
	if a.Body != nil {
		_ = json.NewEncoder(w).Encode(a.Body) // a client that has gone does not need it
	}
}

// messageID is the form of the kit's Message-IDs.
var messageID = regexp.MustCompile(`[A-Za-z0-9-]+\.[A-Z2-7]+@acme\.example`)

// read finds a mail in a request; what has no recipient is none, as a check of
// credentials.
func (s *httpServer) read(body []byte) (sdktest.Sent, bool) {
	var document any
	if err := json.Unmarshal(body, &document); err != nil {
		return sdktest.Sent{}, false
	}
	sent := sdktest.Sent{
		MessageID: find(document, messageID),
		To:        addrSpec(at(document, s.spec.Mail["to"])),
		Text:      at(document, s.spec.Mail["text"]),
		HTML:      at(document, s.spec.Mail["html"]),
	}
	return sent, sent.To != ""
}

// find gives the first match in any text of a document.
func find(document any, form *regexp.Regexp) string {
	switch v := document.(type) {
	case string:
		return form.FindString(v)
	case []any:
		for _, element := range v {
			if found := find(element, form); found != "" {
				return found
			}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if found := find(v[name], form); found != "" {
				return found
			}
		}
	}
	return ""
}

// at gives the text at a JSON pointer, or none.
func at(document any, pointer string) string {
	for _, step := range strings.Split(pointer, "/")[1:] {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		switch v := document.(type) {
		case map[string]any:
			document = v[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				return ""
			}
			document = v[i]
		default:
			return ""
		}
	}
	text, _ := document.(string)
	return text
}

// addrSpec takes the address out of "Name <address>".
func addrSpec(text string) string {
	if i := strings.LastIndexByte(text, '<'); i >= 0 && strings.HasSuffix(text, ">") {
		return text[i+1 : len(text)-1]
	}
	return text
}
