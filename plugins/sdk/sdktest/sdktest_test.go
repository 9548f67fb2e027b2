package sdktest_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/sdktest"
)

// good is a provider into memory that keeps the contract; fault changes that.
type good struct {
	fault string

	mu    sync.Mutex
	inbox []sdktest.Sent
}

func (g *good) sent() []sdktest.Sent {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]sdktest.Sent(nil), g.inbox...)
}

func (g *good) Describe(context.Context) (sdk.Description, error) {
	d := sdk.Description{
		Name: "memory", Version: "1.0.0", Contents: []sdk.Content{sdk.ContentMail},
		SettingsSchema: []byte(`{"type":"object","properties":{"key":{"type":"string","writeOnly":true}}}`),
	}
	switch g.fault {
	case "another name":
		d.Name = "other"
	case "no schema":
		d.SettingsSchema = []byte("[]")
	case "secret not marked":
		d.SettingsSchema = []byte(`{"type":"object","properties":{"key":{"type":"string"}}}`)
	}
	return d, nil
}

func (g *good) Health(context.Context) error {
	if g.fault == "unwell" {
		return &sdk.Failure{Kind: sdk.Temporary}
	}
	return nil
}

func (g *good) Check(_ context.Context, settings sdk.Settings) error {
	if g.fault == "check sends" {
		g.keep(sdktest.Sent{MessageID: "check"})
	}
	if settings.Secrets["key"].Reveal() == "right" || g.fault == "takes anything" {
		return nil
	}
	failure := &sdk.Failure{Kind: sdk.Misconfigured, Public: "key is not the right one"}
	switch g.fault {
	case "names nothing":
		failure.Public = "no"
	case "tells the secret":
		failure.Private = "got " + settings.Secrets["key"].Reveal()
	case "ordinary error":
		return fmt.Errorf("key is wrong")
	case "wrong kind":
		failure.Kind = sdk.Unknown
	}
	return failure
}

func (g *good) Send(ctx context.Context, request sdk.SendRequest) (sdk.Receipt, error) {
	if err := g.Check(ctx, request.Settings); err != nil {
		return sdk.Receipt{}, err
	}
	if ctx.Err() != nil && g.fault != "sends what is over" {
		return sdk.Receipt{}, &sdk.Failure{Kind: sdk.Temporary}
	}
	if request.Mail == nil {
		if g.fault == "takes nothing" {
			return sdk.Receipt{}, nil
		}
		return sdk.Receipt{}, &sdk.Failure{Kind: sdk.ContentRefused}
	}
	if string(request.Settings.Values) == `{"stall":true}` {
		if g.fault == "ignores the context" {
			time.Sleep(4 * time.Second)
		} else {
			<-ctx.Done()
		}
		return sdk.Receipt{}, &sdk.Failure{Kind: sdk.Temporary}
	}
	m := *request.Mail
	for _, text := range []string{m.Subject, m.To.Name, m.To.Address, m.Headers[0].Value} {
		if strings.ContainsAny(text, "\r\n") && g.fault != "takes line breaks" {
			return sdk.Receipt{}, &sdk.Failure{Kind: sdk.ContentRefused}
		}
	}
	s := sdktest.Sent{MessageID: m.MessageID, To: m.To.Address, Text: m.Text, HTML: m.HTML}
	switch g.fault {
	case "rewrites links":
		s.HTML = strings.ReplaceAll(s.HTML, "https://", "https://track.example/?u=https://")
	case "breaks lines":
		s.Text = strings.ReplaceAll(s.Text, "-_B", "-_B\n")
	case "own message id":
		s.MessageID = fmt.Sprint(time.Now().UnixNano())
	case "loses text":
		s.Text = strings.ReplaceAll(s.Text, "ü", "?")
	case "cuts":
		s.HTML = s.HTML[:min(len(s.HTML), 1<<19)]
	case "sends twice":
		g.keep(s)
	case "panics":
		panic("no")
	}
	if g.fault == "drops under load" && strings.HasPrefix(m.MessageID, "concurrent-7.") {
		return sdk.Receipt{}, nil
	}
	g.keep(s)
	return sdk.Receipt{Outcome: sdk.Accepted}, nil
}

func (g *good) keep(s sdktest.Sent) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inbox = append(g.inbox, s)
}

func target(g *good) sdktest.Target {
	key := func(value string) map[string]sdk.Secret {
		return map[string]sdk.Secret{"key": sdk.NewSecret(value)}
	}
	return sdktest.Target{
		Provider: g,
		Name:     "memory",
		Settings: sdk.Settings{Values: []byte(`{}`), Secrets: key("right")},
		Stalled:  sdk.Settings{Values: []byte(`{"stall":true}`), Secrets: key("right")},
		Refused:  []sdktest.Refused{{Case: "wrong key", Settings: sdk.Settings{Secrets: key("wrong")}, Names: "key"}},
		Inbox:    g.sent,
	}
}

func TestAGoodProviderPasses(t *testing.T) {
	t.Parallel()
	sdktest.ExerciseProvider(t, target(&good{}))
}

// recorder keeps the names of the cases that failed.
type recorder struct {
	mu     sync.Mutex
	failed map[string]bool
}

func (*recorder) Helper()             {}
func (*recorder) Logf(string, ...any) {}
func (r *recorder) Errorf(_ string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed[args[0].(string)] = true
}

// Every fault is caught, by the case that is there for it.
func TestEveryFaultIsCaught(t *testing.T) {
	t.Parallel()
	for fault, want := range map[string]string{
		"another name":        "Describe is well-formed",
		"no schema":           "Describe is well-formed",
		"secret not marked":   "Describe is well-formed",
		"unwell":              "Health answers",
		"takes anything":      "Check refuses unusable settings and names the setting",
		"names nothing":       "Check refuses unusable settings and names the setting",
		"ordinary error":      "Check refuses unusable settings and names the setting",
		"wrong kind":          "Send refuses unusable settings with a Failure",
		"check sends":         "Check sends nothing",
		"tells the secret":    "No secret, address or link is in an error",
		"takes nothing":       "A message of no kind is refused",
		"takes line breaks":   "A line break does not become a header",
		"ignores the context": "A deadline is honoured",
		"sends what is over":  "A call that is over before it begins sends nothing",
		"rewrites links":      "The link arrives byte for byte",
		"breaks lines":        "The link arrives byte for byte",
		"own message id":      "The same key is sent with the same Message-ID",
		"loses text":          "Text beyond ASCII arrives",
		"cuts":                "A large body arrives",
		"sends twice":         "Send delivers",
		"panics":              "Send delivers",
		"drops under load":    "64 calls at once are each delivered once",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			r := &recorder{failed: make(map[string]bool)}
			for _, c := range sdktest.Cases() {
				if c.Name == want {
					c.Run(r, target(&good{fault: fault}))
				}
			}
			if !r.failed[want] {
				t.Errorf("the case %q did not fail", want)
			}
		})
	}
}
