// Package chaos is what the crash and fault tests of the real command work with: a
// proxy that spoils a TCP connection, an SMTP sink that has a mail on disk before
// it says so, a load that records what it was told, and the comparison of the two.
//
// Limits first. Nothing of the product imports it. It kills processes, not
// machines: what the kernel was given survives, so a database that does not sync
// is shown to lose only where its own memory held the difference. It compares
// what came out with what was promised and knows no rule of recovery.
//
//	Load ──► passmend serve ──► plugin ──► Proxy ──► Sink
//	  │ journal (synced)    ▲ kill -9                  │ journal (synced, then 250)
//	  └──────────────────► Compare ◄───────────────────┘
package chaos
