// Package canary resets a password of the service's own every minute, through each
// provider of the platform's chain, the way that people go: it asks over HTTP, takes
// the mail from an inbox, opens the link and chooses a password on the page.
//
// Limits first. It says that a way is open, not why it is closed: the stage that was
// not reached and a sentence, in the log. It takes mail by SMTP only, without TLS:
// whoever runs it sees to it that mail to its address is brought there, with the
// envelope's recipient as it was. A mail that takes longer than Config.Patience counts
// as lost. It resets nobody's password but that of people it makes for the purpose,
// in accounts that are the service's own, with a password that nobody ever knew; they
// are forgotten ten minutes later.
//
// Each reset has an address of its own, local+TAG@domain. So nobody else can have
// asked for it, no limit per address stands in the way, and a mail that is late is
// taken for nobody's. Links are opened where they lead to this service and nowhere else.
//
//	ask ──► the service, its worker, its plugin ──► provider ──► inbox ──► open ──► choose
//	accepted                                                     delivered  opened   redeemed
package canary
