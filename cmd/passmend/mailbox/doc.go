// Package mailbox is the development mailbox: a small SMTP server that keeps what
// it receives, and a page and JSON that show it, so that a reset mail can be read
// on a machine that sends none.
//
// Limits first: it listens on loopback only, takes mail from anybody for anybody,
// offers no TLS and no sign-in, and forgets everything when the process ends. It
// keeps the newest messages only (Config.Capacity, and 64 MiB in all). It shows
// secrets: the links in the mails it holds are the point of it. Development and
// `passmend demo` use it, `passmend serve` never does.
//
// It depends on nothing of ours, so that what it shows is what arrived:
//
//	any SMTP client ──► session ──► parse ──► Messages, Wait ──► /dev/mailbox
package mailbox
