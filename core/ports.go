package core

import (
	"context"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

// The ports of the domain. Rules for all of them: safe for many goroutines; a
// cancelled ctx ends the wait, and a write whose wait ended that way may or may
// not have happened; the account is the first argument and bounds what is seen;
// every time is the database's.

// Inbox makes an accepted request durable.
type Inbox interface {
	// Accept stores the request and its resolve delivery, which is worth doing for
	// ResolveLife, in one commit, shared with others, and returns when that commit is on disk. ErrBusy when too many
	// callers wait; tenants.ErrUnknown when the account is gone. ID, AddressDigest, SealedAddress, Deliver and TraceParent are
	// taken from the request; its state is pending.
	Accept(ctx context.Context, account tenants.AccountID, request Request) error
}

// Ledger is one account's requests and what becomes of them.
type Ledger interface {
	Request(ctx context.Context, account tenants.AccountID, id RequestID) (Request, error)
	// RequestBySelector finds the request whose own link has the selector, spent
	// and expired ones included while their seed is kept. Expired in the answer is
	// by the database's clock.
	RequestBySelector(ctx context.Context, account tenants.AccountID, selector Selector) (found Request, expired bool, err error)
	// Resolve ends a resolve delivery under its lease and carries the plan out in
	// the same transaction. It says where the request stands now, which the plan alone
	// does not decide. ErrLeaseLost when the lease is gone: nothing changed.
	Resolve(ctx context.Context, account tenants.AccountID, lease Lease, plan Plan) (Standing, error)
	// Settle ends or re-queues a delivery under its lease, records the attempt, and
	// moves a mail's request along. ErrLeaseLost as above.
	Settle(ctx context.Context, account tenants.AccountID, lease Lease, settlement Settlement) error
}

// Redemptions spends links.
type Redemptions interface {
	// Redeem, in one transaction: the request becomes redeemed, if unspent and
	// unexpired by the database's clock; the user gets the hash and the next
	// credential version, if it still has the one named; the seed is erased, the
	// user's API tokens are deleted, the notice and the event are queued, the notice
	// only if the request's address is not on the account's suppression list.
	// ErrUnknownLink or ErrExpiredLink when a condition does not hold, and then
	// nothing has changed. Of many calls at once for one user exactly one wins.
	Redeem(ctx context.Context, account tenants.AccountID, redemption Redemption) (User, error)
	// Dispute ends a link as Redeem does, under the same conditions and with the same
	// errors, and changes nothing of the user: in one transaction the request is marked,
	// its seed erased and the event recorded. Its state stays. Of a Redeem and a Dispute
	// at once one wins.
	Dispute(ctx context.Context, account tenants.AccountID, dispute Dispute) error
}

// Reports keeps what providers say of earlier messages.
type Reports interface {
	// Report finds the mail or notice of the account that went out through that
	// provider under that message id, and in one transaction records the event and
	// what follows from it. fresh is false, and nothing has changed, when the event was
	// recorded before. ErrNotFound when there is no such message.
	Report(ctx context.Context, account tenants.AccountID, report Report) (fresh bool, err error)
}

// Suppressions is one account's suppression list.
type Suppressions interface {
	// Suppress adds to the list, or gives what is there for the address; fresh says
	// which. ID, AddressDigest, Reason, Provider and User are taken from the
	// suppression. tenants.ErrUnknown.
	Suppress(ctx context.Context, account tenants.AccountID, suppression Suppression) (found Suppression, fresh bool, err error)
	// Suppression answers ErrNotFound.
	Suppression(ctx context.Context, account tenants.AccountID, id SuppressionID) (Suppression, error)
	// Suppressions lists newest first.
	Suppressions(ctx context.Context, account tenants.AccountID, query SuppressionQuery) ([]Suppression, error)
	// Unsuppress takes one off the list; ErrNotFound.
	Unsuppress(ctx context.Context, account tenants.AccountID, id SuppressionID) error
}

// Users is one account's users. Lookups answer ErrNotFound.
type Users interface {
	User(ctx context.Context, account tenants.AccountID, id UserID) (User, error)
	UserByAddress(ctx context.Context, account tenants.AccountID, address Address) (User, error)
	// Users lists those that the query chooses.
	Users(ctx context.Context, account tenants.AccountID, query UserQuery) ([]User, error)
	// CountUsers counts all those, whatever part of them the query lists.
	CountUsers(ctx context.Context, account tenants.AccountID, query UserQuery) (int, error)
	// CreateUser stores a user and records the events. Created and Updated are set.
	// ErrAddressTaken, tenants.ErrUnknown.
	CreateUser(ctx context.Context, account tenants.AccountID, user User, events ...Event) (User, error)
}

// APITokens is one account's API tokens; with no account, the operators'.
type APITokens interface {
	// CreateAPIToken stores a token, records the events, and gives it with its expiry
	// and its user's role. ErrNotFound when there is no such user.
	CreateAPIToken(ctx context.Context, account tenants.AccountID, token APIToken, events ...TokenEvent) (APIToken, error)
	// APITokenByID answers ErrNotFound.
	APITokenByID(ctx context.Context, account tenants.AccountID, id TokenID) (APIToken, error)
	// APITokens lists those that the query chooses; CountAPITokens counts them.
	APITokens(ctx context.Context, account tenants.AccountID, query TokenQuery) ([]APIToken, error)
	CountAPITokens(ctx context.Context, account tenants.AccountID, query TokenQuery) (int, error)
	// RegenerateAPIToken gives a token another digest, and, if it has an end, that end
	// a life from now, and records the event. ErrNotFound.
	RegenerateAPIToken(ctx context.Context, account tenants.AccountID, id TokenID, digest []byte, life time.Duration, event TokenEvent) (APIToken, error)
	// DeleteAPIToken records the event, with the token as it was; nil, an operator's:
	// none. ErrNotFound.
	DeleteAPIToken(ctx context.Context, account tenants.AccountID, id TokenID, event TokenEvent) error
}

// Providers is one account's configured providers; with no account, the platform's.
type Providers interface {
	// Provider answers ErrNotFound.
	Provider(ctx context.Context, account tenants.AccountID, name string) (Provider, error)
	// Providers lists by name.
	Providers(ctx context.Context, account tenants.AccountID) ([]Provider, error)
	// CreateProvider answers ErrNameTaken.
	CreateProvider(ctx context.Context, account tenants.AccountID, provider Provider) error
	// DeleteProvider answers ErrNotFound.
	DeleteProvider(ctx context.Context, account tenants.AccountID, name string) error
}

// Accounts is an account's own row and logo.
type Accounts interface {
	// UpdateAccount replaces every attribute but ID, Created and Host. With an Updated
	// it does so only if nobody has updated the account since it was read; ErrOutdated.
	// ErrSlugTaken, tenants.ErrUnknown.
	UpdateAccount(ctx context.Context, account tenants.AccountID, changed tenants.Account) (tenants.Account, error)
	// Logo gives the stored PNG; ErrNotFound when there is none.
	Logo(ctx context.Context, account tenants.AccountID) ([]byte, error)
	// SetLogo stores a PNG, or removes it when nil, and sets Branding.LogoHash.
	SetLogo(ctx context.Context, account tenants.AccountID, png []byte) error
}

// Domains is one account's own host names.
type Domains interface {
	// SetDomain adds a host, or changes whether it is verified. ErrHostTaken when it is
	// another account's; tenants.ErrUnknown.
	SetDomain(ctx context.Context, account tenants.AccountID, domain tenants.Domain) error
	// RemoveDomain answers ErrNotFound.
	RemoveDomain(ctx context.Context, account tenants.AccountID, host string) error
	// Domains lists oldest first.
	Domains(ctx context.Context, account tenants.AccountID) ([]tenants.Domain, error)
}

// IdempotentCalls remembers for IdempotencyLife what calls with an Idempotency-Key
// came to. With no account they are operators' calls.
type IdempotentCalls interface {
	// BeginCall claims the key for a call, or gives what is there: Answer is nil while
	// the earlier call is under way. A call that has been under way for longer than
	// IdempotencyWait and has left no answer is taken over by the same call. Of many at
	// once one is fresh.
	BeginCall(ctx context.Context, account tenants.AccountID, call IdempotentCall) (found IdempotentCall, fresh bool, err error)
	// EndCall stores the answer of a call that was begun; nil forgets the call, so that
	// the key is as good as new.
	EndCall(ctx context.Context, account tenants.AccountID, call IdempotentCall) error
}

// IdempotentCall is a call that its client may make again without its being done
// again.
type IdempotentCall struct {
	Key    []byte // 32 bytes, keyed: of the caller's key and who the caller is
	Call   []byte // 32 bytes, keyed: of all that the call asks for
	Answer []byte // sealed
}

const (
	// IdempotencyLife is how long an Idempotency-Key stands for its first call.
	IdempotencyLife = 24 * time.Hour
	// IdempotencyWait is how long a call may be under way. No call takes as long.
	IdempotencyWait = time.Minute
)

// System is the one port whose methods are not bound to an account: the
// dispatcher, the resolver's look-ups, and the operator's lists. Everything
// else names its account.
type System interface {
	tenants.Directory
	// CreateAccount answers ErrSlugTaken.
	CreateAccount(ctx context.Context, account tenants.Account) (tenants.Account, error)
	// DeleteAccount ends an account: with its return no look-up finds it, and its slug
	// and hosts are free. What it had is removed by Retain. tenants.ErrUnknown.
	DeleteAccount(ctx context.Context, account tenants.AccountID) error
	// ListAccounts lists by id from after (exclusive), without the service's own.
	ListAccounts(ctx context.Context, after tenants.AccountID, limit int) ([]tenants.Account, error)
	// APIToken finds a token by its digest, of any account or an operator's.
	// ErrNotFound.
	APIToken(ctx context.Context, digest []byte) (APIToken, error)
	// AccountOfMessage finds the account whose mail or notice went out through the
	// platform's provider of that name under that message id: who reports of it knows
	// no account. An account that has a provider of that name itself is passed over.
	// ErrNotFound.
	AccountOfMessage(ctx context.Context, provider, messageID string) (tenants.AccountID, error)

	// AdministeredAccounts lists, by name, at most limit accounts in which a user with
	// the address has another role than RoleUser; accounts that were deleted are not
	// among them.
	AdministeredAccounts(ctx context.Context, address Address, limit int) ([]tenants.Account, error)

	// QueueAge says for how long the oldest delivery of a kind has been ready; 0 when
	// none is.
	QueueAge(ctx context.Context, kind Kind) (time.Duration, error)
	// Claim leases at most ask.Free rows that are due, fairly; see ClaimAsk.
	Claim(ctx context.Context, ask ClaimAsk) (Claim, error)
	// Extend moves the end of each lease to LeaseLife from now and gives those that
	// are no longer held.
	Extend(ctx context.Context, leases []Lease) (lost []Lease, err error)
	// Release gives unworked deliveries back at once, their attempt uncounted.
	Release(ctx context.Context, leases []Lease) error
	// Reap frees leases that lapsed, counts them on the row, quarantines a delivery
	// at its third, and gives the number freed.
	Reap(ctx context.Context) (int, error)
	// Retain removes at most batch requests that ended longer ago than age, with
	// their deliveries, attempts and reports, and limits that are as good as new; it gives the
	// number of requests removed. Events are kept as long as their request. It also
	// removes calls of IdempotentCalls that are past their life, and what accounts that
	// were deleted have left, at most batch rows of each; while there is more of these,
	// it gives batch.
	Retain(ctx context.Context, age time.Duration, batch int) (int, error)
	// AllHolds lists the holds, those about everything first.
	AllHolds(ctx context.Context) ([]Hold, error)
	// HoldCounts counts the holds by scope and state, where there are any; what waits for
	// them is not looked at.
	HoldCounts(ctx context.Context) ([]HoldCount, error)
	// AllAuditEvents is the platform-wide list: the entries of every audit log, the
	// platform's and those of all accounts, deleted ones among them, newest first.
	AllAuditEvents(ctx context.Context, query AuditQuery) ([]AuditEvent, error)
	// AuditChains lists the chains of accounts, deleted ones among them, by id from after
	// (exclusive).
	AuditChains(ctx context.Context, after tenants.AccountID, limit int) ([]AuditChain, error)
	// RetainAudit removes about batch entries that are older than age, from the old end
	// of their chains, and gives their number. The chains go on from there.
	RetainAudit(ctx context.Context, age time.Duration, batch int) (int, error)
	// Balance counts the requests by state; Accepted minus the sum of the states is
	// always zero.
	Balance(ctx context.Context) (Balance, error)
	// Backlog counts the deliveries that have not ended, by account, kind and how they
	// wait.
	Backlog(ctx context.Context) ([]Backlog, error)
	// EndpointCounts counts the webhook endpoints that are enabled, failing (enabled, and
	// the last attempt failed) and disabled, by these words.
	EndpointCounts(ctx context.Context) (map[string]int64, error)
}

// ResolveLife is how long a request may wait to be resolved: as long as the
// longest link lives. What could not be resolved by then has expired.
const ResolveLife = tenants.MaxLinkLife

// LeaseLife is how long a claimed delivery belongs to its worker without a word.
const LeaseLife = 60 * time.Second

// ClaimAsk bounds a claim. Accounts with work that is due are visited in a ring,
// beginning after Cursor, at most 100 a claim; each gives at most
// max(1, Free / accounts seen) rows, and none beyond Free less its own InFlight.
type ClaimAsk struct {
	Cursor   tenants.AccountID
	Free     int
	InFlight map[tenants.AccountID]int // of this worker
}

// Claim is what a worker got. Full means that more may be ready: claim again, or,
// when it holds no deliveries, wait for a slot to become free.
type Claim struct {
	Deliveries []Delivery
	Cursor     tenants.AccountID
	Full       bool
	// Next is when the next row will be due; zero when none waits.
	Next time.Duration
}

// Balance is the ledger's sum.
type Balance struct {
	Accepted int64
	States   map[RequestState]int64
}

// Plan is what resolving a request came to.
type Plan struct {
	Request RequestID
	// Suppress ends the request without a user; the rest is then empty.
	Suppress Reason
	// User is empty for a mail of KindAccounts. Recipient, Link and Event are then empty
	// too, and LinkLife is for how long the mail is worth sending.
	User UserID
	// Recipient is the user as it was read.
	Recipient User
	// Address is the digest of the address that the request was made for. When it is on
	// the account's suppression list no mail goes out: the request is suppressed for
	// ReasonSuppressed, with its link, and its event is recorded all the same. Without a
	// Mail the list is not asked.
	Address []byte
	// Link is for the request's own link, used unless the user already has MaxLive
	// live links, or one issued within Coalesce: then the newest live one is sent
	// again, and LinkRequest says so.
	Link     LinkSeed
	LinkLife time.Duration
	MaxLive  int
	Coalesce time.Duration
	Mail     *NewDelivery // nil: no mail goes out
	Event    Event
	// Budgets are spent in the same transaction, in order. When one is used up the
	// request is suppressed for its reason and nothing else of the plan happens.
	Budgets []Budget
}

// MailKind is the kind of the plan's mail.
func (p Plan) MailKind() Kind {
	if p.User == "" {
		return KindAccounts
	}
	return KindMail
}

// Standing is where a request stands.
type Standing struct {
	State  RequestState
	Reason Reason
	// Repeated: an earlier link is sent again, see Request.LinkRequest.
	Repeated bool
	// Mail is the plan's mail, leased to whoever resolved, with what is Known; nil: none,
	// or it waits for a claim.
	Mail *Delivery
}

// Budget is a limit whose count is a row of the database: exact over replicas and
// restarts, by the database's clock. No window has an edge: see Rate for what
// "Count in the time Per" means.
type Budget struct {
	// Key is 16 bytes, keyed: no row holds what it counts.
	Key    []byte
	Rates  []Rate
	Reason Reason
}

// NewDelivery names a delivery to be queued. NotAfter is the link's expiry less
// Margin.
type NewDelivery struct {
	ID     DeliveryID
	Margin time.Duration
	// Lease, when given, leases the delivery at once to whoever plans it: it is then
	// in its first attempt. It goes on in the slot that the resolving had.
	Lease LeaseID
}

// Redemption is a proven link and the hash of the new password.
type Redemption struct {
	Request           RequestID
	User              UserID
	CredentialVersion int64
	PasswordHash      []byte
	Notice            DeliveryID    // empty: no notice goes out
	NoticeLife        time.Duration // after which the notice is no longer worth sending
	Event             Event
	ClearTries        []byte // of UserChange
}

// Dispute is a proven link whose holder did not ask for it.
type Dispute struct {
	Request           RequestID
	User              UserID
	CredentialVersion int64
	Event             Event
}

// LinkKeys makes the proof inside a link.
type LinkKeys interface {
	PrimaryLinkKey() KeyID
	// LinkTag is HMAC-SHA-256 of input under the key; ErrUnknownKey.
	LinkTag(key KeyID, input []byte) ([]byte, error)
}

// Sealer encrypts what the database may keep but not read. The account and id
// are bound in: a value moved to another row does not open.
type Sealer interface {
	Seal(account tenants.AccountID, id string, plaintext []byte) ([]byte, error)
	Open(account tenants.AccountID, id string, sealed []byte) ([]byte, error)
}

// Digester gives a keyed digest of 32 bytes, its own for every account and scope.
type Digester interface {
	Digest(scope string, account tenants.AccountID, value []byte) []byte
}

// Passwords hashes and compares, a bounded number at a time; ErrBusy when too
// many wait. Verify of a nil stored value does the same work and says false.
type Passwords interface {
	Hash(ctx context.Context, account tenants.AccountID, user UserID, password tenants.Secret) ([]byte, error)
	Verify(ctx context.Context, account tenants.AccountID, user UserID, stored []byte, password tenants.Secret) (matches bool, err error)
}

// Renderer makes a mail of facts. It waits for nothing: ctx carries the trace.
type Renderer interface {
	Mail(ctx context.Context, facts MailFacts) (sdk.Mail, error)
}

// MailFacts is what a mail is made from.
type MailFacts struct {
	Template  string // from the closed list below
	Account   tenants.Account
	Logo      []byte // PNG; nil: none
	To        User
	Link      tenants.Secret // MailReset and MailInvite only
	Life      time.Duration  // of the link
	Expires   time.Time
	Changed   time.Time      // MailChanged only
	ForgotURL string         // where to begin again
	Accounts  []AccountEntry // MailAccounts only: one at least
	More      bool           // there are more accounts than those
	MessageID string
}

// AccountEntry is an account in a list of them.
type AccountEntry struct {
	Account   tenants.Account
	ForgotURL string
}

// The closed list of mails.
const (
	MailReset    = "reset"
	MailInvite   = "invite"
	MailChanged  = "changed"
	MailAccounts = "accounts"
)

// Plugins is the host of plugin processes.
type Plugins interface {
	// Send hands a message to the plugin of that name. Its error is always an
	// *sdk.Failure; a plugin that is missing or down is Temporary.
	Send(ctx context.Context, plugin string, request sdk.SendRequest) (sdk.Receipt, error)
}

// EventParser is the host of plugin processes, for callbacks.
type EventParser interface {
	// ParseEvent has the plugin of that name read a callback of its service. Its error
	// is always an *sdk.Failure: AuthenticationFailed for a callback that proves
	// nothing, ContentRefused for one that cannot be read, Misconfigured when the
	// plugin reads none or its settings do not allow it.
	ParseEvent(ctx context.Context, plugin string, settings sdk.Settings, callback sdk.Callback) ([]sdk.ProviderEvent, error)
}
