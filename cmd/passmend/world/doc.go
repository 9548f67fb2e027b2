// Package world is what a provider under test works with: servers on loopback that
// take mail, refuse it in every way, or never answer, and the settings that lead to
// them.
//
// Limits first: the SMTP server speaks no TLS and keeps what it takes in memory;
// the HTTP server knows no service's API, so a file says what it answers; a maildir
// is a folder that is looked at. Production code does not import it, but for the
// command 'passmend plugin test'.
//
// A [Spec] says which settings lead where: "${smtp.host}", "${smtp.port}",
// "${http.url}" and "${maildir}" in it stand for the servers, which are started
// when they are named. The same settings are used for a server of each class of
// failure, with its own values in their place.
package world
