package smtp

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/passmend/passmend/plugins/sdk"
)

// status is a reply's code and, where the server gives one, its enhanced status
// code (RFC 3463): a subject and a detail, as in the 1.1 of "550 5.1.1".
type status struct {
	code     int
	enhanced string // "5.1.1", or empty
}

// enhancedCode begins the text of a reply (RFC 2034, 4).
var enhancedCode = regexp.MustCompile(`^([245]\.\d{1,3}\.\d{1,3})(?:\s|$)`)

// statusOf reads a reply. An enhanced code of another class than the code is no
// enhanced code.
func statusOf(code int, text string) status {
	found := enhancedCode.FindStringSubmatch(text)
	if found == nil || int(text[0]-'0') != code/100 {
		return status{code: code}
	}
	return status{code: code, enhanced: found[1]}
}

// String is what a Receipt or a Failure tells: the enhanced code, or the code.
func (s status) String() string {
	if s.enhanced != "" {
		return s.enhanced
	}
	return strconv.Itoa(s.code)
}

// about tells whether the enhanced code is of a subject such as "5.1".
func (s status) about(subject string) bool { return strings.HasPrefix(s.enhanced, subject+".") }

type verdict struct {
	kind   sdk.Outcome
	public string
}

// verdicts are the enhanced codes that say more than the place where they come
// (RFC 3463 and the registry that it began; the last two are widespread use).
var verdicts = map[string]verdict{
	"5.1.7":  {sdk.Misconfigured, "the sender's address is refused by the mail server"},
	"5.1.8":  {sdk.Misconfigured, "the sender's domain is refused by the mail server"},
	"5.2.3":  {sdk.ContentRefused, "the message is larger than the mail server takes"},
	"5.3.4":  {sdk.ContentRefused, "the message is larger than the mail server takes"},
	"5.7.20": {sdk.Misconfigured, "the sender's domain fails the mail server's check of DKIM"},
	"5.7.21": {sdk.Misconfigured, "the sender's domain fails the mail server's check of DKIM"},
	"5.7.22": {sdk.Misconfigured, "the sender's domain fails the mail server's check of DKIM"},
	"5.7.23": {sdk.Misconfigured, "the sender's domain fails the mail server's check of SPF"},
	"5.7.24": {sdk.Misconfigured, "the sender's domain fails the mail server's check of SPF"},
	"5.7.25": {sdk.Misconfigured, "the sending host has no name that the mail server accepts"},
	"5.7.26": {sdk.Misconfigured, "the sender's domain fails the mail server's checks of DKIM, SPF or DMARC"},
	"5.7.27": {sdk.Misconfigured, "the sender's domain takes no mail itself"},
	"4.7.28": {sdk.RateLimited, "the mail server takes no more mail from here for now"},
	"4.4.5":  {sdk.RateLimited, "the mail server takes no more mail from here for now"},
	"5.4.5":  {sdk.QuotaExhausted, "the mail server's quota for sending is used up"},
}

// verdictOf reads a reply of 400 or more: by its enhanced code where that says
// more than where it came.
func verdictOf(at stage, s status) (sdk.Outcome, string) {
	if v, known := verdicts[s.enhanced]; known {
		return v.kind, v.public
	}
	if s.code < 500 {
		return sdk.Temporary, "the mail server asks to try later"
	}
	return refusal(at, s)
}

// refusal reads a 5xx reply by where it came (RFC 5321, 4.2; RFC 4954, 6).
func refusal(at stage, s status) (sdk.Outcome, string) {
	switch {
	case s.code == 535 || s.code == 530 || s.code == 538:
		if at == stageAuth {
			return sdk.AuthenticationFailed, "username and password are refused by the mail server"
		}
		return sdk.AuthenticationFailed, "the mail server asks for username and password"
	case at == stageAuth && s.code == 534:
		return sdk.AuthenticationFailed, "the mail server refuses this way to authenticate with username and password"
	case at == stageAuth:
		return sdk.Misconfigured, "username is set, but the mail server does not authenticate"
	case at == stageHello:
		return sdk.Misconfigured, "heloName is refused by the mail server"
	case at == stageTLS:
		return sdk.Misconfigured, "tls is refused by the mail server"
	case at == stageMail:
		return sdk.Misconfigured, "the sender's address is refused by the mail server"
	case at == stageRcpt && s.about("5.7"):
		return sdk.RecipientRefused, "the mail server does not take mail for this recipient from this sender"
	case at == stageRcpt, isLate(at) && (s.about("5.1") || s.about("5.2")):
		return sdk.RecipientRefused, "the recipient's address is refused by the mail server"
	case isLate(at):
		return sdk.ContentRefused, "the message is refused by the mail server"
	default:
		return sdk.Misconfigured, "host does not take mail from here"
	}
}

// isLate tells that the recipient was accepted before. Some servers look for the
// mailbox only when they have the message.
func isLate(at stage) bool { return at == stageData || at == stageBody || at == stageEnd }

// queued finds the name that Postfix and its kin give a message they took.
var queued = regexp.MustCompile(`(?i)\bqueued as ([A-Za-z0-9._-]{4,64})`)

// queueID is the server's own name for the message, empty when it gave none.
func queueID(text string) string {
	if found := queued.FindStringSubmatch(text); found != nil {
		return found[1]
	}
	return ""
}
