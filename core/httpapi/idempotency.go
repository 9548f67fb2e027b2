package httpapi

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/passmend/passmend/core"
)

var (
	errCallKey      = errors.New("malformed Idempotency-Key")
	errCallDiffers  = errors.New("the Idempotency-Key stands for another call")
	errCallUnderWay = errors.New("the call is under way")
)

// maxCallKey bounds an Idempotency-Key, in characters.
const maxCallKey = 255

// IdempotencyKeys digests what identifies a call and seals what it came to, as
// package keys does: an answer may hold a token that is shown once.
type IdempotencyKeys interface {
	core.Digester
	core.Sealer
}

// keptAnswer is an answer as it is sealed, with the headers that its step has set.
type keptAnswer struct {
	Answer answer      `json:"answer"`
	Header http.Header `json:"header"`
}

// once lets the last step of a POST run once for an Idempotency-Key: the call made
// again within a day gets the same answer, byte for byte, from any replica. Only
// what was done is remembered; a call that was refused may be made again. A call
// whose process ends before its answer is stored is done again, a minute later.
func (a *api) once(last step) step {
	return func(c *call) error {
		sent := c.Request.Header.Values("Idempotency-Key")
		if len(sent) == 0 {
			return last(c)
		}
		if len(sent) > 1 || !validCallKey(sent[0]) {
			return errCallKey
		}
		mine := a.identify(c, sent[0])
		found, fresh, err := a.c.Calls.BeginCall(c.Request.Context(), c.account.ID, mine)
		switch {
		case err != nil:
			return fmt.Errorf("%w: begin call: %w", core.ErrNotAccepted, err)
		case fresh:
			return a.first(c, mine, last)
		case !bytes.Equal(found.Call, mine.Call):
			return errCallDiffers
		case found.Answer == nil:
			return errCallUnderWay
		}
		return a.replay(c, found)
	}
}

// validCallKey wants visible ASCII without spaces: what every proxy leaves as it is.
func validCallKey(key string) bool {
	return key != "" && len(key) <= maxCallKey && !strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' })
}

// identify digests whose key it is and what is asked for. A key belongs to the
// credentials that it comes with: with others it is another key, so that nobody
// sees the answer to somebody else.
func (a *api) identify(c *call, key string) core.IdempotentCall {
	query := c.Request.URL.Query()
	who := []string{c.Request.Header.Get("Authorization"), query.Get("token"), query.Get("auth")}
	digest := func(scope string, parts ...string) []byte {
		return a.c.CallKeys.Digest(scope, c.account.ID, joinParts(parts))
	}
	return core.IdempotentCall{
		Key: digest("idempotency key", append(who, key)...),
		Call: digest("idempotent call", append(who, c.Request.Method, c.Request.URL.EscapedPath(), c.Request.URL.RawQuery,
			c.version, c.mediaType, string(c.raw))...),
	}
}

// joinParts puts the length of each part before it, so that none runs into the next.
func joinParts(parts []string) []byte {
	var joined []byte
	for _, part := range parts {
		joined = binary.BigEndian.AppendUint32(joined, uint32(len(part)))
		joined = append(joined, part...)
	}
	return joined
}

// first runs the step and stores what it came to before anybody hears of it.
func (a *api) first(c *call, mine core.IdempotentCall, last step) error {
	// What has been done is to be remembered even when the client does not wait.
	ctx := context.WithoutCancel(c.Request.Context())
	before := c.Writer.Header().Clone()
	var held answer
	c.held = &held
	err := last(c)
	c.held = nil
	if err == nil {
		mine.Answer, err = a.sealAnswer(c, mine, keptAnswer{held, changedHeaders(before, c.Writer.Header())})
		if err != nil {
			return err
		}
	}
	if ended := a.c.Calls.EndCall(ctx, c.account.ID, mine); ended != nil {
		a.log.LogAttrs(ctx, slog.LevelError, "idempotent call not ended", slog.String("request_id", c.id), slog.Any("error", ended))
	}
	if err == nil {
		c.send(held)
	}
	return err
}

// changedHeaders are those that were set since.
func changedHeaders(before, after http.Header) http.Header {
	changed := http.Header{}
	for name, values := range after {
		if was, there := before[name]; !there || strings.Join(was, "\n") != strings.Join(values, "\n") {
			changed[name] = values
		}
	}
	return changed
}

func (a *api) sealAnswer(c *call, mine core.IdempotentCall, kept keptAnswer) ([]byte, error) {
	plain, err := json.Marshal(kept)
	if err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	return a.c.CallKeys.Seal(c.account.ID, hex.EncodeToString(mine.Key), plain)
}

func (a *api) replay(c *call, found core.IdempotentCall) error {
	plain, err := a.c.CallKeys.Open(c.account.ID, hex.EncodeToString(found.Key), found.Answer)
	if err != nil {
		return fmt.Errorf("open answer: %w", err)
	}
	var kept keptAnswer
	if err := json.Unmarshal(plain, &kept); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	for name, values := range kept.Header {
		c.Writer.Header()[name] = values
	}
	c.Header("Idempotent-Replayed", "true")
	c.send(kept.Answer)
	return nil
}
