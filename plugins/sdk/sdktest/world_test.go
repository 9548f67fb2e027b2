package sdktest_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/sdktest"
)

// world is the courier's: an inbox over HTTP, with a path for each way to fail.
type world struct {
	t      *testing.T
	server *httptest.Server

	mu    sync.Mutex
	inbox []sdktest.Sent
}

const rightKey = "the right key"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	w.server = httptest.NewServer(w)
	t.Cleanup(func() {
		w.server.CloseClientConnections()
		w.server.Close()
	})
	return w
}

func (w *world) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	raw, _ := io.ReadAll(request.Body)
	way, fails := strings.CutPrefix(request.URL.Path, "/fail/")
	switch {
	case request.URL.Path == "/hang":
		<-request.Context().Done()
	case request.Header.Get("X-Key") != rightKey:
		answer.WriteHeader(http.StatusForbidden)
		fmt.Fprint(answer, sdk.AuthenticationFailed)
	case way == string(sdk.Unknown):
		panic(http.ErrAbortHandler)
	case fails:
		answer.WriteHeader(http.StatusTeapot)
		fmt.Fprint(answer, way)
	case len(raw) > 0:
		to, _ := base64.StdEncoding.DecodeString(request.Header.Get("X-To"))
		sent, err := sdktest.ParseMail(raw, string(to))
		if err != nil {
			w.t.Errorf("the courier's mail: %v", err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.inbox = append(w.inbox, sent)
	}
}

func (w *world) sent() []sdktest.Sent {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]sdktest.Sent(nil), w.inbox...)
}

func (w *world) settings(path, key string) sdk.Settings {
	values, err := json.Marshal(map[string]string{"inbox": w.server.URL + path})
	if err != nil {
		w.t.Fatal(err)
	}
	return sdk.Settings{Values: values, Secrets: map[string]sdk.Secret{"key": sdk.NewSecret(key)}}
}

// target is a courier in its world.
func (w *world) target() sdktest.Target {
	callback := sdktest.Callback{
		Case:     "a bounce",
		Settings: sdk.Settings{Values: []byte("{}"), Secrets: map[string]sdk.Secret{"callback": sdk.NewSecret(callbackKey)}},
		Callback: sdk.Callback{
			Headers: []sdk.Header{{Name: "Content-Type", Value: "application/json"}, {Name: "X-Key", Value: callbackKey}},
			Body:    []byte(`{"events":[{"id":"e1","kind":"bounced","message":"m1"},{"id":"e2","kind":"delivered","message":"m2"}]}`),
		},
		Want: []sdk.ProviderEvent{{ID: "e1", Kind: sdk.Bounced, MessageID: "m1"}, {ID: "e2", Kind: sdk.Delivered, MessageID: "m2"}},
	}
	scripted := make(map[sdk.Outcome]sdk.Settings)
	for _, class := range []sdk.Outcome{
		sdk.RecipientRefused, sdk.ContentRefused, sdk.Misconfigured, sdk.AuthenticationFailed,
		sdk.RateLimited, sdk.QuotaExhausted, sdk.Temporary, sdk.Unknown,
	} {
		scripted[class] = w.settings("/fail/"+string(class), rightKey)
	}
	return sdktest.Target{
		Name:     "courier",
		Settings: w.settings("/", rightKey),
		Stalled:  w.settings("/hang", rightKey),
		Refused: []sdktest.Refused{
			{Case: "no inbox", Settings: sdk.Settings{Values: []byte(`{}`)}, Names: "inbox"},
			{Case: "wrong key", Settings: w.settings("/", "the wrong key"), Names: "key"},
		},
		Scripted:  scripted,
		Inbox:     w.sent,
		Callbacks: []sdktest.Callback{callback},
	}
}
