// Package sdk is what a delivery provider implements: one interface and plain
// structs. It imports the standard library only, so that a vendor's dependencies
// stay the vendor's.
//
// Limits first: a provider sees one message at a time, never a list of users; it
// gets secrets with each call and never at start; it has no storage; what it
// prints is read as log lines and redacted. Retries, failover, limits and
// templates are the host's.
//
// The wire (go-plugin, gRPC, mutual TLS) is in [plugins/sdk/serve]; a main is
//
//	func main() { serve.Provider(myprovider.New()) }
package sdk
