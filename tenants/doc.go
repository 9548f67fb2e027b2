// Package tenants says whose request it is: the account, its branding, its
// deliver defaults and policies, and how {ACCOUNT} in a path becomes one.
//
// Limits first: it stores nothing and knows no wire. Rows are core/sqlstore's,
// JSON is core/httpapi's. Accounts handed out by the Resolver are shared values
// and must not be changed.
package tenants
