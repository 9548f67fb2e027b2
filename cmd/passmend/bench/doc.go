// Package bench is `passmend bench`: load, a place for the mail to go, and the
// limits of the machine that both run on.
//
// Limits first. Load, server, plugin, database and sink share one machine, so
// that a figure says what this machine does with all of them, and no more than
// that. The load is a closed loop where it says connections: it waits for each
// answer, so that a stall costs it requests as well as time. Percentiles are of
// the samples of one repeat, which are few at a low rate: the number is in the
// note. Processor time and memory are read from /proc and are missing elsewhere.
//
// The server is the real one, `passmend serve` as a process of its own with a
// database and keys of its own; so is the plugin. Its limits and coalescing are
// off, because the load is one client that asks more than a person does, and
// its log level is the default. Nothing of it is tuned. Beside it stand, in the
// same run and under the same load: a bare Gin handler, a Gin handler on the
// same group commit, the SMTP provider without a server, and the disk.
//
//	client ──HTTP──► serve ──gRPC──► passmend-smtp ──SMTP──► sink
//	client ──HTTP──► reference (bare Gin; Gin + group commit)
//
// Everything listens on loopback. What was started is ended by its process id,
// and what was written is removed, on SQLite; a PostgreSQL database keeps what
// was put into it, and one that holds an account is refused.
package bench
