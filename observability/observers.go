package observability

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/passmend/passmend/plugins/sdk"
)

// The methods in this file satisfy the observer interfaces of the store, the
// plugin host, the edge and the keys, which are of built-in types so that neither
// side imports the other. None blocks.

// protocol is the version of the provider contract that the host speaks.
const protocol = "1"

// Commit counts a commit of so many rows of a kind: accept, outcome or turn.
func (m *Metrics) Commit(kind string, _ int, wait, took time.Duration) {
	m.poolWait.Observe(wait.Seconds())
	m.txDuration.WithLabelValues(commitKinds.of(kind)).Observe(took.Seconds())
}

// Error counts an operation that the database failed, by its name.
func (m *Metrics) Error(op string) {
	m.dbErrors.WithLabelValues(m.storeOps.learn(op, "")).Inc()
}

// PluginStarted says that a plugin's process serves. From now on its name is a
// label; before, it is "other".
func (m *Metrics) PluginStarted(name, version string) {
	version = versionLabel(version)
	label := m.plugins.learn(name, version)
	m.pluginUp.DeletePartialMatch(prometheus.Labels{"plugin": label})
	m.pluginInfo.DeletePartialMatch(prometheus.Labels{"plugin": label})
	m.pluginUp.WithLabelValues(label, version, protocol).Set(1)
	m.pluginInfo.WithLabelValues(label, version, protocol).Set(1)
}

// PluginExited says that a plugin's process ended or could not be started. Only
// the host calls it, with plugins that are installed.
func (m *Metrics) PluginExited(name, reason string) {
	label, version := m.plugins.of(name)
	if label == other {
		version = other
		label = m.plugins.learn(name, version)
	}
	m.pluginUp.WithLabelValues(label, version, protocol).Set(0)
	if reason = exitReasons.of(reason); reason != exitStop {
		m.pluginRestarts.WithLabelValues(label, reason).Inc()
	}
}

// Call counts one call to a plugin, Check or Send; its outcome is one of sdk's.
func (m *Metrics) Call(name, method, outcome string, took time.Duration) {
	label, _ := m.plugins.of(name)
	method = pluginMethods.of(method)
	m.rpcDuration.WithLabelValues(label, method).Observe(took.Seconds())
	if outcome != string(sdk.Accepted) && outcome != string(sdk.AcceptedUnknown) {
		m.rpcErrors.WithLabelValues(label, method, results.of(outcome)).Inc()
	}
}

// Rejected counts a recovery request that was refused before it was stored.
func (m *Metrics) Rejected(reason string) { m.rejected.WithLabelValues(rejections.of(reason)).Inc() }

// RateLimited counts a call that met a limit.
func (m *Metrics) RateLimited(scope, action string) {
	m.rateLimited.WithLabelValues(limitScopes.of(scope), limitActions.of(action)).Inc()
}

// Hashed counts a job of the password hasher: hash, verify or rejected. A verify
// does the work of a hash.
func (m *Metrics) Hashed(op string, _, work time.Duration) {
	switch op {
	case "hash", "verify":
		m.hashDuration.WithLabelValues(hashAlgorithm).Observe(work.Seconds())
	case "rejected":
		m.hashRejected.Inc()
	}
}

// Reaped counts leases that lapsed; the reaper does not tell of which lane.
func (m *Metrics) Reaped(n int) { m.rescued.WithLabelValues(other).Add(float64(n)) }

// BreakerState shows the worst breaker of a configured provider: 0 closed, 1 half
// open, 2 open. Names beyond the bound are "other".
func (m *Metrics) BreakerState(provider string, state int) {
	m.breakerState.WithLabelValues(m.providers.learn(provider, "")).Set(float64(state))
}
