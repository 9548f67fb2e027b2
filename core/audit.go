package core

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/passmend/passmend/tenants"
)

// AuditName says what was changed. Where the OWASP Logging Vocabulary has a word it
// is that one.
type AuditName string

// The closed list of what is audited. Requests and deliveries are not: their ledger
// is their log.
const (
	AuditAccountCreated     AuditName = "account_created"
	AuditAccountUpdated     AuditName = "account_updated"
	AuditAccountDeleted     AuditName = "account_deleted"
	AuditDomainSet          AuditName = "domain_set"
	AuditDomainRemoved      AuditName = "domain_removed"
	AuditProviderCreated    AuditName = "provider_created"
	AuditProviderDeleted    AuditName = "provider_deleted"
	AuditUserCreated        AuditName = "user_created" // OWASP
	AuditUserUpdated        AuditName = "user_updated" // OWASP
	AuditUserDeleted        AuditName = "user_deleted" // OWASP
	AuditUserBanned         AuditName = "user_banned"
	AuditUserUnbanned       AuditName = "user_unbanned"
	AuditUsersImported      AuditName = "users_imported"        // one for each commit of an import
	AuditRoleChanged        AuditName = "authz_change"          // OWASP
	AuditPasswordChanged    AuditName = "authn_password_change" // OWASP
	AuditPasswordReset      AuditName = "authn_password_reset"  // by a link
	AuditResetDisputed      AuditName = "authn_password_reset_disputed"
	AuditTokenCreated       AuditName = "authn_token_created" // OWASP
	AuditTokenRegenerated   AuditName = "authn_token_regenerated"
	AuditTokenRevoked       AuditName = "authn_token_revoked" // OWASP
	AuditEndpointCreated    AuditName = "webhook_endpoint_created"
	AuditEndpointUpdated    AuditName = "webhook_endpoint_updated"
	AuditEndpointEnabled    AuditName = "webhook_endpoint_enabled"
	AuditEndpointDisabled   AuditName = "webhook_endpoint_disabled"
	AuditEndpointDeleted    AuditName = "webhook_endpoint_deleted"
	AuditSecretRotated      AuditName = "webhook_secret_rotated"
	AuditSuppressionCreated AuditName = "suppression_created"
	AuditSuppressionDeleted AuditName = "suppression_deleted"
	AuditHoldBegun          AuditName = "hold_begun"
	AuditHoldReleased       AuditName = "hold_released"
	AuditKeyCreated         AuditName = "key_created"
	AuditKeyRotated         AuditName = "key_rotated"
	AuditKeyDropped         AuditName = "key_dropped"
	AuditPluginInstalled    AuditName = "plugin_installed"
	AuditPluginRemoved      AuditName = "plugin_removed"
	AuditPluginTrusted      AuditName = "plugin_trusted"
	AuditPluginDistrusted   AuditName = "plugin_distrusted"
)

// AuditNames is every name, in the order of documentation.
func AuditNames() []AuditName {
	return []AuditName{
		AuditAccountCreated, AuditAccountUpdated, AuditAccountDeleted, AuditDomainSet, AuditDomainRemoved,
		AuditProviderCreated, AuditProviderDeleted,
		AuditUserCreated, AuditUserUpdated, AuditUserDeleted, AuditUserBanned, AuditUserUnbanned, AuditUsersImported, AuditRoleChanged,
		AuditPasswordChanged, AuditPasswordReset, AuditResetDisputed, AuditTokenCreated, AuditTokenRegenerated, AuditTokenRevoked,
		AuditEndpointCreated, AuditEndpointUpdated, AuditEndpointEnabled, AuditEndpointDisabled, AuditEndpointDeleted, AuditSecretRotated,
		AuditSuppressionCreated, AuditSuppressionDeleted, AuditHoldBegun, AuditHoldReleased, AuditKeyCreated, AuditKeyRotated, AuditKeyDropped,
		AuditPluginInstalled, AuditPluginRemoved, AuditPluginTrusted, AuditPluginDistrusted,
	}
}

// Valid says whether the name is one of the list.
func (n AuditName) Valid() bool { return slices.Contains(AuditNames(), n) }

// Audit is what a change says of itself.
type Audit struct {
	Name   AuditName
	Object AuditObject
	// Fields are the names of what became different, as on the wire. Values are never
	// kept: some are secrets, some are addresses.
	Fields []string
	// By is who did it when the call's Origin does not say: who redeems a link needs
	// no token. Empty: the service.
	By Actor
}

// AuditObject is what was changed: a type as on the wire, and the id, which is never
// an address.
type AuditObject struct{ Type, ID string }

// AuditEvent is an entry of an audit log. The entries of an account are a chain, and
// the platform's are one: each holds the hash of the one before it, so that none can
// be changed, taken out or put in unseen.
type AuditEvent struct {
	ID      AuditEventID
	Account tenants.AccountID // empty: the platform's
	Seq     int64             // of the chain, from 1, without gaps
	At      time.Time         // never before the entry before it
	Actor   Actor
	Name    AuditName
	Object  AuditObject
	Fields  []string
	Network string // of the client, see Network; empty: not by network
	Request string // X-Request-Id; empty: none
	// Previous and Hash are 32 bytes.
	Previous, Hash []byte
}

// AuditChain is how far a chain reaches.
type AuditChain struct {
	Account tenants.AccountID // empty: the platform's
	// Seq and Hash are the newest entry's; 0 and AuditGenesis when there is none.
	Seq  int64
	Hash []byte
	// Base and BaseHash are those of the newest entry that retention has removed: what
	// is there goes on from it. 0 and AuditGenesis when nothing was removed.
	Base     int64
	BaseHash []byte
}

// AuditQuery chooses entries, the newest first.
type AuditQuery struct {
	Name   AuditName    // empty: any
	Kind   ActorKind    // empty: any
	Actor  string       // empty: any
	Before AuditEventID // continues a list after the one of that id
	Limit  int          // 1 to 100
}

// AuditLog is one account's audit log; with no account, the platform's. A deleted
// account's is there like any other: what was done to it outlives it.
type AuditLog interface {
	// RecordAudit appends what was changed outside the store, which itself records
	// what it changes in the commit that changes it.
	RecordAudit(ctx context.Context, account tenants.AccountID, audit Audit) error
	// AuditEvents lists newest first.
	AuditEvents(ctx context.Context, account tenants.AccountID, query AuditQuery) ([]AuditEvent, error)
	// AuditChain answers ErrNotFound where nothing was ever recorded.
	AuditChain(ctx context.Context, account tenants.AccountID) (AuditChain, error)
	// AuditLinks lists oldest first, from after a Seq on.
	AuditLinks(ctx context.Context, account tenants.AccountID, after int64, limit int) ([]AuditEvent, error)
}

// The domains keep hashes of chains apart from all others; a change of what is
// hashed needs another number.
const (
	auditDomain        = "passmend audit event 1"
	auditGenesisDomain = "passmend audit chain 1"
)

// AuditGenesis is what the first entry of a chain follows.
func AuditGenesis(account tenants.AccountID) []byte {
	return auditHash(auditGenesisDomain, string(account))
}

// Digest is the Hash that an entry has to have: over Previous and all that it says.
func (e AuditEvent) Digest() []byte {
	texts := []string{
		auditDomain, string(e.Account), auditNumber(e.Seq), string(e.ID), auditNumber(e.At.UnixMicro()),
		string(e.Actor.Kind), e.Actor.ID, string(e.Name), e.Object.Type, e.Object.ID,
		e.Network, e.Request, string(e.Previous), auditNumber(int64(len(e.Fields))),
	}
	return auditHash(append(texts, e.Fields...)...)
}

func auditNumber(n int64) string { return string(binary.BigEndian.AppendUint64(nil, uint64(n))) }

// auditHash is over texts with their lengths, so that none can lend another its end.
func auditHash(texts ...string) []byte {
	digest := sha256.New()
	for _, text := range texts {
		digest.Write(binary.BigEndian.AppendUint32(nil, uint32(len(text))))
		digest.Write([]byte(text))
	}
	return digest.Sum(nil)
}
