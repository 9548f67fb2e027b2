// Package evidence holds what a run of the real service leaves behind against what
// it must and must not: its spans, all there and linked, and its secrets, nowhere.
//
// Limits first. It has tests only, and nothing imports it. What it does not look
// into, it proves nothing about: memory, swap and core dumps are not searched. A
// secret that is cut up or encrypted is not found.
//
//	passmend serve ──OTLP──► collector    traces_test.go: one request, one chain, two processes
//	   │      │
//	   │      └─ passmend-smtp ──► mailbox
//	   └─ log, /metrics, database, PostgreSQL's log and sessions, command lines
//	                                      secrecy_test.go: canaries in five encodings (T19)
package evidence
