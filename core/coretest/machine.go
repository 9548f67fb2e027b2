package coretest

import (
	"context"
	"errors"
	"flag"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/passmend/passmend/core"
)

// enoughRuns keeps an ordinary test run short; -rapid.checks=1000 asks for more.
const enoughRuns = 30

// exerciseMachine drives the ledger through any order of events beside a model
// of it: nothing is lost, nothing ends twice, the balance is always zero.
func exerciseMachine(t *testing.T, open Open) {
	f := setup(t, open)
	asked := flag.Lookup("rapid.checks")
	thorough := asked != nil && asked.Value.String() != asked.DefValue
	runs, broken := 0, false
	rapid.Check(t, func(rt *rapid.T) {
		// A failure is run again and again to find its shortest form: never cut those.
		if runs++; runs > enoughRuns && !thorough && !broken {
			return
		}
		before := broken
		broken = true
		m := &machine{f: f, rt: rt, user: f.newUser(f.account),
			requests: map[core.RequestID]*modelRequest{}, deliveries: map[core.DeliveryID]*modelDelivery{},
			budgets: []modelBudget{
				{Budget: budget(core.ReasonRecipientLimit, core.Rate{Count: 3, Per: 30 * time.Hour})},
				{Budget: budget(core.ReasonRecipientAll, core.Rate{Count: 4, Per: 40 * time.Hour})},
			}}
		defer m.drain() // the next run begins with an empty ledger
		rt.Repeat(map[string]func(*rapid.T){
			"accept": m.accept, "claim": m.claim, "resolve": m.resolve, "settle": m.settle, "stale": m.stale,
			"lapse": m.lapse, "release": m.release, "extend": m.extend, "redeem": m.redeem, "pass": m.pass,
			"age": m.age, "retain": m.retain, "": m.check,
		})
		broken = before
	})
}

type modelRequest struct {
	state  core.RequestState
	reason core.Reason
	own    int64 // credential version of its own unspent link; 0: none
	linked bool  // it has a link, its own or another's, that has not expired
	aged   bool  // it is old enough to be removed
}

// modelBudget is a budget of one rate, and how long ago each was spent that counts.
type modelBudget struct {
	core.Budget
	spent []time.Duration
}

type modelDelivery struct {
	request       core.RequestID
	kind          core.Kind
	attempt, lost int
	ended         bool
	held          *core.Delivery
}

type machine struct {
	f          *fixture
	rt         *rapid.T
	user       core.User
	requests   map[core.RequestID]*modelRequest
	deliveries map[core.DeliveryID]*modelDelivery
	budgets    []modelBudget
	stales     []core.Delivery // leases that are no longer good
}

func (m *machine) ok(err error) {
	if err != nil {
		m.rt.Fatal(err)
	}
}

func (m *machine) ctx() context.Context { return m.f.t.Context() }

func (m *machine) accept(*rapid.T) {
	request := newRequest()
	m.ok(m.f.Store.Accept(m.ctx(), m.f.account, request))
	m.requests[request.ID] = &modelRequest{state: core.StatePending}
}

func (m *machine) claim(rt *rapid.T) {
	claim, err := m.f.Store.Claim(m.ctx(), core.ClaimAsk{Free: rapid.IntRange(1, 6).Draw(rt, "free")})
	m.ok(err)
	waiting := 0
	for _, d := range m.deliveries {
		if !d.ended && d.held == nil {
			waiting++
		}
	}
	if len(claim.Deliveries) == 0 && waiting > 0 {
		rt.Fatalf("%d deliveries wait and none was claimed", waiting)
	}
	for _, delivery := range claim.Deliveries {
		m.claimed(delivery)
	}
}

func (m *machine) claimed(delivery core.Delivery) {
	d := m.deliveries[delivery.ID]
	if d == nil {
		// The store names a resolve delivery; the model meets it here.
		if delivery.Kind != core.KindResolve || m.requests[delivery.Request] == nil {
			m.rt.Fatalf("claimed a delivery that never was: %+v", delivery)
		}
		for _, other := range m.deliveries {
			if other.request == delivery.Request && other.kind == core.KindResolve {
				m.rt.Fatalf("request %s has two resolve deliveries", delivery.Request)
			}
		}
		d = &modelDelivery{request: delivery.Request, kind: core.KindResolve}
		m.deliveries[delivery.ID] = d
	}
	d.attempt++
	if d.ended || d.held != nil || d.kind != delivery.Kind || d.attempt != delivery.Attempt || d.lost != delivery.Lost {
		m.rt.Fatalf("claimed %+v, model has %+v", delivery, *d)
	}
	d.held = &delivery
}

// leased draws a delivery that is held, of a kind where one is named.
func (m *machine) leased(rt *rapid.T, mayDo func(core.Kind) bool) *modelDelivery {
	var ids []core.DeliveryID
	for _, id := range slices.Sorted(maps.Keys(m.deliveries)) {
		if d := m.deliveries[id]; d.held != nil && mayDo(d.kind) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		rt.Skip("nothing is leased")
	}
	return m.deliveries[rapid.SampledFrom(ids).Draw(rt, "delivery")]
}

func anyKind(core.Kind) bool { return true }

// lose ends a lease in the model.
func (m *machine) lose(d *modelDelivery) {
	m.stales = append(m.stales, *d.held)
	d.held = nil
}

func (m *machine) resolve(rt *rapid.T) {
	d := m.leased(rt, func(kind core.Kind) bool { return kind == core.KindResolve })
	p := plan(m.user, d.request)
	request := m.requests[d.request]
	switch rapid.SampledFrom([]string{"mail", "no mail", "suppress", "outdated"}).Draw(rt, "plan") {
	case "no mail":
		p.Mail = nil
		request.state = core.StateSent
	case "suppress":
		p = core.Plan{Request: p.Request, Suppress: core.ReasonUnknownUser}
		request.state, request.reason = core.StateSuppressed, core.ReasonUnknownUser
	case "outdated":
		p.Link.CredentialVersion--
		request.state = core.StateSuperseded
	}
	if p.Suppress == "" && rapid.Bool().Draw(rt, "limited") {
		if reason := m.spend(&p); reason != "" {
			request.state, request.reason = core.StateSuppressed, reason
		}
	}
	if p.Mail != nil && rapid.Bool().Draw(rt, "leased") {
		p.Mail.Lease = core.LeaseID(NewID())
	}
	live := m.live()
	standing, err := m.f.Store.Resolve(m.ctx(), m.f.account, d.held.LeaseOf(), p)
	m.ok(err)
	linked := request.state == core.StatePending || request.state == core.StateSent
	want := core.Standing{State: request.state, Reason: request.reason, Repeated: linked && len(live) >= p.MaxLive}
	mail := standing.Mail
	if (mail != nil) != (linked && p.Mail != nil && p.Mail.Lease != "") {
		rt.Fatalf("request %s: the mail that goes on is %+v", d.request, mail)
	}
	standing.Mail = nil
	if standing != want {
		rt.Fatalf("request %s stands at %+v, want %+v", d.request, standing, want)
	}
	m.lose(d)
	d.ended = true
	if request.linked = linked; !linked {
		return
	}
	if p.Mail != nil {
		m.deliveries[p.Mail.ID] = &modelDelivery{request: d.request, kind: core.KindMail}
		if mail != nil {
			m.claimed(*mail)
		}
	}
	if len(live) < p.MaxLive {
		request.own = m.user.CredentialVersion
		return
	}
	if again := m.f.request(d.request).LinkRequest; !slices.Contains(live, again) {
		rt.Fatalf("link of request %s is sent again and is none of the live ones", again)
	}
}

// spend puts the budgets into the plan, and takes one of each in the model unless
// one is used up: then it gives its reason.
func (m *machine) spend(p *core.Plan) core.Reason {
	for _, b := range m.budgets {
		p.Budgets = append(p.Budgets, b.Budget)
	}
	for _, b := range m.budgets {
		if len(b.spent) == b.Rates[0].Count {
			return b.Reason
		}
	}
	for i := range m.budgets {
		m.budgets[i].spent = append(m.budgets[i].spent, 0)
	}
	return ""
}

// pass lets time pass for the budgets.
func (m *machine) pass(*rapid.T) {
	const by = 10 * time.Hour
	m.f.pass(by)
	for i, b := range m.budgets {
		var count []time.Duration
		for _, ago := range b.spent {
			if ago+by < b.Rates[0].Per {
				count = append(count, ago+by)
			}
		}
		m.budgets[i].spent = count
	}
}

// live gives the requests whose own link is live.
func (m *machine) live() (ids []core.RequestID) {
	for id, request := range m.requests {
		if request.own == m.user.CredentialVersion && request.linked && (request.state == core.StatePending || request.state == core.StateSent) {
			ids = append(ids, id)
		}
	}
	return ids
}

func (m *machine) settle(rt *rapid.T) {
	d := m.leased(rt, func(kind core.Kind) bool { return kind != core.KindResolve })
	end := rapid.SampledFrom([]core.DeliveryState{
		core.DeliveryQueued, core.DeliveryDone, core.DeliveryFailed, core.DeliveryExpired, core.DeliverySuperseded,
	}).Draw(rt, "end")
	settlement := core.Settlement{State: end, Attempt: &core.Attempt{Provider: "p"}}
	if end == core.DeliveryFailed {
		settlement.Reason = core.ReasonRecipientRefused
	}
	if end == core.DeliveryQueued && rapid.Bool().Draw(rt, "snoozed") {
		settlement.Attempt, settlement.Snoozed = nil, true
		d.attempt--
	}
	m.ok(m.f.settle(*d.held, settlement))
	m.lose(d)
	d.ended = end != core.DeliveryQueued
	request := m.requests[d.request]
	if !d.ended || d.kind != core.KindMail || request.state != core.StatePending {
		return
	}
	request.state, request.reason = map[core.DeliveryState]core.RequestState{
		core.DeliveryDone: core.StateSent, core.DeliveryFailed: core.StateFailed,
		core.DeliveryExpired: core.StateExpired, core.DeliverySuperseded: core.StateSuperseded,
	}[end], settlement.Reason
}

// stale writes under a lease that is no longer good.
func (m *machine) stale(rt *rapid.T) {
	if len(m.stales) == 0 {
		rt.Skip("no lease was lost")
	}
	err := m.f.settle(rapid.SampledFrom(m.stales).Draw(rt, "lease"), core.Settlement{State: core.DeliveryDone})
	if !errors.Is(err, core.ErrLeaseLost) {
		rt.Fatalf("a lost lease was good: %v", err)
	}
}

func (m *machine) lapse(rt *rapid.T) {
	d := m.leased(rt, anyKind)
	m.f.lapse(d.held.LeaseOf())
	freed, err := m.f.Store.Reap(m.ctx())
	m.ok(err)
	if freed != 1 {
		rt.Fatalf("%d leases were freed, want 1", freed)
	}
	m.lose(d)
	if d.lost++; d.lost < 3 {
		return
	}
	d.ended = true
	if request := m.requests[d.request]; d.kind != core.KindNotice && request.state == core.StatePending {
		request.state, request.reason = core.StateFailed, core.ReasonQuarantined
	}
}

func (m *machine) release(rt *rapid.T) {
	d := m.leased(rt, anyKind)
	m.ok(m.f.Store.Release(m.ctx(), []core.Lease{d.held.LeaseOf()}))
	m.lose(d)
	d.attempt--
}

func (m *machine) extend(rt *rapid.T) {
	d := m.leased(rt, anyKind)
	lost, err := m.f.Store.Extend(m.ctx(), []core.Lease{d.held.LeaseOf()})
	m.ok(err)
	if len(lost) != 0 {
		rt.Fatal("a lease that is held was called lost")
	}
}

func (m *machine) redeem(rt *rapid.T) {
	if len(m.requests) == 0 {
		rt.Skip("no request")
	}
	id := rapid.SampledFrom(slices.Sorted(maps.Keys(m.requests))).Draw(rt, "request")
	request, r := m.requests[id], redemption(id, m.user)
	if request.own != 0 && !request.linked {
		rt.Skip("its link has expired")
	}
	after, err := m.f.Store.Redeem(m.ctx(), m.f.account, r)
	if request.own == 0 || request.own != m.user.CredentialVersion {
		if !errors.Is(err, core.ErrUnknownLink) {
			rt.Fatalf("redeemed a request that has no live link: %v", err)
		}
		return
	}
	m.ok(err)
	m.user = after
	request.state, request.reason, request.own = core.StateRedeemed, "", 0
	m.deliveries[r.Notice] = &modelDelivery{request: id, kind: core.KindNotice}
}

// age makes a request old enough to be removed, and expires its link.
func (m *machine) age(rt *rapid.T) {
	if len(m.requests) == 0 {
		rt.Skip("no request")
	}
	id := rapid.SampledFrom(slices.Sorted(maps.Keys(m.requests))).Draw(rt, "request")
	m.f.age(id, kept)
	m.requests[id].aged, m.requests[id].linked = true, false
}

func (m *machine) retain(rt *rapid.T) {
	queued := map[core.RequestID]bool{}
	for _, d := range m.deliveries {
		queued[d.request] = queued[d.request] || !d.ended
	}
	removed := 0
	for id, request := range m.requests {
		if !request.aged || request.linked || request.state == core.StatePending || queued[id] {
			continue
		}
		removed++
		delete(m.requests, id)
		maps.DeleteFunc(m.deliveries, func(_ core.DeliveryID, d *modelDelivery) bool { return d.request == id })
	}
	got, err := m.f.Store.Retain(m.ctx(), kept, 1000)
	m.ok(err)
	if got != removed {
		rt.Fatalf("%d requests were removed, want %d", got, removed)
	}
}

func (m *machine) check(rt *rapid.T) {
	for id, want := range m.requests {
		got, err := m.f.Store.Request(m.ctx(), m.f.account, id)
		m.ok(err)
		if got.State != want.state || got.Reason != want.reason || (got.SealedAddress != nil) != (want.state == core.StatePending) {
			rt.Fatalf("request %s is %s(%s), model has %s(%s)", id, got.State, got.Reason, want.state, want.reason)
		}
	}
	balance, err := m.f.Store.Balance(m.ctx())
	m.ok(err)
	m.ok(sum(balance))
	if balance.Accepted != int64(len(m.requests)) {
		rt.Fatalf("the ledger has %d requests, model has %d", balance.Accepted, len(m.requests))
	}
}

// drain empties the ledger, so that a run leaves no work to the next.
func (m *machine) drain() {
	for _, table := range []string{"attempts", "deliveries", "events", "requests", "limits"} {
		m.f.Exec(m.f.t, `DELETE FROM `+table)
	}
}
