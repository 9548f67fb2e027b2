package sdktest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

var callbackCases = []Case{
	{"A callback's events are read", callbacks, callbackRead},
	{"A repeated callback gives the same events", callbacks, callbackTwice},
	{"A callback without credentials proves nothing", callbacks, callbackNaked},
	{"A callback with other credentials proves nothing", callbacks, callbackForged},
	{"A callback under other settings proves nothing", callbacks, callbackOtherSettings},
	{"A callback that cannot be read is refused", callbacks, callbackGarbage},
	{"A callback of 1 MiB is answered within 2 s", callbacks, callbackLarge},
	{"Events of callbacks are well-formed", callbacks, callbackWellFormed},
}

// parse has the provider read a callback, within two seconds.
func (r *run) parse(settings sdk.Settings, callback sdk.Callback) ([]sdk.ProviderEvent, error) {
	parser, ok := r.Provider.(sdk.EventParser)
	if !ok {
		r.fatalf("Describe says that callbacks are read, and there is no ParseEvent")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	began := time.Now()
	parsed, err := parser.ParseEvent(ctx, settings, callback)
	r.note(err)
	if time.Since(began) >= 2*time.Second {
		r.errorf("it took %s", time.Since(began))
	}
	return parsed, err
}

// genuine reads a callback that must be taken.
func (r *run) genuine(c Callback) []sdk.ProviderEvent {
	parsed, err := r.parse(c.Settings, c.Callback)
	if err != nil {
		r.fatalf("%s: %s", c.Case, tell(err))
	}
	return parsed
}

// essence leaves out what is words and time.
func essence(events []sdk.ProviderEvent) []sdk.ProviderEvent {
	events = slices.Clone(events)
	for i := range events {
		events[i].At, events[i].Public, events[i].Private = time.Time{}, "", ""
	}
	return events
}

func callbackRead(r *run) {
	for _, c := range r.Callbacks {
		if got, want := essence(r.genuine(c)), essence(c.Want); !slices.Equal(got, want) {
			r.errorf("%s: read %+v, want %+v", c.Case, got, want)
		}
	}
}

func callbackTwice(r *run) {
	for _, c := range r.Callbacks {
		if first, second := essence(r.genuine(c)), essence(r.genuine(c)); !slices.Equal(first, second) {
			r.errorf("%s: read %+v, then %+v", c.Case, first, second)
		}
	}
}

func (r *run) disproved(what string, settings sdk.Settings, callback sdk.Callback, kinds ...sdk.Outcome) {
	parsed, err := r.parse(settings, callback)
	var failure *sdk.Failure
	if !errors.As(err, &failure) || !slices.Contains(kinds, failure.Kind) {
		r.errorf("%s: %d events, %v, want a failure of kind %v", what, len(parsed), err, kinds)
	}
}

func callbackNaked(r *run) {
	for _, c := range r.Callbacks {
		bare := sdk.Callback{Body: c.Callback.Body}
		for _, h := range c.Callback.Headers {
			if h.Name == "Content-Type" {
				bare.Headers = append(bare.Headers, h)
			}
		}
		r.disproved(c.Case, c.Settings, bare, sdk.AuthenticationFailed)
	}
}

// callbackForged changes the last letter or digit of one field after the other: the
// credentials are in one of them.
func callbackForged(r *run) {
	for _, c := range r.Callbacks {
		caught := 0
		for i, h := range c.Callback.Headers {
			forged := c.Callback
			forged.Headers = slices.Clone(forged.Headers)
			forged.Headers[i].Value = altered(h.Value)
			if _, err := r.parse(c.Settings, forged); err != nil && sdk.FailureOf(err).Kind == sdk.AuthenticationFailed {
				caught++
			}
		}
		if caught == 0 {
			r.errorf("%s: no field of its header matters", c.Case)
		}
	}
}

// altered changes the middle character, which in any encoding carries meaning.
func altered(value string) string {
	changed := []byte(value)
	if len(changed) == 0 {
		return "x"
	}
	if middle := len(changed) / 2; changed[middle] == 'A' {
		changed[middle] = 'B'
	} else {
		changed[middle] = 'A'
	}
	return string(changed)
}

func callbackOtherSettings(r *run) {
	for _, c := range r.Callbacks {
		if len(c.Settings.Secrets) == 0 {
			r.skipf("the target's callbacks are proved without a secret")
		}
		other := c.Settings
		other.Secrets = make(map[string]sdk.Secret)
		for name := range c.Settings.Secrets {
			other.Secrets[name] = sdk.NewSecret("another-secret-of-another-account")
		}
		r.disproved(c.Case, other, c.Callback, sdk.AuthenticationFailed, sdk.Misconfigured)
	}
}

// callbackGarbage takes either refusal: where a signature covers the body, another
// body proves nothing.
func callbackGarbage(r *run) {
	for _, c := range r.Callbacks {
		for _, body := range []string{"", "}{", "\x00\xff", `[[[[`, `"text"`, "7"} {
			garbage := sdk.Callback{Headers: c.Callback.Headers, Body: []byte(body)}
			r.disproved(c.Case, c.Settings, garbage, sdk.ContentRefused, sdk.AuthenticationFailed)
		}
	}
}

func callbackLarge(r *run) {
	for _, c := range r.Callbacks {
		large := sdk.Callback{Headers: c.Callback.Headers, Body: bytes.Repeat([]byte("["), 1<<20)}
		if _, err := r.parse(c.Settings, large); err == nil {
			r.errorf("%s: 1 MiB of brackets was read", c.Case)
		}
	}
}

func callbackWellFormed(r *run) {
	for _, c := range r.Callbacks {
		for _, event := range r.genuine(c) {
			known := slices.Contains([]sdk.EventKind{sdk.Delivered, sdk.Bounced, sdk.Deferred, sdk.Complained}, event.Kind)
			if !known || event.ID == "" || len(event.ID) > 256 || !isPrintable(event.ID) {
				r.errorf("%s: kind %q, id %q", c.Case, event.Kind, shown(event.ID))
			}
			if len(event.Public) > 256 || !isPrintable(event.Public) || event.Recipient != "" && holds(event.Public, event.Recipient) {
				r.errorf("%s: the public text is not at most 256 printable characters without the address", c.Case)
			}
		}
	}
}
