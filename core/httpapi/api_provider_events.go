package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

const (
	// maxCallback bounds the body of a callback (sdk.Callback).
	maxCallback = 1 << 20
	// largeCallbacks is how many with a body beyond maxBody are held at a time: nobody
	// has proved yet who sends them, and they must not take the memory of everybody.
	largeCallbacks = 16
)

// limitCallbacks refuses a client that has sent the account too many callbacks that
// prove nothing.
func (a *api) limitCallbacks(c *call) error {
	return a.refusedBy(a.gate.callingBack(c.account.ID, c.Request))
}

// takeCallback hands on what a provider's service reports. Its answer never tells
// whether there is such a message or such an address; a provider that there is not,
// or that reads no callbacks, is told as an account that there is not.
func (a *api) takeCallback(c *call) error {
	body, done, err := a.readCallback(c)
	if err != nil {
		return err
	}
	defer done()
	headers := c.Request.Header.Clone()
	headers.Set("Host", c.Request.Host) // net/http keeps it apart
	err = a.c.ProviderEvents.Take(c.Request.Context(), c.account.ID, c.param("provider"), core.Callback{Headers: headers, Body: body})
	switch {
	case errors.Is(err, core.ErrNotFound):
		return tenants.ErrUnknown
	case errors.Is(err, core.ErrUnproven):
		a.gate.unproven(c.account.ID, c.Request)
	}
	if err != nil {
		return err
	}
	return c.write(http.StatusOK, struct{}{})
}

// readCallback reads a body of any type, as it is. Beyond the size that every other
// request may have it takes one of few places, which done gives back.
func (a *api) readCallback(c *call) (body []byte, done func(), err error) {
	limited := http.MaxBytesReader(c.Writer, c.Request.Body, maxCallback)
	body, err = io.ReadAll(io.LimitReader(limited, maxBody+1))
	if err != nil || len(body) <= maxBody {
		return body, func() {}, callbackError(err)
	}
	select {
	case a.large <- struct{}{}:
		done = func() { <-a.large }
	default:
		return nil, nil, fmt.Errorf("large callback: %w", core.ErrBusy)
	}
	rest, err := io.ReadAll(limited)
	if err != nil {
		done()
		return nil, nil, callbackError(err)
	}
	return append(body, rest...), done, nil
}

func callbackError(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &told{payloadTooLarge(maxCallback)}
	case err == nil, errors.Is(err, os.ErrDeadlineExceeded):
		return err
	default:
		return fmt.Errorf("read callback: %w: %w", core.ErrUnreadable, err)
	}
}
