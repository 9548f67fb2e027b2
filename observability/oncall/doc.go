// Package oncall holds what the people on call look at against each other and
// against the service: the alerts and rules in ../alerts, the dashboards in
// ../dashboards and the runbooks in docs/runbooks.
//
// Limits first. It has tests only, and nothing imports it. That an expression means
// what its description says, a reader has to judge; what is proven is that every
// metric exists, that every rule and panel query gives data of a service under load,
// that every alert fires and keeps quiet when it should, and that what a runbook
// tells one to type works.
//
//	observability's registry ◄── names ── alerts, dashboards, runbooks
//	promtool ◄── alerts/*_test.yaml
//	Prometheus ──scrapes──► passmend serve ◄── load, failures, its canary      (-prometheus, make rules/check)
//	           ──scrapes──► passmend dev   ◄── load, failures, webhooks to loopback
package oncall
