package core

import (
	"bytes"
	"slices"

	"github.com/passmend/passmend/tenants"
)

// fieldChange says whether a field is another than before.
type fieldChange struct {
	name    string
	differs bool
}

// changedFields are the names of those that differ.
func changedFields(fields []fieldChange) (names []string) {
	for _, field := range fields {
		if field.differs {
			names = append(names, field.name)
		}
	}
	return names
}

// AccountAudit gives what a change of an account is recorded as: nothing when it
// changed nothing.
func AccountAudit(before, after tenants.Account) []Audit {
	b, a := before.Branding, after.Branding
	fields := changedFields([]fieldChange{
		{"slug", before.Slug != after.Slug},
		{"name", before.Name != after.Name},
		{"protected", before.Protected != after.Protected},
		{"status", before.Status != after.Status},
		{"apiVersion", before.APIVersion != after.APIVersion},
		{"deliverDefault", before.DeliverDefault != after.DeliverDefault},
		{"deliverPolicy", before.DeliverPolicy != after.DeliverPolicy},
		{"linkLife", before.LinkLife != after.LinkLife},
		{"linkTemplate", before.LinkTemplate != after.LinkTemplate},
		{"passwordMinimum", before.Password != after.Password},
		{"providers", !slices.Equal(before.Providers, after.Providers)},
		{"branding.productName", b.ProductName != a.ProductName},
		{"branding.accent", b.Accent != a.Accent},
		{"branding.supportAddress", b.SupportAddress != a.SupportAddress},
		{"branding.fromName", b.FromName != a.FromName},
		{"branding.fromAddress", b.FromAddress != a.FromAddress},
		{"branding.logo", b.LogoHash != a.LogoHash},
		{"metadata", !bytes.Equal(before.Metadata, after.Metadata)},
	})
	if len(fields) == 0 {
		return nil
	}
	return []Audit{{Name: AuditAccountUpdated, Object: AuditObject{"accounts", string(after.ID)}, Fields: fields}}
}

// UserAudit gives what a change of a user is recorded as: what concerns rights and
// credentials each by its own name. endedTokens says that it ended API tokens.
func UserAudit(before, after User, endedTokens bool) (audits []Audit) {
	about := AuditObject{"users", string(after.ID)}
	fields := changedFields([]fieldChange{
		{"email", before.Address != after.Address},
		{"firstName", before.FirstName != after.FirstName},
		{"lastName", before.LastName != after.LastName},
		{"metadata", !bytes.Equal(before.Metadata, after.Metadata)},
	})
	if len(fields) > 0 {
		audits = append(audits, Audit{Name: AuditUserUpdated, Object: about, Fields: fields})
	}
	if before.Role != after.Role {
		audits = append(audits, Audit{Name: AuditRoleChanged, Object: about, Fields: []string{"role"}})
	}
	switch {
	case after.Banned && !before.Banned:
		audits = append(audits, Audit{Name: AuditUserBanned, Object: about, Fields: []string{"status"}})
	case before.Banned && !after.Banned:
		audits = append(audits, Audit{Name: AuditUserUnbanned, Object: about, Fields: []string{"status"}})
	}
	if !bytes.Equal(before.PasswordHash, after.PasswordHash) {
		audits = append(audits, PasswordAudit(AuditPasswordChanged, after.ID, endedTokens))
	}
	return audits
}

// DisputeAudit is the entry of a link that its holder did not ask for.
func DisputeAudit(user UserID) Audit {
	return Audit{Name: AuditResetDisputed, Object: AuditObject{"users", string(user)}, By: Self(user)}
}

// PasswordAudit is a new password's entry: AuditPasswordChanged or AuditPasswordReset.
func PasswordAudit(name AuditName, user UserID, endedTokens bool) Audit {
	audit := Audit{Name: name, Object: AuditObject{"users", string(user)}, Fields: []string{"password"}, By: Self(user)}
	if endedTokens {
		audit.Fields = append(audit.Fields, "tokens")
	}
	return audit
}
