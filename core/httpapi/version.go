package httpapi

import (
	"slices"
	"strings"

	"github.com/passmend/passmend/tenants"
)

// readVersion takes Keygen-Version, with or without a v (contract.md, C10). Two
// things depend on it: the names of idHeader, and the codes of login.
func (a *api) readVersion(c *call) error {
	sent := strings.TrimSpace(c.Request.Header.Get("Keygen-Version"))
	if sent == "" {
		return nil
	}
	version := strings.TrimPrefix(sent, "v")
	if !slices.Contains(tenants.APIVersions(), version) {
		return errVersion
	}
	c.version = version
	c.Header("Keygen-Version", version)
	return nil
}

// speaks settles the version, if the client named none.
func (c *call) speaks(version string) {
	if c.version == "" {
		c.version = version
		c.Header("Keygen-Version", version)
	}
}
