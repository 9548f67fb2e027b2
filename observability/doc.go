// Package observability is what the people on call look at: logs, metrics and
// traces, set up once and put round core's ports as decorators.
//
// Limits first. It never decides what the service does: every decorator gives
// back exactly what the port behind it gave. It holds no global state and
// registers nothing with any. It opens no listener: cmd serves MetricsHandler.
// The account label is always "_other" until accounts can be told apart in
// metrics by configuration. Without an exporter there are no spans at all, and
// then log lines carry no trace ids.
//
// Names are a contract (operability.md): dashboards, rules and runbooks are held
// against them. Every label value is from a closed list in labels.go, or a plugin
// or operation that was announced by our own code and has the shape of a name;
// anything else becomes "other", so that no address, token or id can reach a
// series.
//
// One request is two traces, joined by a link:
//
//	POST /v1/accounts/{account}/passwords      SERVER, new root, caller's context linked
//	└─ create reset                            PRODUCER, its trace parent goes into the row
//	   └─ INSERT requests                      CLIENT
//
//	process reset                              CONSUMER, new root, linked to create reset;
//	│                                          one to resolve, then one for each attempt at the mail
//	├─ claim deliveries                        CLIENT
//	├─ resolve request, or render mail         INTERNAL
//	├─ passmend.provider.v1.Provider/Send      CLIENT, its trace parent goes to the plugin
//	│  └─ dial, tls, auth, data                the plugin's own steps, from its answer; of an
//	│                                          event below POST, CLIENT
//	└─ UPDATE deliveries                       CLIENT; a retry or a failover is an event of process
package observability
