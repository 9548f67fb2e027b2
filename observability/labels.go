package observability

import (
	"sync"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/sdk"
)

// other stands for every label value that is not on its list.
const other = "other"

// noReason is the reason of an end that needs none.
const noReason = "none"

// exitStop is the reason of an end that the host asked for.
const exitStop = "stop"

// otherAccount is the account label of those that are not told apart.
const otherAccount = "_other"

// enum is a closed list of label values.
type enum []string

func (e enum) of(value string) string {
	for _, known := range e {
		if known == value {
			return known
		}
	}
	return other
}

// The closed lists of operability.md and of the packages that report.
var (
	httpMethods   = enum{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}
	listeners     = enum{"public", "admin"}
	rejections    = enum{"malformed", "too_large", "rate_ip", "rate_tenant", "backlog", "db_unavailable", "shed"}
	limitScopes   = enum{"ip", "tenant", "email", "recipient", "token", "probe"}
	limitActions  = enum{"reject", "suppress"}
	lanes         = enum{"reset", "notice", "webhook"}
	queueStates   = enum{"ready", "later", "leased"}
	holdScopes    = enum{core.HoldOfAll, core.HoldOfAccount, core.HoldOfProvider}
	holdStates    = enum{core.HoldHeld, core.HoldDraining}
	outcomes      = enum{"ok", "retry", "permanent", "unknown", "snoozed", "fenced"}
	commitKinds   = enum{"accept", "plan", "outcome", "turn"}
	pluginMethods = enum{"Check", "Send", "ParseEvent"}
	exitReasons   = enum{"exit", "start", "verify", "handshake", "timeout", "describe", "health", exitStop}
	sinks         = enum{"log", "plugin"}
	pluginLevels  = enum{"info", "error"}
	linkResults   = enum{"new", "repeated"}
	viewResults   = enum{"ok", "expired", "unknown"}
	hashOrigins   = enum{hashAlgorithm, "argon2i", "bcrypt", "pbkdf2-sha256", "scrypt"}
	webhookBlocks = enum{"destination"}
	poolStates    = enum{"idle", "used", "max"}
	pathRoles     = enum{"data", "plugins", "temp"}
	tasks         = enum{"reap", "retain"}
	keySlots      = enum{"token", "digest", "limit", "seal", "pepper", "cookie"}
	canaryStages  = enum{"accepted", "delivered", "opened", "redeemed"}
	stepNames     = enum{"dns", "dial", "tls", "greeting", "auth", "mail", "rcpt", "data", "request", "response", "pool", "quit", "wait"}
	templates     = enum{core.MailReset, core.MailInvite, core.MailChanged, core.MailAccounts}

	fulfilmentResults = enum{"ok", "unknown", "expired", "password", "busy"}
	endpointStates    = enum{"enabled", "failing", "disabled"}
	// cageLayers are those of the plugin host's LayerNames.
	cageLayers = enum{
		"sealed_binary", "parent_death", "no_new_privs", "capabilities", "rlimits", "seccomp",
		"landlock_files", "landlock_ports", "landlock_scope", "landlock_unix", "landlock_udp",
	}

	requestStates = enum{
		string(core.StatePending), string(core.StateSent), string(core.StateSuppressed), string(core.StateFailed),
		string(core.StateExpired), string(core.StateSuperseded), string(core.StateRedeemed),
	}
	reasons = enum{
		noReason, string(core.ReasonUnknownUser), string(core.ReasonAddressTooLong), string(core.ReasonRecipientRefused),
		string(core.ReasonContentRefused), string(core.ReasonMisconfigured), string(core.ReasonNoProvider),
		string(core.ReasonQuarantined), string(core.ReasonRecipientLimit), string(core.ReasonRecipientAll),
		string(core.ReasonSuppressed),
	}
	eventKinds   = enum{string(sdk.Delivered), string(sdk.Bounced), string(sdk.Deferred), string(sdk.Complained)}
	eventResults = enum{"recorded", "repeated", "unknown"}
	results      = enum{
		string(sdk.Accepted), string(sdk.AcceptedUnknown), string(sdk.RecipientRefused), string(sdk.ContentRefused),
		string(sdk.Misconfigured), string(sdk.AuthenticationFailed), string(sdk.RateLimited), string(sdk.QuotaExhausted),
		string(sdk.Temporary), string(sdk.Unknown),
	}
)

// laneOf is the queue that a delivery of a kind waits in.
func laneOf(kind core.Kind) string {
	switch kind {
	case core.KindResolve, core.KindMail, core.KindAccounts:
		return "reset"
	case core.KindNotice:
		return "notice"
	case core.KindWebhook:
		return "webhook"
	default:
		return other
	}
}

// names is a list that our own code fills as it runs: plugins that have started,
// operations of the store. It is bounded, and takes only what has the shape of a
// name, which no address, id or token has.
type names struct {
	limit int
	mu    sync.RWMutex
	known map[string]string // name to version, empty until it is known
}

func newNames(limit int) *names { return &names{limit: limit, known: map[string]string{}} }

// learn adds a name, or changes its version, and gives the label for it.
func (n *names) learn(name, version string) string {
	if !isName(name) {
		return other
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.known[name]; !ok && len(n.known) >= n.limit {
		return other
	}
	if version != "" || n.known[name] == "" {
		n.known[name] = version
	}
	return name
}

// of gives the label for a name and its version.
func (n *names) of(name string) (label, version string) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if version, ok := n.known[name]; ok {
		return name, version
	}
	return other, ""
}

const maxNameBytes = 32 // shorter than a UUID, a token, and nearly every secret

// isName: 1 to 32 of a-z, 0-9, "-" and "_", beginning with a letter.
func isName(s string) bool {
	if s == "" || len(s) > maxNameBytes || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for _, b := range []byte(s) {
		if !('a' <= b && b <= 'z' || '0' <= b && b <= '9' || b == '-' || b == '_') {
			return false
		}
	}
	return true
}

// versionLabel keeps what looks like a version: at most 32 bytes, which no UUID has.
func versionLabel(s string) string {
	if s == "" || len(s) > maxNameBytes {
		return other
	}
	for _, b := range []byte(s) {
		if !(wordByte[b] || b == '.' || b == '+') {
			return other
		}
	}
	return s
}

// commitLabel keeps a commit's hash, abbreviated or not, and words such as "unknown".
func commitLabel(s string) string {
	if isName(s) {
		return s
	}
	if s == "" || len(s) > 40 {
		return other
	}
	for _, b := range []byte(s) {
		if !('0' <= b && b <= '9' || 'a' <= b && b <= 'f') {
			return other
		}
	}
	return s
}
