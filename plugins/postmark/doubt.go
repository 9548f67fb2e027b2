package postmark

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

const (
	// doubtAge is how long a delivery in doubt is remembered: no link lives longer.
	doubtAge = 24 * time.Hour
	// maxDoubts bounds them; the oldest goes first.
	maxDoubts = 4096
)

// doubts remembers by name which deliveries Postmark may have without having said
// so. Another configured use that gets one of them asks once too often, no more.
type doubts struct {
	mu    sync.Mutex
	since map[string]time.Time
}

func newDoubts() *doubts { return &doubts{since: make(map[string]time.Time)} }

func (d *doubts) has(delivery string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	since, ok := d.since[delivery]
	return ok && time.Since(since) < doubtAge
}

// add leaves out a message without a name: Postmark could not be asked for it.
func (d *doubts) add(delivery string) {
	if delivery == "" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.since[delivery] = time.Now()
	if len(d.since) > maxDoubts {
		d.forgetOldest()
	}
}

func (d *doubts) settle(delivery string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.since, delivery)
}

func (d *doubts) forgetOldest() {
	var oldest string
	var since time.Time
	for delivery, at := range d.since {
		if since.IsZero() || at.Before(since) {
			oldest, since = delivery, at
		}
	}
	delete(d.since, oldest)
}

// outbound is what matters here of GET /messages/outbound.
type outbound struct {
	TotalCount *int
	Messages   []struct {
		MessageID string
		Metadata  map[string]string
	}
}

// lookUp asks whether Postmark has the message; decided is false when it says no,
// and the message may be sent. A result that carries a failure means that nobody
// knows still: sending again would be blind. A message counts only when it carries the delivery's name, for
// a search that did not know the filter would give any message.
func (p *Provider) lookUp(ctx context.Context, s *settings, m *message) (r result, decided bool) {
	query := url.Values{
		"count": {"1"}, "offset": {"0"}, "messagestream": {s.MessageStream}, "metadata_" + metadataName: {m.delivery},
	}
	e := p.client.do(ctx, s, http.MethodGet, "/messages/outbound?"+query.Encode(), nil)
	var answer outbound
	if e.status != http.StatusOK || e.err != nil || json.Unmarshal(e.body, &answer) != nil || answer.TotalCount == nil {
		return result{doubtful: true, trace: e.trace, failure: stillUnknown(e)}, true
	}
	for _, message := range answer.Messages {
		if message.Metadata[metadataName] == m.delivery {
			return result{trace: e.trace, receipt: sdk.Receipt{
				Outcome: sdk.Accepted, MessageID: messageID(message.MessageID), Code: "200",
			}}, true
		}
	}
	if len(answer.Messages) > 0 {
		return result{doubtful: true, trace: e.trace, failure: stillUnknown(e)}, true
	}
	return result{}, false
}

// stillUnknown keeps what the look-up's end says, but for its kind: that the
// look-up surely did nothing is not true of the message.
func stillUnknown(e *exchange) *sdk.Failure {
	failure := &sdk.Failure{Private: "look-up before a repeat: HTTP 200 without the documented form"}
	if e.status != http.StatusOK {
		failure = e.failure()
		failure.Private = "look-up before a repeat: " + failure.Private
	}
	if failure.Kind != sdk.AuthenticationFailed && failure.Kind != sdk.RateLimited {
		failure.Kind = sdk.Unknown
		failure.Public = "whether Postmark has the message of an earlier attempt cannot be found out"
	}
	return failure
}
