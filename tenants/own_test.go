package tenants_test

import (
	"testing"

	"github.com/passmend/passmend/tenants"
)

func TestOwnAccountsAreNobodyElse_s(t *testing.T) {
	t.Parallel()
	first, second := tenants.OwnID("canary relay"), tenants.OwnID("canary other")
	if first == second || first != tenants.OwnID("canary relay") {
		t.Errorf("ids %s and %s must differ, and stay", first, second)
	}
	for _, id := range []tenants.AccountID{first, second, tenants.FirstOwn, tenants.LastOwn} {
		if canonical, ok := tenants.ParseUUID(string(id)); !ok || canonical != string(id) || !id.Own() {
			t.Errorf("%s must be a canonical UUID and the service's own", id)
		}
	}
	for _, id := range []tenants.AccountID{"", "0199f3a2-0000-7000-8000-000000000001", "00000000-0000-7fff-bfff-ffffffffffff", "00000000-0000-9000-8000-000000000000", "00000000-0000-8000"} {
		if id.Own() {
			t.Errorf("%q must be no account of the service's own", id)
		}
	}
}
