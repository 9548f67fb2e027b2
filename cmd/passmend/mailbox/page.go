package mailbox

import (
	"bytes"
	"embed"
	"encoding/json"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

//go:embed templates
var templates embed.FS

// Mails bring their own inline styles and inline images, the page brings a style
// of its own; nothing on it runs and nothing is fetched. A frame made with srcdoc
// is held to the same policy.
const (
	pagePolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	mailPolicy = "sandbox allow-popups allow-popups-to-escape-sandbox; " + pagePolicy
)

// Handler serves the mailbox under /dev/mailbox:
//
//	GET    /dev/mailbox                     the list, newest first; it reloads itself
//	GET    /dev/mailbox/{n}                 a message
//	GET    /dev/mailbox/messages            all messages as a JSON array, oldest first
//	GET    /dev/mailbox/messages/{n}        one message as JSON
//	GET    /dev/mailbox/messages/{n}/html   its HTML part
//	DELETE /dev/mailbox/messages            empties the mailbox
//
// Only requests to a loopback host name are answered, 421 otherwise: a foreign
// page must not reach the links by a name that it points here.
func (m *Mailbox) Handler() http.Handler {
	pages := &pages{mailbox: m, views: template.Must(template.ParseFS(templates, "templates/*.html"))}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /dev/mailbox", pages.list)
	mux.Handle("GET /dev/mailbox/{$}", http.RedirectHandler("/dev/mailbox", http.StatusPermanentRedirect))
	mux.HandleFunc("GET /dev/mailbox/{n}", pages.message)
	mux.HandleFunc("GET /dev/mailbox/messages", pages.listJSON)
	mux.HandleFunc("DELETE /dev/mailbox/messages", pages.empty)
	mux.HandleFunc("GET /dev/mailbox/messages/{n}", pages.messageJSON)
	mux.HandleFunc("GET /dev/mailbox/messages/{n}/html", pages.messageHTML)
	return guard(http.NewCrossOriginProtection().Handler(mux))
}

func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", pagePolicy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		if !loopbackHost(r.Host) {
			http.Error(w, "the development mailbox answers to localhost only", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func loopbackHost(hostport string) bool {
	host := hostport
	if split, _, err := net.SplitHostPort(hostport); err == nil {
		host = split
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

type pages struct {
	mailbox *Mailbox
	views   *template.Template
}

func (p *pages) list(w http.ResponseWriter, _ *http.Request) {
	messages := p.mailbox.Messages()
	slices.Reverse(messages)
	p.show(w, "list.html", struct {
		Addr     string
		Messages []Message
	}{p.mailbox.Addr(), messages})
}

func (p *pages) message(w http.ResponseWriter, r *http.Request) {
	message, ok := p.find(w, r)
	if !ok {
		return
	}
	p.show(w, "message.html", struct {
		Message
		Spans   []span
		Preview string
	}{message, spans(message.Text), message.preview()})
}

func (p *pages) listJSON(w http.ResponseWriter, _ *http.Request) {
	messages := p.mailbox.Messages()
	if messages == nil {
		messages = []Message{} // an empty array, never null
	}
	writeJSON(w, messages)
}

func (p *pages) messageJSON(w http.ResponseWriter, r *http.Request) {
	if message, ok := p.find(w, r); ok {
		writeJSON(w, message)
	}
}

func (p *pages) messageHTML(w http.ResponseWriter, r *http.Request) {
	message, ok := p.find(w, r)
	switch {
	case !ok:
	case message.HTML == "":
		http.Error(w, "this message has no HTML part", http.StatusNotFound)
	default:
		w.Header().Set("Content-Security-Policy", mailPolicy)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(message.preview())) //nolint:gosec // the mail is what is asked for; the policy above keeps it in a sandbox
	}
}

func (p *pages) empty(w http.ResponseWriter, _ *http.Request) {
	p.mailbox.Empty()
	w.WriteHeader(http.StatusNoContent)
}

// find answers 404 itself.
func (p *pages) find(w http.ResponseWriter, r *http.Request) (Message, bool) {
	number, err := strconv.Atoi(r.PathValue("n"))
	if err == nil {
		if message, ok := p.mailbox.Message(number); ok {
			return message, true
		}
	}
	http.Error(w, "no such message; it may have been dropped for newer ones", http.StatusNotFound)
	return Message{}, false
}

func (p *pages) show(w http.ResponseWriter, view string, data any) {
	var page bytes.Buffer
	if err := p.views.ExecuteTemplate(&page, view, data); err != nil {
		p.mailbox.config.Logger.Error("a mailbox page cannot be shown", "view", view)
		http.Error(w, "this page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(page.Bytes())
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // the client went away
}
