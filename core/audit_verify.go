package core

import (
	"bytes"
	"context"
	"fmt"

	"github.com/passmend/passmend/tenants"
)

// BrokenLink is the first entry of a chain that is not as it was written.
type BrokenLink struct {
	Account tenants.AccountID // empty: the platform's
	Seq     int64
	ID      AuditEventID // empty: it is not there
	Why     string
}

func (e *BrokenLink) Error() string {
	whose := "the platform's audit log"
	if e.Account != "" {
		whose = "the audit log of account " + string(e.Account)
	}
	id := ""
	if e.ID != "" {
		id = " (" + string(e.ID) + ")"
	}
	return fmt.Sprintf("%s is broken at entry %d%s: %s", whose, e.Seq, id, e.Why)
}

const (
	// auditPage is how many entries are verified at a time.
	auditPage = 500
	// verifyTries bounds how often a walk begins anew because retention moved the
	// chain's beginning meanwhile.
	verifyTries = 5
)

// VerifyAudit walks a chain from its beginning to its end and gives how far it
// reaches. *BrokenLink at the first entry that was changed, taken out or put in;
// ErrNotFound where there is no chain. It cannot see a chain that was written anew
// from some entry on, end and all: for that, hold the Hash against one noted before.
func VerifyAudit(ctx context.Context, log AuditLog, account tenants.AccountID) (AuditChain, error) {
	for try := 1; ; try++ {
		chain, err := log.AuditChain(ctx, account)
		if err != nil {
			return AuditChain{}, err
		}
		broken, err := chain.walk(ctx, log)
		if err != nil {
			return AuditChain{}, err
		}
		if broken == nil {
			return chain, nil
		}
		after, err := log.AuditChain(ctx, account)
		if err != nil {
			return AuditChain{}, err
		}
		if after.Base == chain.Base || try == verifyTries {
			return chain, broken
		}
	}
}

// walk gives what is broken, the first; nil when all is well. What is appended while
// it walks is left for the next time.
func (c AuditChain) walk(ctx context.Context, log AuditLog) (*BrokenLink, error) {
	at, hash := c.Base, c.BaseHash
	if c.Base == 0 && !bytes.Equal(hash, AuditGenesis(c.Account)) {
		return &BrokenLink{Account: c.Account, Seq: 0, Why: "the beginning is not the account's"}, nil
	}
	for at < c.Seq {
		links, err := log.AuditLinks(ctx, c.Account, at, auditPage)
		if err != nil {
			return nil, err
		}
		if len(links) == 0 {
			return &BrokenLink{Account: c.Account, Seq: at + 1, Why: "it is missing"}, nil
		}
		for _, link := range links {
			if at == c.Seq {
				break
			}
			if why := link.flaw(at, hash); why != "" {
				broken := &BrokenLink{Account: c.Account, Seq: link.Seq, ID: link.ID, Why: why}
				if link.Seq != at+1 {
					broken.Seq, broken.ID = at+1, ""
				}
				return broken, nil
			}
			at, hash = link.Seq, link.Hash
		}
	}
	if !bytes.Equal(hash, c.Hash) {
		return &BrokenLink{Account: c.Account, Seq: c.Seq, Why: "the chain was to end with another"}, nil
	}
	return nil, nil
}

// flaw says what is wrong with an entry that should follow another; empty: nothing.
func (e AuditEvent) flaw(after int64, hash []byte) string {
	switch {
	case e.Seq != after+1:
		return "it is missing"
	case !bytes.Equal(e.Previous, hash):
		return "it does not follow from the one before it"
	case !bytes.Equal(e.Digest(), e.Hash):
		return "it was changed"
	}
	return ""
}
