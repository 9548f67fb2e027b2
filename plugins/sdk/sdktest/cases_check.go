package sdktest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

var checkCases = []Case{
	{"Check takes usable settings", nothing, checkTakes},
	{"Check sends nothing", mail, checkSendsNothing},
	{"Check refuses unusable settings and names the setting", nothing, checkRefuses},
	{"Check refuses settings that are not an object", nothing, checkGarbage},
	{"Check honours its deadline", nothing, checkDeadline},
	{"Send refuses unusable settings with a Failure", mail, sendRefuses},
	{"One call's secrets are not used for another", mail, secretsApart},
}

func checkTakes(r *run) {
	if err := r.tryCheck(r.Settings); err != nil {
		r.errorf("%s", tell(err))
	}
}

func checkSendsNothing(r *run) {
	before := len(r.Inbox())
	checkTakes(r)
	time.Sleep(50 * time.Millisecond)
	if n := len(r.Inbox()) - before; n != 0 {
		r.errorf("%d messages", n)
	}
}

func checkRefuses(r *run) {
	if len(r.Refused) == 0 && len(r.schema().Properties) > 0 {
		r.fatalf("the target has no settings to refuse")
	}
	for _, refused := range r.Refused {
		r.refusal(refused, r.tryCheck(refused.Settings))
	}
}

func checkGarbage(r *run) {
	for _, values := range []string{`[]`, `"text"`, `{`, `{} {}`, "\x00"} {
		err := r.tryCheck(sdk.Settings{Values: []byte(values), Secrets: r.Settings.Secrets})
		var failure *sdk.Failure
		if !errors.As(err, &failure) || failure.Kind != sdk.Misconfigured {
			r.errorf("%q: %v, want a failure of kind %s", values, err, sdk.Misconfigured)
		}
	}
}

func checkDeadline(r *run) {
	if r.Stalled.Values == nil {
		r.skipf("the target has no server that never answers")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	// A Check that does not reach the server ends early, and well.
	over, err := ended(ctx, patience, func(ctx context.Context) error { return r.Provider.Check(ctx, r.Stalled) })
	r.note(err)
	if !over {
		r.errorf("Check is still running %s after its deadline", patience)
	}
}

func sendRefuses(r *run) {
	before := len(r.Inbox())
	for _, refused := range r.Refused {
		ctx, cancel := r.context()
		request := r.request("refused")
		request.Settings = refused.Settings
		_, err := r.trySend(ctx, request)
		cancel()
		r.refusal(refused, err)
	}
	if n := len(r.Inbox()) - before; n != 0 {
		r.errorf("%d messages were delivered", n)
	}
}

func (r *run) refusal(refused Refused, err error) {
	var failure *sdk.Failure
	switch {
	case err == nil:
		r.errorf("%s: taken", refused.Case)
	case !errors.As(err, &failure):
		r.errorf("%s: the error is not a *sdk.Failure", refused.Case)
	case failure.Kind != sdk.Misconfigured && failure.Kind != sdk.AuthenticationFailed:
		r.errorf("%s: kind %s", refused.Case, failure.Kind)
	case !strings.Contains(failure.Public, refused.Names):
		r.errorf("%s: the public text %q does not name %q", refused.Case, failure.Public, refused.Names)
	}
}

// secretsApart mixes calls with right and with wrong secrets: a provider that
// keeps connections must not lend one to a stranger.
func secretsApart(r *run) {
	var wrong []Refused
	for _, refused := range r.Refused {
		if len(refused.Settings.Secrets) > 0 && len(r.Settings.Secrets) > 0 {
			wrong = append(wrong, refused)
		}
	}
	if len(wrong) == 0 {
		r.skipf("the target has no settings with a wrong secret")
	}
	var mu sync.Mutex
	var sending sync.WaitGroup
	for i := range 16 {
		request := r.request(fmt.Sprint("apart-", i))
		good := i%2 == 0
		if !good {
			request.Settings = wrong[i/2%len(wrong)].Settings
		}
		sending.Go(func() {
			ctx, cancel := r.context()
			defer cancel()
			_, err := r.trySend(ctx, request)
			mu.Lock()
			defer mu.Unlock()
			if good && err != nil {
				r.errorf("a mail with the right secrets: %s", tell(err))
			}
			if !good && err == nil {
				r.errorf("a mail with the wrong secrets was taken")
			}
		})
	}
	sending.Wait()
}
