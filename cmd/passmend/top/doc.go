// Package top draws what a replica is doing, from two scrapes of its operations port
// and, where the database can be asked, the holds and the accounts' names.
//
// Limits first. Rates, plugins and breakers are that one replica's; the queue is
// everybody's. A frame is plain text that fits 80 columns and 24 lines, and shows what
// is worst where there is no room for all; colour repeats what a word says. It keeps
// nothing: for yesterday there are dashboards.
package top
