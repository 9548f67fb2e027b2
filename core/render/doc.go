// Package render makes a finished mail of facts: data in, [sdk.Mail] out.
//
// Limits first: it sends nothing, looks nothing up and writes no log. It knows
// three mails: reset, invite (a reset for a user who has no password yet) and
// changed. The names of people and products are hostile input to it: what it
// cannot show safely it leaves out, and greets without a name. It does not
// judge what a product's name says; "Booking.com" is a name, and a mail client
// may still make a link of it.
//
// What decides where a mail goes or comes from is refused when it is wrong
// (ErrRecipient, ErrSender, ErrLink, ErrFacts). What only decorates it (accent,
// logo, support address, a name) falls back instead: a person waits for it.
//
// Words live in locales/TAG.json, one file a language, as plain phrases with
// {placeholders}. Layout lives in templates/ and holds no words. A phrase is
// filled first and escaped afterwards, so that neither a translation nor a name
// can bring markup in.
//
//	facts ──► names cleaned ──► phrases of the locale ──► mail.txt, mail.html ──► sdk.Mail
package render
