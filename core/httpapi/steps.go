package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// maxBody bounds the body of every request to the API (contract.md, R15).
const maxBody = 16 << 10

// whileActive refuses what an account that is paused or canceled cannot do
// (contract.md, B).
func whileActive(c *call) error {
	if c.account.Status != tenants.StatusActive {
		return errInactive
	}
	return nil
}

// limitIP is the limit per client on asking for passwords. It comes before
// anything is parsed.
func (a *api) limitIP(c *call) error {
	return a.refusedBy(a.gate.asking(c.Request))
}

// limitAccount is the limit per account on asking for passwords. A call that asks
// for nobody is not counted: rubbish uses up nobody's share.
func (a *api) limitAccount(c *call) error {
	if _, ok := wantedAddress(c); !ok {
		return nil
	}
	return a.refusedBy(a.gate.accepting(c.account.ID))
}

// limitGuesses refuses a client that has tried too many links that nobody has.
func (a *api) limitGuesses(c *call) error {
	return a.refusedBy(a.gate.opening(c.Request))
}

// refusedBy is the answer to a limit that is used up; nil for none.
func (a *api) refusedBy(over *excess) error {
	if over == nil {
		return nil
	}
	return throttled(draftHeaders(over.name, over.rate, over.wait, map[string]string{
		"X-RateLimit-Window":    over.name,
		"X-RateLimit-Limit":     strconv.Itoa(over.rate.Count),
		"X-RateLimit-Remaining": "0",
		"X-RateLimit-Reset":     strconv.FormatInt(a.c.Now().Add(over.wait).Unix()+1, 10),
	}), over.wait, over.reason)
}

// readBody reads at most maxBody bytes and parses them as JSON, unless their type
// says that they are something else. Nothing is ever decompressed.
func (a *api) readBody(c *call) error { return c.readUpTo(maxBody) }

// readUserBody is readBody for what may hold metadata.
func (a *api) readUserBody(c *call) error { return c.readUpTo(maxUserBody) }

func (c *call) readUpTo(most int) error {
	raw, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, int64(most)))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &told{payloadTooLarge(most)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("read body: %w", err)
	case err != nil:
		return fmt.Errorf("read body: %w: %w", errJSON, err)
	}
	if name, _ := bodyType(c.Request); !slices.Contains(parsed, name) {
		return nil
	}
	c.raw = raw
	c.body, err = parseJSON(raw)
	return err
}

// withinWindow counts the call in the windows of contract.md, G: per account, client
// and whom it is about. A call that is about nobody is not counted.
func (a *api) withinWindow(windows []*window, scope string, about func(*call) (string, bool)) step {
	return func(c *call) error {
		whom, ok := about(c)
		if !ok || len(windows) == 0 {
			return nil
		}
		key := a.gate.limits.key(windows[0].name, string(c.account.ID), clientPrefix(a.c.clientIP(c.Request)), whom)
		over := a.gate.limits.take(windows, key)
		if over == nil {
			return nil
		}
		a.observer.RateLimited(scope, "reject")
		wait, rate := over.reset.Sub(over.now), core.Rate{Count: over.window.limit, Per: time.Duration(over.window.seconds) * time.Second}
		return throttled(draftHeaders(over.window.name, rate, wait, map[string]string{
			"X-RateLimit-Window":    over.window.name,
			"X-RateLimit-Count":     strconv.Itoa(over.count),
			"X-RateLimit-Limit":     strconv.Itoa(over.window.limit),
			"X-RateLimit-Remaining": "0",
			"X-RateLimit-Reset":     strconv.FormatInt(over.reset.Unix(), 10),
		}), wait, "rate_ip")
	}
}

// draftHeaders adds what draft-ietf-httpapi-ratelimit-headers-10 has for a limit that
// is used up: its policy, and nothing left for so many seconds.
func draftHeaders(name string, rate core.Rate, wait time.Duration, headers map[string]string) map[string]string {
	headers["RateLimit-Policy"] = fmt.Sprintf("%q;q=%d;w=%d", name, rate.Count, int64(rate.Per/time.Second))
	headers["RateLimit"] = fmt.Sprintf("%q;r=0;t=%s", name, wholeSeconds(wait))
	return headers
}
