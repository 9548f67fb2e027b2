package httpapi

import (
	"fmt"
	"time"

	"github.com/passmend/passmend/core"
)

// Limits are those of the edge; each is counted by this process alone. The zero
// value of a field means its default.
type Limits struct {
	Rstpwd      core.Limit // a window per account, client and address on POST passwords; default 5/h
	Mutpwd      core.Limit // a window per account, client and user on actions/reset-password; default 5/10m
	Auth        core.Limit // a window per account, client and address on POST tokens; default 5/m
	IP          core.Limit // per client on POST passwords and the hosted form; default 20/m:10
	IPDay       core.Limit // the same, over a day; default 200/d
	Account     core.Limit // per account on POST passwords and the hosted form; default 50/s:200
	BadToken    core.Limit // links that nobody has, per client; default 30/10m
	BadCallback core.Limit // callbacks that prove nothing, per account and client; default 30/10m
	Probe       core.Limit // what only scanners look for, per client, who is then turned away for half an hour; default 3/10m
}

// DefaultLimits are those of contract.md, G, and threats.md, "Abuse limits".
func DefaultLimits() Limits {
	return Limits{
		Rstpwd:      limit(core.Rate{Count: 5, Per: time.Hour}),
		Mutpwd:      limit(core.Rate{Count: 5, Per: 10 * time.Minute}),
		Auth:        limit(core.Rate{Count: 5, Per: time.Minute}),
		IP:          limit(core.Rate{Count: 20, Per: time.Minute, Burst: 10}),
		IPDay:       limit(core.Rate{Count: 200, Per: 24 * time.Hour}),
		Account:     limit(core.Rate{Count: 50, Per: time.Second, Burst: 200}),
		BadToken:    limit(core.Rate{Count: 30, Per: 10 * time.Minute}),
		BadCallback: limit(core.Rate{Count: 30, Per: 10 * time.Minute}),
		Probe:       limit(core.Rate{Count: 3, Per: 10 * time.Minute}),
	}
}

func limit(rates ...core.Rate) core.Limit { return core.Limit{Rates: rates} }

// Validate puts the defaults in and refuses a burst where it means nothing.
func (l *Limits) Validate() error {
	standard := DefaultLimits()
	for _, each := range []struct {
		name     string
		limit    *core.Limit
		standard core.Limit
		window   bool
	}{
		{"Rstpwd", &l.Rstpwd, standard.Rstpwd, true},
		{"Mutpwd", &l.Mutpwd, standard.Mutpwd, true},
		{"Auth", &l.Auth, standard.Auth, true},
		{"IP", &l.IP, standard.IP, false},
		{"IPDay", &l.IPDay, standard.IPDay, false},
		{"Account", &l.Account, standard.Account, false},
		{"BadToken", &l.BadToken, standard.BadToken, false},
		{"BadCallback", &l.BadCallback, standard.BadCallback, false},
		{"Probe", &l.Probe, standard.Probe, true},
	} {
		*each.limit = each.limit.Or(each.standard)
		for _, rate := range each.limit.Rates {
			if each.window && rate.Burst != 0 {
				return fmt.Errorf("http edge: limit %s: a fixed window takes no burst; write it as %s", each.name, each.standard)
			}
		}
	}
	if len(l.Probe.Rates) > 1 {
		return fmt.Errorf("http edge: limit Probe: one rate only; write it as %s", standard.Probe)
	}
	return nil
}
