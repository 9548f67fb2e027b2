package sdktest

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/passmend/passmend/plugins/sdk"
)

// classes are the ways for a mail to fail.
var classes = []sdk.Outcome{
	sdk.RecipientRefused, sdk.ContentRefused, sdk.Misconfigured, sdk.AuthenticationFailed,
	sdk.RateLimited, sdk.QuotaExhausted, sdk.Temporary, sdk.Unknown,
}

// failureCases has a case for each class, and one for what no server exercised.
func failureCases() []Case {
	var cases []Case
	for _, class := range classes {
		cases = append(cases, Case{"A failure is told for what it is: " + string(class), mail, failsAs(class)})
	}
	return append(cases,
		Case{"Every class of failure is exercised", mail, allClasses},
		Case{"Failures are well-formed", nothing, failuresWellFormed})
}

func failsAs(class sdk.Outcome) func(*run) {
	return func(r *run) {
		settings, given := r.Scripted[class]
		if !given {
			r.skipf("the target has no server that makes it happen")
		}
		request := r.request(string(class))
		request.Settings = settings
		failure := r.refuse(request)
		if failure.Kind != class {
			r.errorf("told as %s: %s", failure.Kind, tell(failure))
		}
		if failure.Public == "" {
			r.errorf("the account's owner is not told why")
		}
	}
}

func allClasses(r *run) {
	var missing []string
	for _, class := range classes {
		if _, given := r.Scripted[class]; !given {
			missing = append(missing, string(class))
		}
	}
	if len(missing) > 0 {
		r.skipf("the target has no server for %s", strings.Join(missing, ", "))
	}
}

// provoke makes every failure happen that the target has settings for.
func (r *run) provoke() {
	for _, refused := range r.Refused {
		_ = r.tryCheck(refused.Settings)
	}
	if !r.takes(sdk.ContentMail) {
		request, _ := r.event(status(500))
		ctx, cancel := r.context()
		defer cancel()
		_, _ = r.trySend(ctx, request)
		return
	}
	for _, settings := range r.Scripted {
		request := r.request("provoked")
		request.Settings = settings
		ctx, cancel := r.context()
		_, _ = r.trySend(ctx, request)
		cancel()
	}
}

func failuresWellFormed(r *run) {
	r.provoke()
	for _, f := range r.noted() {
		if utf8.RuneCountInString(f.Public) > 256 || !isPrintable(f.Public) {
			r.errorf("the public text of %s is not at most 256 printable characters", f.Kind)
		}
		if f.RetryAfter < 0 {
			r.errorf("%s has a RetryAfter of %s", f.Kind, f.RetryAfter)
		}
		if !f.Until.IsZero() && f.Until.Before(time.Now().Add(-time.Minute)) {
			r.errorf("%s has an Until in the past", f.Kind)
		}
		r.checkCode(f.Code, f.Answer)
	}
}

func (r *run) checkCode(code, answer string) {
	if len(code) > 16 || !isPrintable(code) {
		r.errorf("the code is not at most 16 printable characters")
	}
	if utf8.RuneCountInString(answer) > 256 || !isPrintable(answer) {
		r.errorf("the answer is not at most 256 printable characters")
	}
}
