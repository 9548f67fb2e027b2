package postmark

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/plugins/postmark/postmarktest"
	"github.com/passmend/passmend/plugins/sdk"
)

const callbackPassword = "a-long-webhook-password"

var reported = postmarktest.Message{
	ID: "883953f4-6105-42a2-a16a-77a8eac79483", At: time.Date(2030, 1, 2, 3, 4, 5, 600, time.UTC),
	To: "ada@example.com", From: "noreply@acme.example", Stream: "outbound", Subject: "Choose", Text: testLink,
}

func callbackSettings(more string) sdk.Settings {
	return sdk.Settings{
		Values:  []byte(`{` + more + `}`),
		Secrets: secrets("serverToken", testToken, "callbackPassword", callbackPassword),
	}
}

func callback(body []byte, authorization ...string) sdk.Callback {
	c := sdk.Callback{Body: body, Headers: []sdk.Header{{Name: "Content-Type", Value: "application/json"}}}
	for _, value := range authorization {
		c.Headers = append(c.Headers, sdk.Header{Name: "Authorization", Value: value})
	}
	return c
}

func parse(t testing.TB, body []byte) ([]sdk.ProviderEvent, error) {
	t.Helper()
	return New().ParseEvent(t.Context(), callbackSettings(""), callback(body, postmarktest.Authorization("postmark", callbackPassword)))
}

func TestRecordsBecomeEvents(t *testing.T) {
	t.Parallel()
	deferred := "the message was not delivered; the recipient's address stays usable"
	inactive := "Postmark sends no more mail to the recipient's address"
	for _, c := range []struct {
		name   string
		body   []byte
		kind   sdk.EventKind
		public string
	}{
		{"delivery", postmarktest.Delivery(reported), sdk.Delivered, "the recipient's mail server took the message"},
		{"complaint", postmarktest.SpamComplaint(reported), sdk.Complained, "the recipient called the message spam"},
		{"complaint as a bounce", postmarktest.Bounce(reported, "SpamComplaint", true), sdk.Complained, "the recipient called the message spam"},
		{"hard", postmarktest.Bounce(reported, "HardBounce", true), sdk.Bounced, "the recipient's address does not exist or takes no mail"},
		{"no address", postmarktest.Bounce(reported, "BadEmailAddress", false), sdk.Bounced, "the recipient's address does not exist or takes no mail"},
		{"soft", postmarktest.Bounce(reported, "SoftBounce", false), sdk.Deferred, "the recipient's mail server could not take the message"},
		{"transient", postmarktest.Bounce(reported, "Transient", false), sdk.Deferred, "the recipient's mail server could not take the message"},
		{"dns", postmarktest.Bounce(reported, "DnsError", false), sdk.Deferred, "the recipient's mail server could not take the message"},
		{"soft, given up", postmarktest.Bounce(reported, "SoftBounce", true), sdk.Bounced, inactive},
		{"deactivated", postmarktest.Bounce(reported, "ManuallyDeactivated", true), sdk.Bounced, inactive},
		{"blocked", postmarktest.Bounce(reported, "Blocked", false), sdk.Deferred, deferred},
		{"taken for spam", postmarktest.Bounce(reported, "SpamNotification", false), sdk.Deferred, deferred},
		{"unknown", postmarktest.Bounce(reported, "Unknown", false), sdk.Deferred, deferred},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := parse(t, c.body)
			if err != nil || len(got) != 1 {
				t.Fatalf("%+v, %v", got, err)
			}
			want := sdk.ProviderEvent{
				ID: got[0].ID, Kind: c.kind, MessageID: reported.ID, Recipient: "ada@example.com",
				At: reported.At.Add(time.Second), Public: c.public, Private: got[0].Private,
			}
			if diff := cmp.Diff(want, got[0]); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
			if strings.Contains(got[0].Private+got[0].ID, "ada") || got[0].Private == "" {
				t.Errorf("private = %q", got[0].Private)
			}
			again, _ := parse(t, c.body)
			if len(got[0].ID) != 32 || again[0].ID != got[0].ID {
				t.Errorf("ids %q and %q", got[0].ID, again[0].ID)
			}
		})
	}
}

func TestEventsOfOneMessageHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	later := reported
	later.At = later.At.Add(time.Hour)
	seen := make(map[string]int)
	for i, body := range [][]byte{
		postmarktest.Delivery(reported), postmarktest.Delivery(later), postmarktest.SpamComplaint(reported),
		postmarktest.Bounce(reported, "HardBounce", true), postmarktest.Bounce(reported, "SoftBounce", false),
	} {
		events, err := parse(t, body)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[events[0].ID]; ok {
			t.Errorf("events %d and %d have one name", other, i)
		}
		seen[events[0].ID] = i
	}
}

func TestRecordsOfNoUseGiveNoEvents(t *testing.T) {
	t.Parallel()
	nameless := reported
	nameless.ID = ""
	for name, body := range map[string]string{
		"open":                  string(postmarktest.Open(reported)),
		"subscription change":   `{"RecordType":"SubscriptionChange","MessageID":"x","Recipient":"ada@example.com"}`,
		"a kind to come":        `{"RecordType":"Teleport","MessageID":"x","ID":{"a":1},"Email":[]}`,
		"no kind":               `{}`,
		"null":                  `null`,
		"automatic answer":      string(postmarktest.Bounce(reported, "AutoResponder", false)),
		"a bounce type to come": string(postmarktest.Bounce(reported, "Teleported", false)),
		"no message":            string(postmarktest.Bounce(nameless, "HardBounce", true)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if events, err := parse(t, []byte(body)); err != nil || len(events) != 0 {
				t.Errorf("%+v, %v", events, err)
			}
		})
	}
}

func TestBodiesThatAreNotPostmarksAreRefused(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"empty": "", "html": "<html>", "a list": "[]", "two": `{"RecordType":"Delivery"}{}`, "other types": `{"RecordType":"Bounce","Email":7}`,
		"too large": `{"x":"` + strings.Repeat("x", maxCallback) + `"}`, "deep": strings.Repeat("[", 100_000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := parse(t, []byte(body)); kindOf(err) != sdk.ContentRefused {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestOnlyTheConfiguredCredentialsAreBelieved(t *testing.T) {
	t.Parallel()
	right := postmarktest.Authorization("postmark", callbackPassword)
	unset := callbackSettings("")
	unset.Secrets = secrets("serverToken", testToken)
	for _, c := range []struct {
		name     string
		settings sdk.Settings
		headers  []string
		want     sdk.Outcome
	}{
		{"right", callbackSettings(""), []string{right}, sdk.Accepted},
		{"right, another user", callbackSettings(`"callbackUser":"hook"`), []string{postmarktest.Authorization("hook", callbackPassword)}, sdk.Accepted},
		{"none", callbackSettings(""), nil, sdk.AuthenticationFailed},
		{"empty", callbackSettings(""), []string{""}, sdk.AuthenticationFailed},
		{"wrong password", callbackSettings(""), []string{postmarktest.Authorization("postmark", callbackPassword+"x")}, sdk.AuthenticationFailed},
		{"half a password", callbackSettings(""), []string{postmarktest.Authorization("postmark", callbackPassword[:20])}, sdk.AuthenticationFailed},
		{"wrong user", callbackSettings(""), []string{postmarktest.Authorization("eve", callbackPassword)}, sdk.AuthenticationFailed},
		{"no user", callbackSettings(""), []string{postmarktest.Authorization("", callbackPassword)}, sdk.AuthenticationFailed},
		{"another scheme", callbackSettings(""), []string{"Bearer " + callbackPassword}, sdk.AuthenticationFailed},
		{"not base64", callbackSettings(""), []string{"Basic postmark:" + callbackPassword}, sdk.AuthenticationFailed},
		{"right, but twice", callbackSettings(""), []string{right, right}, sdk.AuthenticationFailed},
		{"right after a wrong one", callbackSettings(""), []string{"Basic eDp5", right}, sdk.AuthenticationFailed},
		{"no password is set", unset, []string{right}, sdk.AuthenticationFailed},
		{"no password is set, none is given", unset, []string{postmarktest.Authorization("postmark", "")}, sdk.AuthenticationFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			events, err := New().ParseEvent(t.Context(), c.settings, callback(postmarktest.Delivery(reported), c.headers...))
			if kindOf(err) != c.want || (len(events) == 1) != (c.want == sdk.Accepted) {
				t.Errorf("%d events, %v, want %s", len(events), err, c.want)
			}
			if err != nil && strings.Contains(tell(err), callbackPassword[:20]) {
				t.Errorf("the error tells the password: %s", tell(err))
			}
			// What is not believed is not read either.
			if _, err := New().ParseEvent(t.Context(), c.settings, callback([]byte("{"), c.headers...)); c.want != sdk.Accepted && kindOf(err) != c.want {
				t.Errorf("with another body: %v", err)
			}
		})
	}
}

func FuzzParseEvent(f *testing.F) {
	for _, body := range [][]byte{
		postmarktest.Delivery(reported), postmarktest.SpamComplaint(reported), postmarktest.Bounce(reported, "HardBounce", true),
		postmarktest.Open(reported), []byte("null"), []byte(`{"RecordType":"Bounce","ID":{},"MessageID":"\u0000"}`),
	} {
		f.Add(body, postmarktest.Authorization("postmark", callbackPassword))
	}
	f.Add([]byte("{}"), "Basic eDp5")
	f.Fuzz(func(t *testing.T, body []byte, authorization string) {
		events, err := New().ParseEvent(t.Context(), callbackSettings(""), callback(body, authorization))
		switch kindOf(err) {
		case sdk.Accepted:
			if !json.Valid(body) || !strings.HasPrefix(strings.ToLower(authorization), "basic ") {
				t.Errorf("took %q with %q", body, authorization)
			}
		case sdk.AuthenticationFailed, sdk.ContentRefused:
		default:
			t.Errorf("%v", err)
		}
		for _, e := range events {
			if e.MessageID == "" || e.Kind == "" || len(e.ID) != 32 || hasControl(e.MessageID+e.Private+e.Recipient) ||
				e.Recipient != "" && !isAddress(e.Recipient) || len(e.Private) > 256 {
				t.Errorf("%q gave %+v", body, e)
			}
		}
	})
}
