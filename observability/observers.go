package observability

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/plugins/sdk"
)

// The methods in this file satisfy the observer interfaces of the store, the
// plugin host, the edge and the keys, which are of built-in types so that neither
// side imports the other. None blocks.

// protocol is the version of the provider contract that the host speaks.
const protocol = "1"

// Commit counts a commit of so many rows of a kind: accept, plan, outcome or turn.
// trace is what Trace gave for one of the callers.
func (m *Metrics) Commit(kind string, _ int, wait, took time.Duration, trace string) {
	m.poolWait.with().Observe(wait.Seconds())
	observeTraced(m.txDuration.with(commitKinds.of(kind)), took, trace)
}

// Trace gives the id of the trace of ctx; empty when it is not kept.
func (m *Metrics) Trace(ctx context.Context) string { return keptTrace(ctx) }

// Error counts an operation that the database failed, by its name.
func (m *Metrics) Error(op string) {
	m.dbErrors.with(m.storeOps.learn(op, "")).Inc()
}

// PluginStarted says that a plugin's process serves. From now on its name is a
// label; before, it is "other".
func (m *Metrics) PluginStarted(name, version string) {
	version = versionLabel(version)
	label := m.plugins.learn(name, version)
	m.pluginUp.forget(0, label)
	m.pluginInfo.forget(0, label)
	m.pluginUp.with(label, version, protocol).Set(1)
	m.pluginInfo.with(label, version, protocol).Set(1)
	for _, level := range pluginLevels {
		m.pluginLogLines.with(label, level)
		m.pluginLogDropped.with(label, level)
	}
}

// PluginExited says that a plugin's process ended or could not be started. Only
// the host calls it, with plugins that are installed.
func (m *Metrics) PluginExited(name, reason string) {
	label, version := m.plugins.of(name)
	if label == other {
		version = other
		label = m.plugins.learn(name, version)
	}
	m.pluginUp.with(label, version, protocol).Set(0)
	if reason = exitReasons.of(reason); reason != exitStop {
		m.pluginRestarts.with(label, reason).Inc()
	}
}

// Call counts one call to a plugin, Check, Send or ParseEvent; its outcome is one of sdk's.
func (m *Metrics) Call(ctx context.Context, name, method, outcome string, took time.Duration) {
	label, _ := m.plugins.of(name)
	method = pluginMethods.of(method)
	observe(ctx, m.rpcDuration.with(label, method), took)
	if outcome != string(sdk.Accepted) && outcome != string(sdk.AcceptedUnknown) {
		m.rpcErrors.with(label, method, results.of(outcome)).Inc()
	}
}

// Rejected counts a recovery request that was refused before it was stored.
func (m *Metrics) Rejected(reason string) { m.rejected.with(rejections.of(reason)).Inc() }

// RateLimited counts a call that met a limit.
func (m *Metrics) RateLimited(scope, action string) {
	m.rateLimited.with(limitScopes.of(scope), limitActions.of(action)).Inc()
}

// Hashed counts a job of the password hasher: hash, verify or rejected. A verify
// does the work of a hash. The span of ctx, which Passwords began, gets the wait.
func (m *Metrics) Hashed(ctx context.Context, op string, wait, work time.Duration) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(attribute.Int64("passmend.hash.wait_ms", wait.Milliseconds()))
	}
	switch op {
	case "hash", "verify":
		observe(ctx, m.hashDuration.with(hashAlgorithm), work)
	case "rejected":
		m.hashRejected.with().Inc()
	}
}

// HashUpgraded counts a stored hash of that algorithm that was made anew.
func (m *Metrics) HashUpgraded(from string) {
	m.hashUpgraded.with(hashOrigins.of(from)).Inc()
}

// Lapsed counts leases that ended without a result, and the deliveries that were
// put aside for it.
func (m *Metrics) Lapsed(kind string, leases, quarantined int) {
	lane := laneOf(core.Kind(kind))
	m.rescued.with(lane).Add(float64(leases))
	m.quarantined.with(lane).Add(float64(quarantined))
}

// Maintained notes that a task of maintenance, reap or retain, was done here.
func (m *Metrics) Maintained(task string) {
	task = tasks.of(task)
	m.leader.with(task).Set(1)
	m.maintenanceDone.with(task).SetToCurrentTime()
}

// Sandboxed shows whether a layer of the cage round a plugin's process is active.
func (m *Metrics) Sandboxed(name, layer string, active bool) {
	value := 0.0
	if active {
		value = 1
	}
	m.pluginSandbox.with(m.plugins.learn(name, ""), cageLayers.of(layer)).Set(value)
}

// Line counts a line that a plugin wrote.
func (m *Metrics) Line(name, level string, dropped bool) {
	family := m.pluginLogLines
	if dropped {
		family = m.pluginLogDropped
	}
	family.with(m.plugins.learn(name, ""), pluginLevels.of(level)).Inc()
}

// LinkOpened counts a link that was opened on the hosted pages.
func (m *Metrics) LinkOpened(result string) { m.formViews.with(viewResults.of(result)).Inc() }

// CertExpires shows when the certificate of a listener, public or admin, ends.
func (m *Metrics) CertExpires(listener string, at time.Time) {
	m.certExpiry.with(listeners.of(listener)).Set(float64(at.Unix()))
}

// CanaryBegan shows every stage of a provider's canary as of now: what never comes
// through grows old as well as what stopped to.
func (m *Metrics) CanaryBegan(provider string) {
	provider = m.providers.learn(provider, "")
	for _, stage := range canaryStages {
		m.canarySuccess.with(stage, provider).SetToCurrentTime()
	}
}

// Canary notes that the service's own reset by a provider came through a stage,
// accepted, delivered, opened or redeemed, so long after its beginning.
func (m *Metrics) Canary(provider, stage string, took time.Duration) {
	stage = canaryStages.of(stage)
	m.canarySuccess.with(stage, m.providers.learn(provider, "")).SetToCurrentTime()
	m.canaryDuration.with(stage).Observe(took.Seconds())
}

// CanaryLink notes whether a canary's mail arrived with the link that was sent.
func (m *Metrics) CanaryLink(provider string, intact bool) {
	value := 0.0
	if intact {
		value = 1
	}
	m.canaryIntact.with(m.providers.learn(provider, "")).Set(value)
}

// BreakerState shows the worst breaker of a configured provider: 0 closed, 1 half
// open, 2 open. Names beyond the bound are "other".
func (m *Metrics) BreakerState(provider string, state int) {
	m.breakerState.with(m.providers.learn(provider, "")).Set(float64(state))
}
