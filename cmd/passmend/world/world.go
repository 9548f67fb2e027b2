package world

import (
	"errors"
	"maps"
	"net/textproto"
	"os"
	"slices"
	"strings"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/sdktest"
)

// World is the running servers of a Spec.
type World struct {
	spec Spec
	smtp map[string]*smtpServer // by outcome; "" takes everything
	http map[string]*httpServer // likewise
	dir  string                 // of the maildir
}

// stalledServer is the name of the server that never answers, beside the outcomes.
const stalledServer = "stalled"

// Start starts what spec names. The caller calls Close.
func Start(spec Spec) (*World, error) {
	if spec.Settings == nil {
		spec.Settings = map[string]any{}
	}
	w := &World{spec: spec, smtp: make(map[string]*smtpServer), http: make(map[string]*httpServer)}
	if err := w.start(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *World) start() (err error) {
	if uses(w.spec.Settings, portMark) {
		for name, script := range smtpScripts {
			if w.smtp[name], err = startSMTP(script, w.spec.Secrets != nil); err != nil {
				return err
			}
		}
	}
	if uses(w.spec.Settings, urlMark) {
		ways := []string{"", stalledServer}
		for outcome := range w.spec.HTTP.Outcomes {
			ways = append(ways, string(outcome))
		}
		for _, way := range ways {
			if w.http[way], err = startHTTP(*w.spec.HTTP, way, w.spec.Secrets); err != nil {
				return err
			}
		}
	}
	if uses(w.spec.Settings, maildirMark) {
		w.dir, err = os.MkdirTemp("", "passmend-maildir-")
	}
	return err
}

// Close ends every server and removes the maildir.
func (w *World) Close() error {
	for _, server := range w.smtp {
		if server != nil {
			server.close()
		}
	}
	for _, server := range w.http {
		if server != nil {
			server.close()
		}
	}
	if w.dir == "" {
		return nil
	}
	return os.RemoveAll(w.dir)
}

// Target is the executable of a provider in this world.
func (w *World) Target(name, path string) sdktest.Target {
	target := sdktest.Target{
		Path: path, Name: name, Settings: w.spec.settings(w.place("")),
		Scripted: make(map[sdk.Outcome]sdk.Settings), From: w.spec.From, To: w.spec.To,
	}
	for _, refused := range w.spec.Refused {
		target.Refused = append(target.Refused, sdktest.Refused{
			Case: refused.Case, Settings: w.spec.changed(refused, w.place("")), Names: refused.Names,
		})
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(w.smtp)), slices.Collect(maps.Keys(w.http))) {
		settings := w.spec.settings(w.place(name))
		switch name {
		case "":
		case stalledServer:
			target.Stalled = settings
		default:
			target.Scripted[sdk.Outcome(name)] = settings
		}
	}
	for _, callback := range w.spec.Callbacks {
		target.Callbacks = append(target.Callbacks, w.callback(callback))
	}
	if len(w.smtp) > 0 || len(w.http) > 0 || w.dir != "" {
		target.Inbox = w.inbox
	}
	return target
}

// place leads to the server of that name.
func (w *World) place(name string) place {
	p := place{maildirMark: w.dir}
	if server := w.smtp[name]; server != nil {
		p[hostMark], p[portMark] = "127.0.0.1", server.port()
	}
	if server := w.http[name]; server != nil {
		p[urlMark] = server.base
	}
	return p
}

func (w *World) callback(c Callback) sdktest.Callback {
	callback := sdktest.Callback{
		Case: c.Case, Settings: settingsOf(c.Settings, c.Secrets), Callback: sdk.Callback{Body: []byte(c.Body)},
	}
	for name, value := range c.Headers {
		callback.Callback.Headers = append(callback.Callback.Headers,
			sdk.Header{Name: textproto.CanonicalMIMEHeaderKey(name), Value: value})
	}
	for _, e := range c.Events {
		callback.Want = append(callback.Want, sdk.ProviderEvent{ID: e.ID, Kind: e.Kind, MessageID: e.MessageID, Recipient: e.Recipient})
	}
	return callback
}

// inbox is what every server took, those that make mail fail too.
func (w *World) inbox() []sdktest.Sent {
	var all []sdktest.Sent
	if server := w.smtp[""]; server != nil {
		all = append(all, server.sent()...)
	}
	if server := w.http[""]; server != nil {
		all = append(all, server.sent()...)
	}
	if w.dir != "" {
		all = append(all, readMaildir(w.dir)...)
	}
	return all
}

// parsed reads a mail for the inbox; one that cannot be read is there all the same,
// for something arrived.
func parsed(raw []byte, to string) sdktest.Sent {
	sent, err := sdktest.ParseMail(raw, to)
	if err != nil {
		return sdktest.Sent{To: to, MessageID: "unreadable: " + strings.TrimSpace(err.Error())}
	}
	return sent
}
