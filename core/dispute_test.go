package core_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

func (h *house) dispute(token tenants.Secret) error {
	return h.redeemer.Dispute(h.t.Context(), h.account, token)
}

func TestADisputedLinkIsDead(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "a")
	for range 2 {
		h.ask("ada@example.com")
	}
	tokens := h.links(2)
	if err := h.dispute(tokens[0]); err != nil {
		t.Fatal(err)
	}
	if err := h.redeem(tokens[0], "a new one, remembered"); !errors.Is(err, core.ErrUnknownLink) {
		t.Errorf("redeem: %v", err)
	}
	if err := h.dispute(tokens[0]); !errors.Is(err, core.ErrUnknownLink) {
		t.Errorf("a second time: %v", err)
	}
	if _, err := h.signIn.Password(t.Context(), h.account, h.user.Address, tenants.NewSecret(oldPassword)); err != nil {
		t.Errorf("the old password: %v", err)
	}
	if err := h.redeem(tokens[1], "a new one, remembered"); err != nil {
		t.Errorf("the other link: %v", err)
	}
}

func TestOnlyWhoHasTheLinkDisputesIt(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "a")
	h.ask("ada@example.com")
	token := h.links(1)[0]
	raw := token.Reveal()
	for _, wrong := range []string{"", "x", raw[:len(raw)-4] + "AAAA"} {
		if err := h.dispute(tenants.NewSecret(wrong)); !errors.Is(err, core.ErrUnknownLink) {
			t.Errorf("%d characters: %v", len(wrong), err)
		}
	}
	h.exec(`UPDATE requests SET expires_at = expires_at - 3601000000`)
	if err := h.dispute(token); !errors.Is(err, core.ErrExpiredLink) {
		t.Errorf("expired: %v", err)
	}
	h.exec(`UPDATE requests SET expires_at = expires_at + 3601000000`)
	if err := h.dispute(token); err != nil {
		t.Errorf("positive control: %v", err)
	}
}

// A repeat that waits to send the link again does not.
func TestADisputedLinkIsNotSentAgain(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]map[string]int{
		"disputed":         {"sent": 1, "superseded": 1},
		"positive control": {"sent": 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, time.Hour, "a")
			h.ask("ada@example.com")
			token := h.links(1)[0]
			h.states()
			h.plugin.mu.Lock()
			h.plugin.answer = func(n int, _ string) error {
				if n > 2 {
					return nil
				}
				if name == "disputed" {
					if err := h.dispute(token); err != nil {
						t.Error(err)
					}
				}
				return &sdk.Failure{Kind: sdk.Temporary, Public: "later"}
			}
			h.plugin.mu.Unlock()
			h.ask("ada@example.com")
			if diff := cmp.Diff(want, h.states()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
