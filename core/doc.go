// Package core is password recovery itself: what a request is, how it finds its
// user, how its link is made and spent, and the ports it needs for that.
//
// Limits first: it names no framework, no database and no wire. It starts no
// goroutine: core/worker does. It keeps nothing: rows are core/sqlstore's, keys
// core/keys', texts core/render's, pages and JSON core/httpapi's.
//
// A request, whose state follows its mail:
//
//	Intake.Accept          Resolver.Resolve            Dispatcher.Dispatch
//	     |                       |                            |
//	  pending ──────────────► pending ─────────────────────► sent ───► redeemed
//	     |                       |                            (Redeemer.Redeem)
//	     |                       ├──► sent        no mail wanted; the event is queued
//	     |                       |
//	     ├──► suppressed         ├──► failed      refused for good, or quarantined
//	     |    unknown user,      ├──► expired     the link would be dead on arrival
//	     |    too long           └──► superseded  the credential changed meanwhile
//	     └──► suppressed
//	          no mail goes to the address; its event is queued ───► redeemed
//
// Every state but pending is an end, and erases the sealed address; a sent link
// that nobody used stays sent. A redeemed request may have been pending: two
// requests can share a link. Per account, the requests accepted are always the
// sum of the states.
//
// Whoever opened a link may say that they did not ask for it (Redeemer.Dispute): the
// link is dead, and the state stays.
//
// A delivery:
//
//	queued ──claim──► leased ──settle──► done | failed | expired | superseded
//	   ▲                 |
//	   ├── settle, later ┤
//	   └── lease lapsed ─┴── the third time ──► quarantined
//
// What a provider's service reports later (ProviderEvents.Take) moves a done delivery
// on, and never its request:
//
//	done ──► delivered ──► bounced ──► complained
//
// Steps may be skipped, and none is taken back: of several reports the gravest
// stands, in whatever order they come. The last two put the address on the account's
// suppression list.
package core
