package sdktest

import (
	"encoding/base64"
	"strings"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// These come last: they look at all that was said before them.
var silenceCases = []Case{
	{"No secret, address or link is in an error", nothing, silentErrors},
	{"No secret, address or link is on standard output or standard error", process, silentOutput},
}

const canary = "canary-7f3a9c51"

// minSecret is the shortest secret that is looked for, in bytes: a shorter one is
// in every other word.
const minSecret = 8

// listening is how long a case on silence waits before it looks: what a process
// prints comes beside its answers.
const listening = 250 * time.Millisecond

// silentErrors provokes what it can with values that are found again, and looks at
// every error that was told before, too.
func silentErrors(r *run) {
	r.provoke()
	for _, refused := range r.Refused {
		settings := refused.Settings
		settings.Secrets = make(map[string]sdk.Secret)
		for name := range refused.Settings.Secrets {
			settings.Secrets[name] = sdk.NewSecret(canary)
		}
		_ = r.tryCheck(settings)
		if r.takes(sdk.ContentMail) {
			request := r.request("silent")
			request.Settings = settings
			r.canaries(request)
		}
	}
	if r.takes(sdk.ContentMail) {
		for _, settings := range r.Scripted {
			request := r.request("silent")
			request.Settings = settings
			r.canaries(request)
		}
	}
	for _, f := range r.noted() {
		if what := r.found(f.Error() + "\n" + f.Public + "\n" + f.Private + "\n" + f.Code + "\n" + f.Answer); what != "" {
			r.errorf("a failure of kind %s holds %s", f.Kind, what)
		}
	}
}

// canaries sends a mail to an address, with a link, that are found again.
func (r *run) canaries(request sdk.SendRequest) {
	request.Mail.To.Address = canary + "@example.com"
	request.Mail.Facts.Link = sdk.NewSecret("https://reset.example.com/r/" + canary)
	request.Mail.Text = "https://reset.example.com/r/" + canary
	ctx, cancel := r.context()
	defer cancel()
	_, _ = r.trySend(ctx, request)
}

// found names what of the kit's values is in text.
func (r *run) found(text string) string {
	secrets := []sdk.Settings{r.Settings, r.Stalled}
	for _, refused := range r.Refused {
		secrets = append(secrets, refused.Settings)
	}
	for _, settings := range r.Scripted {
		secrets = append(secrets, settings)
	}
	for _, settings := range secrets {
		for name, secret := range settings.Secrets {
			if value := secret.Reveal(); len(value) >= minSecret && holds(text, value) {
				return "the secret " + name
			}
		}
	}
	switch {
	case holds(text, token):
		return "the link"
	case holds(text, r.To):
		return "the recipient's address"
	case holds(text, canary):
		return "a value of the request"
	}
	return ""
}

// holds looks for value as it is and in base64.
func holds(text, value string) bool {
	return strings.Contains(text, value) ||
		strings.Contains(text, base64.RawStdEncoding.EncodeToString([]byte(value)))
}

func silentOutput(r *run) {
	request, _ := r.deliverable("printed")
	r.send(request)
	r.provoke()
	time.Sleep(listening)
	if what := r.found(r.output()); what != "" {
		r.errorf("the process printed %s", what)
	}
}
