package sdktest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/serve"
	"github.com/passmend/passmend/plugins/sdk/serve/launch"
)

// kit is a target in use.
type kit struct {
	Target
	description sdk.Description
	process     *launch.Process // nil unless the target is an executable
	endpoint    *endpoint       // nil until an event is sent

	mu       sync.Mutex
	failures []*sdk.Failure // of every call so far
	printed  []string       // by processes that have ended
}

// startCase is the case of a target that is an executable: that it runs at all.
const startCase = "The process starts, serves and describes itself within 4 s"

// open starts the target if it is an executable; the result is that of startCase.
func open(target Target) (*kit, Result) {
	if target.From == "" {
		target.From = "noreply@acme.example"
	}
	if target.To == "" {
		target.To = "ada@example.com"
	}
	k := &kit{Target: target}
	var result Result
	if target.Path != "" {
		began := time.Now()
		result = Result{Case: startCase, Verdict: Passed}
		if err := k.start(); err != nil {
			result.Verdict, result.Reasons = Failed, []string{err.Error()}
		}
		result.Seconds = time.Since(began).Seconds()
	}
	if result.Verdict != Failed {
		ctx, cancel := context.WithTimeout(context.Background(), callLimit)
		defer cancel()
		// An error is the first case's to tell.
		k.description, _ = k.Provider.Describe(ctx)
		if _, wire := k.Provider.(*serve.Client); !wire {
			_, k.description.ParsesEvents = k.Provider.(sdk.EventParser)
		}
	}
	return k, result
}

// start runs the executable and makes it the provider.
func (k *kit) start() error {
	ctx, cancel := context.WithTimeout(context.Background(), launch.StartTimeout)
	defer cancel()
	started, err := launch.Start(ctx, launch.Config{Path: k.Path})
	if err != nil {
		return err
	}
	k.process, k.Provider = started, started.Client
	if _, err := started.Describe(ctx); err != nil {
		return fmt.Errorf("describe: %s", tell(err))
	}
	return nil
}

func (k *kit) close() {
	if k.process != nil {
		_ = k.process.Kill() // what a temporary directory leaves behind is no case
	}
	if k.endpoint != nil {
		k.endpoint.close()
	}
}

// try runs a case, unless something that it needs is missing. A case in which the
// provider hangs for good is given up, with the goroutine that waits for it.
func (k *kit) try(c Case) Result {
	began := time.Now()
	ended := make(chan Result, 1)
	go func() { ended <- k.attempt(c) }()
	timer := time.NewTimer(caseLimit)
	defer timer.Stop()
	var result Result
	select {
	case result = <-ended:
	case <-timer.C:
		result = Result{Case: c.Name, Verdict: Failed, Reasons: []string{fmt.Sprintf("the provider is still busy after %s", caseLimit)}}
	}
	result.Seconds = time.Since(began).Seconds()
	return result
}

func (k *kit) attempt(c Case) (result Result) {
	r := &run{kit: k, result: Result{Case: c.Name, Verdict: Passed}}
	defer func() {
		if value := recover(); value != nil && value != stopped {
			r.errorf("panic: %v", value)
		}
		result = r.result
	}()
	if missing := k.missing(c.needs); missing != "" {
		r.skipf("%s", missing)
	}
	c.run(r)
	return r.result
}

func (k *kit) missing(n needs) string {
	switch {
	case n == mail && !k.takes(sdk.ContentMail):
		return "the provider takes no mail"
	case n == mail && k.Inbox == nil:
		return "the target has no inbox"
	case n == events && !k.takes(sdk.ContentEvent):
		return "the provider takes no events"
	case n == callbacks && !k.description.ParsesEvents:
		return "the provider reads no callbacks"
	case n == callbacks && len(k.Callbacks) == 0:
		return "the target has no callbacks"
	case n == process && k.process == nil:
		return "the target is not an executable"
	}
	return ""
}

func (k *kit) takes(content sdk.Content) bool {
	return slices.Contains(k.description.Contents, content)
}

// note keeps what a failed call said, for the cases that look at all of it.
func (k *kit) note(err error) {
	if err == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failures = append(k.failures, sdk.FailureOf(err))
}

func (k *kit) noted() []*sdk.Failure {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.failures)
}

// output is all that the provider's processes printed so far.
func (k *kit) output() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := k.process.Output()
	for _, printed := range k.printed {
		all += "\n" + printed
	}
	return all
}
