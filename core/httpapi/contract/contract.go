// Package contract holds a server against the wire contract: every line of it is a
// case, driven over HTTP and nothing else.
//
// Limits first. It sees answers, not rows: that something was stored, or not, it
// knows by asking for it. What only shows in a mail or at a webhook is tried where
// the Target can read them, and else skipped with its reason; so is what needs a
// token that the Target does not have. It does not wait for a link to expire. It
// imports nothing of ours and does not import testing: a command runs it too, on any
// server that speaks the contract.
//
// It is polite to the server: one request at a time, users and accounts under random
// names of its own that it deletes again, no mail to anybody, and after a 429 it
// waits as long as it is told.
//
// A case is named by the section of the contract and what must hold: C6/email-null.
// Where Passmend differs from the upstream on purpose, the case names the ruling; held
// against the upstream, such a case that does not hold is told as ruled.
package contract

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// T is what the suite needs of a test; *testing.T has it.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Logf(format string, args ...any)
}

// Target is the server, and what the suite may use there.
type Target struct {
	// URL is where the server is, as https://api.example.com, without a path.
	URL string
	// Account is the id or slug of the account to work in.
	Account string
	// AdminToken is an admin's of the account: without it, only what anybody may do is
	// tried.
	AdminToken string
	// OperatorToken makes accounts, for what is about their settings.
	OperatorToken string

	// Upstream says that the server is not Passmend: what a ruling decided otherwise is
	// told as ruled where it does not hold.
	Upstream bool
	// LimitsOff leaves out the cases of section G.
	LimitsOff bool
	// MaxWait is the longest Retry-After that is waited for; default 75 s.
	MaxWait time.Duration
	// Client sends; default one of its own with a timeout of 30 s.
	Client *http.Client

	// Mail gives the newest mail with a link that went to an address, once it is there.
	// Nil: mails cannot be read, and what needs a link is skipped.
	Mail func(ctx context.Context, address string) (Mail, error)
	// Expire ends the life of the links that an address was mailed, as time would. Nil:
	// the clock cannot be moved, and what is about old links is skipped.
	Expire func(ctx context.Context, address string) error
	// Host is a host name of the account's own, which reaches the server as the URL's
	// does. Empty: what is about such hosts is skipped.
	Host string
	// Receiver takes webhooks. Nil: deliveries are skipped.
	Receiver Receiver
}

// Mail is a mail as its reader sees it.
type Mail struct {
	To            []string // addresses of the envelope
	From, Subject string
	Text, HTML    string
	Token         string // of its link
}

// Receiver is a place for webhooks that the suite can look at.
type Receiver interface {
	// URL is one that the server may post to.
	URL() string
	// Next gives the first delivery, not given before, that the function chooses.
	Next(ctx context.Context, choose func(Delivery) bool) (Delivery, error)
}

// Delivery is a webhook as it came.
type Delivery struct {
	Path   string // with the query
	Host   string
	Header http.Header
	Body   []byte
}

// Case is one line of the contract.
type Case struct {
	Name   string // section, slash, what must hold
	Ruling string // as R1, where it is ours and not the upstream's
	needs  needs
	run    func(*run)
}

// ReadsWebhooks says whether the case needs a Receiver.
func (c Case) ReadsWebhooks() bool { return c.needs&receiver != 0 }

// needs is what a case cannot do without.
type needs int

const (
	nothing  needs = 0
	admin    needs = 1 << iota // a token of an admin of the account
	operator                   // a token of an operator
	mail                       // a way to read reset mails
	receiver                   // a place for webhooks
	limits                     // limits are on
	clock                      // a way to make links old
	ownHost                    // a host of the account's own
)

var needsText = []struct {
	is   needs
	text string
}{
	{admin, "an admin's token (--admin-token)"},
	{operator, "an operator's token (--operator-token)"},
	{mail, "a way to read the server's mail"},
	{receiver, "a place to which the server sends webhooks"},
	{limits, "a server whose limits are on"},
	{clock, "a way to make links old"},
	{ownHost, "a host name of the account's own (--host)"},
}

// Cases gives every case, in the order of the contract.
func Cases() []Case {
	return slices.Concat(
		passwordCases(), resetCases(), updateCases(), userCases(), tokenCases(), endpointCases(), eventCases(), identityCases(),
		accountCases(), hostCases(), mediaCases(), jsonCases(), pageCases(), errorCases(), hardErrorCases(), headerCases(), semanticCases(), deliveryCases(), limitCases(),
	)
}

// Only gives the cases whose names begin with prefix.
func Only(cases []Case, prefix string) []Case {
	return slices.DeleteFunc(slices.Clone(cases), func(c Case) bool { return !strings.HasPrefix(c.Name, prefix) })
}

// Validate says what is wrong with the target, by the field's name; "" for nothing.
func (t Target) Validate() string {
	base, err := url.Parse(t.URL)
	switch {
	case err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" || strings.Trim(base.Path, "/") != "" || base.RawQuery != "" || base.User != nil:
		return "URL must be http or https and a host, as https://api.example.com"
	case t.Account == "" || strings.ContainsAny(t.Account, "/?# "):
		return "Account must be an account's id or slug"
	case strings.ContainsAny(t.Host, "/:?#@ "):
		return "Host must be a host name without a port, as login.acme.example"
	}
	return ""
}

// Exercise runs the cases on target and fails t for each that does not hold.
func Exercise(ctx context.Context, t T, target Target, cases []Case) Report {
	t.Helper()
	return Run(ctx, target, cases, func(result Result) {
		t.Helper()
		switch result.Verdict {
		case Failed:
			t.Errorf("%s: %s", result.Case, strings.Join(result.Reasons, "; "))
		case Skipped:
			t.Logf("%s: skipped: %s", result.Case, strings.Join(result.Reasons, "; "))
		}
	})
}

// Run runs the cases one after the other and reports; each is told of every result
// as it comes. When ctx ends, no further case begins.
func Run(ctx context.Context, target Target, cases []Case, each func(Result)) Report {
	s := newSuite(ctx, target)
	report := Report{URL: target.URL, Account: target.Account, Upstream: target.Upstream, Began: time.Now().UTC()}
	for _, c := range cases {
		if ctx.Err() != nil {
			break
		}
		result := s.try(c)
		report.add(result)
		each(result)
	}
	return report
}
