package host

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// Send hands request to the plugin of that name, once. Every error holds an
// *sdk.Failure. One that also wraps ErrUnavailable never reached the plugin; a
// call that was lost with its process, or whose answer did not come in time, is
// Unknown. Failure texts come back without the request's secrets, link and
// recipient.
func (h *Host) Send(ctx context.Context, name string, request sdk.SendRequest) (sdk.Receipt, error) {
	var receipt sdk.Receipt
	err := h.call(ctx, name, "Send", valuesOf(request), func(ctx context.Context, i *instance) (err error) {
		if err := i.takes(request); err != nil {
			return err
		}
		receipt, err = i.provider.Send(ctx, request)
		receipt.MessageID = printable(receipt.MessageID, 256)
		receipt.Code, receipt.Answer = printable(receipt.Code, 16), printable(receipt.Answer, 256)
		return err
	})
	return receipt, err
}

// Check asks the plugin whether settings are usable; errors are those of Send. A
// port that is not allowed is Misconfigured, its public text names those that are,
// and the plugin is not asked.
func (h *Host) Check(ctx context.Context, name string, settings sdk.Settings) error {
	p := h.plugin(name)
	return h.call(ctx, name, "Check", secretsOf(settings), func(ctx context.Context, i *instance) error {
		if err := p.refusePorts(settings); err != nil {
			return err
		}
		return i.provider.Check(ctx, settings)
	})
}

// ParseEvent has the plugin read a callback of its service. Errors are those of
// Send; AuthenticationFailed means that the callback proves nothing.
func (h *Host) ParseEvent(
	ctx context.Context, name string, settings sdk.Settings, callback sdk.Callback,
) ([]sdk.ProviderEvent, error) {
	var events []sdk.ProviderEvent
	err := h.call(ctx, name, "ParseEvent", secretsOf(settings), func(ctx context.Context, i *instance) (err error) {
		parser, ok := i.provider.(sdk.EventParser)
		if !ok || !i.description.ParsesEvents {
			return &sdk.Failure{Kind: sdk.Misconfigured, Public: "the provider reads no callbacks"}
		}
		events, err = parser.ParseEvent(ctx, settings, callback)
		for n := range events {
			event := &events[n]
			event.ID, event.MessageID = printable(event.ID, 256), printable(event.MessageID, 256)
			event.Public, event.Private = printable(event.Public, 256), printable(event.Private, 1024)
		}
		return err
	})
	return events, err
}

// Describe gives the description of a plugin that was up at least once; it calls
// nothing. Its error wraps ErrUnavailable.
func (h *Host) Describe(name string) (sdk.Description, error) {
	p := h.plugin(name)
	if p == nil {
		return sdk.Description{}, unavailable(name, "is not installed")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.description.Name == "" {
		problem := "has not been up"
		if p.lastError != "" {
			problem += ": " + p.lastError
		}
		return sdk.Description{}, unavailable(name, problem)
	}
	return p.description, nil
}

func (h *Host) plugin(name string) *plugin {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.plugins[name]
}

// call does what Send and Check have in common. values is what must not be told.
func (h *Host) call(
	caller context.Context, name, method string, values []string, do func(context.Context, *instance) error,
) (err error) {
	began := time.Now()
	p := h.plugin(name)
	if p == nil {
		return unavailable(printable(name, 64), "is not installed")
	}
	defer func() {
		outcome := sdk.Accepted
		if err != nil {
			outcome = sdk.FailureOf(err).Kind
		}
		h.config.Observer.Call(caller, name, method, string(outcome), time.Since(began))
	}()
	ctx, cancel := p.bounded(caller)
	defer cancel()
	running, release, err := p.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	h.config.Reached(ctx, running.process.pid())
	defer p.redact.hold(values)()
	if failure := tell(guarded(ctx, running, do), values); failure != nil {
		return fmt.Errorf("plugin %q: %w", name, failure)
	}
	return nil
}

func (p *plugin) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, p.host.config.CallTimeout)
}

// guarded turns a panic on this side of the wire into an Unknown failure.
func guarded(ctx context.Context, running *instance, do func(context.Context, *instance) error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &sdk.Failure{
				Kind:    sdk.Unknown,
				Public:  "the provider gave no usable answer",
				Private: fmt.Sprintf("panic in the host (%T)", value),
			}
		}
	}()
	return do(ctx, running)
}

// takes refuses content that the plugin did not say it takes.
func (i *instance) takes(request sdk.SendRequest) error {
	content := sdk.ContentEvent
	if request.Mail != nil {
		content = sdk.ContentMail
	}
	if (request.Mail == nil) == (request.Event == nil) || !slices.Contains(i.description.Contents, content) {
		return &sdk.Failure{Kind: sdk.Misconfigured, Public: "the provider does not take this kind of message"}
	}
	return nil
}

// tell cleans a failure's texts: they are the plugin's, and often a server's.
func tell(err error, values []string) *sdk.Failure {
	if err == nil {
		return nil
	}
	failure := *sdk.FailureOf(err)
	failure.Public = printable(scrub(failure.Public, values, false), 256)
	failure.Private = printable(scrub(failure.Private, values, false), 1024)
	failure.Code = printable(failure.Code, 16)
	failure.Answer = printable(scrub(failure.Answer, values, false), 256)
	return &failure
}

// acquire takes a place among the calls in flight. A plugin that is starting is
// waited for, at most as long as a start may take; any other that is not up is
// refused at once.
func (p *plugin) acquire(ctx context.Context) (*instance, func(), error) {
	select {
	case p.slots <- struct{}{}:
	default:
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			return nil, nil, unavailable(p.name, "is busy")
		}
	}
	running, err := p.up(ctx)
	if err != nil {
		<-p.slots
		return nil, nil, err
	}
	return running, func() {
		running.calls.Done()
		p.calls.Done()
		<-p.slots
	}, nil
}

// up gives the running instance and counts the call.
func (p *plugin) up(ctx context.Context) (*instance, error) {
	ctx, cancel := context.WithTimeout(ctx, p.host.config.StartTimeout)
	defer cancel()
	for {
		p.mu.Lock()
		state, running, changed := p.state, p.instance, p.changed
		if p.draining {
			p.mu.Unlock()
			return nil, unavailable(p.name, "is stopping")
		}
		if running != nil {
			p.calls.Add(1)
			running.calls.Add(1)
			p.mu.Unlock()
			return running, nil
		}
		p.mu.Unlock()
		if state != StateStarting {
			return nil, unavailable(p.name, "is not up ("+string(state)+")")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, unavailable(p.name, "is still starting")
		}
	}
}

// unavailable names the plugin in the error and tells the account's owner no
// more than that the provider is not running.
func unavailable(name, problem string) error {
	return fmt.Errorf("plugin %q %s: %w: %w", name, problem, ErrUnavailable, &sdk.Failure{
		Kind:    sdk.Temporary,
		Public:  "the mail provider is not running",
		Private: fmt.Sprintf("plugin %q %s", name, problem),
	})
}
