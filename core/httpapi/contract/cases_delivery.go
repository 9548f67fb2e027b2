package contract

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// told is the body of a webhook.
type told struct {
	Data    resource
	payload struct {
		Data resource
		Meta map[string]string
	}
}

func read(d Delivery) (t told) {
	if json.Unmarshal(d.Body, &t) == nil {
		_ = json.Unmarshal([]byte(t.Data.text("payload")), &t.payload)
	}
	return t
}

// listens makes an endpoint at the receiver for some events, and takes it away again.
func (r *run) listens(events ...string) resource { return r.listensBy("ed25519", events...) }

// listensBy gives the endpoint a URL of its own: other endpoints of the account may be
// told of the same.
func (r *run) listensBy(algorithm string, events ...string) resource {
	names, _ := json.Marshal(events)
	separator := "?"
	if strings.Contains(r.Receiver.URL(), "?") {
		separator = "&"
	}
	r.hears = r.Receiver.URL() + separator + "case=" + r.name()
	return r.endpoint(`{"url":` + quote(r.hears) + `,"signatureAlgorithm":` + quote(algorithm) + `,"subscriptions":` + string(names) + `}`)
}

// delivered waits for an event about somebody or something.
func (r *run) delivered(event, id string) (Delivery, told) {
	ctx, cancel := context.WithTimeout(r.ctx, 30*time.Second)
	defer cancel()
	found, err := r.Receiver.Next(ctx, func(d Delivery) bool {
		t := read(d)
		return t.Data.text("endpoint") == r.hears && t.Data.text("event") == event && (id == "" || t.payload.Data.ID == id)
	})
	if err != nil {
		r.fatalf("no webhook for %s: %v", event, err)
	}
	return found, read(found)
}

// created has the receiver told of a new user.
func (r *run) created(algorithm string) (Delivery, told) {
	r.listensBy(algorithm, "user.created")
	return r.delivered("user.created", r.user().id)
}

var userAgent = regexp.MustCompile(`^Passmend/\S+`)

// deliveryCases are E: webhooks as they come.
func deliveryCases() []Case {
	need := admin | receiver
	cases := []Case{
		{"E/content-type", "", need, func(r *run) {
			d, _ := r.created("ed25519")
			r.check(d.Header.Get("Content-Type") == "application/json", "Content-Type %q", d.Header.Get("Content-Type"))
		}},
		{"E/user-agent", "R19", need, func(r *run) {
			d, _ := r.created("ed25519")
			r.check(userAgent.MatchString(d.Header.Get("User-Agent")), "User-Agent %q", d.Header.Get("User-Agent"))
		}},
		{"E/digest", "", need, func(r *run) {
			d, _ := r.created("ed25519")
			sum := sha256.Sum256(d.Body)
			want := "sha-256=" + base64.StdEncoding.EncodeToString(sum[:])
			r.check(d.Header.Get("Digest") == want && d.Header.Get("Keygen-Digest") == want, "Digest %q, Keygen-Digest %q, want %q", d.Header.Get("Digest"), d.Header.Get("Keygen-Digest"), want)
		}},
		{"E/date", "", need, func(r *run) {
			d, _ := r.created("ed25519")
			_, err := http.ParseTime(d.Header.Get("Date"))
			r.check(err == nil && d.Header.Get("Date") == d.Header.Get("Keygen-Date"), "Date %q, Keygen-Date %q", d.Header.Get("Date"), d.Header.Get("Keygen-Date"))
		}},
		{"E/version", "", need, func(r *run) {
			d, t := r.created("ed25519")
			r.check(d.Header.Get("Keygen-Version") == t.Data.text("apiVersion") && t.Data.text("apiVersion") != "", "Keygen-Version %q, apiVersion %q", d.Header.Get("Keygen-Version"), t.Data.text("apiVersion"))
		}},
		{"E/standard-webhooks-headers", "R13", need, func(r *run) {
			d, _ := r.created("ed25519")
			for _, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
				r.check(d.Header.Get(name) != "", "no %s", name)
			}
		}},
		{"E/body-is-the-event", "", need, func(r *run) {
			d, t := r.created("ed25519")
			r.check(t.Data.Type == "webhook-events" && t.Data.text("status") == "DELIVERING" && t.Data.text("endpoint") == r.hears, "%s", d.Body)
			r.check(idempotencyToken.MatchString(t.Data.Meta["idempotencyToken"]), "meta.idempotencyToken %q", t.Data.Meta["idempotencyToken"])
			shown := r.one(r.expect(http.StatusOK, ask{method: http.MethodGet, path: eventsPath + "/" + t.Data.ID, as: r.AdminToken}))
			r.check(shown.text("payload") == t.Data.text("payload"), "the payload is another than the event's")
		}},
		{"E/event-becomes-delivered", "", need, func(r *run) {
			_, t := r.created("ed25519")
			r.eventually("the event is DELIVERED", func() bool {
				shown := r.one(r.expect(http.StatusOK, ask{method: http.MethodGet, path: eventsPath + "/" + t.Data.ID, as: r.AdminToken}))
				return shown.text("status") == "DELIVERED" && strings.HasPrefix(string(shown.Attributes["lastResponseCode"]), "2")
			})
		}},
		{"E/only-what-is-subscribed-to", "", need, func(r *run) {
			endpoint := r.listens("user.created", "user.banned")
			p := r.banned()
			r.patched(p, `{"firstName":"Nobody is told"}`)
			r.delivered("user.created", p.id)
			r.delivered("user.banned", p.id)
			listed := r.many(r.expect(http.StatusOK, ask{method: http.MethodGet, path: eventsPath + "?limit=100&events[]=user.updated", as: r.AdminToken}))
			r.check(!slices.ContainsFunc(listed.Data, func(d resource) bool {
				return d.text("endpoint") == endpoint.text("url") && strings.Contains(d.text("payload"), p.id)
			}), "it was told of user.updated")
		}},
		{"E/star-is-everything", "", need, func(r *run) {
			r.listens("*")
			p := r.user()
			r.delivered("user.created", p.id)
			r.patched(p, `{"firstName":"X"}`)
			r.delivered("user.updated", p.id)
		}},
		{"E/retry-is-sent", "", need, func(r *run) {
			_, t := r.created("ed25519")
			again := r.one(r.expect(http.StatusCreated, ask{path: eventsPath + "/" + t.Data.ID + "/actions/retry", as: r.AdminToken}))
			_, second := r.delivered("user.created", t.payload.Data.ID)
			r.check(second.Data.ID == again.ID && second.Data.Meta["idempotencyToken"] == t.Data.Meta["idempotencyToken"], "event %s, idempotencyToken %q", second.Data.ID, second.Data.Meta["idempotencyToken"])
		}},
		{"E/signature-proves-this-body-only", "", need, func(r *run) {
			d, _ := r.created("ed25519")
			other := d.Header.Clone()
			other.Set("Digest", "sha-256="+strings.Repeat("A", 43)+"=")
			r.check(r.verifies("ed25519", signedRequest{"POST", d.Path, d.Host}, other) != "", "the signature also proves another body")
		}},
	}
	for _, algorithm := range algorithms {
		cases = append(cases, Case{"E/signature-" + algorithm, "R14", need, func(r *run) {
			d, _ := r.created(algorithm)
			if wrong := r.verifies(algorithm, signedRequest{"POST", d.Path, d.Host}, d.Header); wrong != "" {
				r.errorf("%s", wrong)
			}
		}})
	}
	return cases
}
