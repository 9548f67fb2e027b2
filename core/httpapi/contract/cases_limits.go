package contract

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// limitCases are G: the fixed windows, each with names of its own so that nobody else
// is kept out.
func limitCases() []Case {
	windows := []struct {
		name   string
		limit  int
		length time.Duration
		prove  func(r *run) func() ask
	}{
		{"rstpwd", 5, time.Hour, func(r *run) func() ask {
			email := r.address()
			return func() ask { return ask{path: "P/passwords", body: asked(email)} }
		}},
		{"mutpwd", 5, 10 * time.Minute, func(r *run) func() ask {
			user := r.address()
			return func() ask {
				return ask{path: resetPath(escaped(user)), body: resetBody(wrongToken, newPassword)}
			}
		}},
		{"auth", 5, time.Minute, func(r *run) func() ask {
			email := r.address()
			return func() ask { return ask{path: "P/tokens", header: basic(email, "not this one")} }
		}},
	}
	var cases []Case
	for _, w := range windows {
		cases = append(cases, Case{"G/" + w.name, "", limits, func(r *run) {
			over := r.exhaust(w.name, w.limit, w.length, w.prove(r))
			r.refused(over, refusal{429, "TOO_MANY_REQUESTS", "", ""})
			for header, want := range map[string]string{
				"X-RateLimit-Window": w.name, "X-RateLimit-Limit": strconv.Itoa(w.limit), "X-RateLimit-Count": strconv.Itoa(w.limit + 1), "X-RateLimit-Remaining": "0",
			} {
				r.check(over.header.Get(header) == want, "%s %q, want %s", header, over.header.Get(header), want)
			}
			seconds := int64(w.length / time.Second)
			reset, _ := strconv.ParseInt(over.header.Get("X-RateLimit-Reset"), 10, 64)
			wait, _ := strconv.ParseInt(over.header.Get("Retry-After"), 10, 64)
			r.check(reset > 0 && reset%seconds == 0, "X-RateLimit-Reset %d is not a multiple of %d s since 1970", reset, seconds)
			r.check(wait >= 1 && wait <= seconds, "Retry-After %d", wait)
		}})
	}
	return append(cases,
		Case{"G/limits-stay-hidden-until-they-are-reached", "", limits, func(r *run) {
			answer := r.plainly(nil)
			for name := range answer.header {
				r.check(!strings.HasPrefix(name, "X-Ratelimit-"), "%s on an answer that is no 429", name)
			}
		}},
		Case{"G/counted-for-known-and-unknown-alike", "", limits | admin, func(r *run) {
			statuses := func(email string) (all []int) {
				r.exhaust("rstpwd", 5, time.Hour, func() ask { return ask{path: "P/passwords", body: asked(email)} }, func(a reply) { all = append(all, a.status) })
				return all
			}
			known, unknown := statuses(r.user().email), statuses(r.address())
			r.check(len(known) == len(unknown), "a known address is refused after %d requests, an unknown one after %d", len(known), len(unknown))
		}},
		Case{"G/spellings-of-an-address-count-as-one", "R12", limits, func(r *run) {
			email, n := r.address(), 0
			r.exhaust("rstpwd", 5, time.Hour, func() ask {
				n++
				spelt := [...]string{email, strings.ToUpper(email), " " + email}[n%3]
				return ask{path: "P/passwords", body: asked(spelt)}
			})
		}},
		Case{"G/other-addresses-are-let-through", "", limits, func(r *run) {
			email := r.address()
			r.exhaust("rstpwd", 5, time.Hour, func() ask { return ask{path: "P/passwords", body: asked(email)} })
			r.accepted(r.forget(r.address()))
		}},
		Case{"G/update-password-is-counted-too", "", limits | admin, func(r *run) {
			p := r.user()
			session := r.signIn(p)
			r.exhaust("mutpwd", 5, 10*time.Minute, func() ask {
				return ask{path: p.path() + "/actions/update-password", as: session, body: `{"meta":{"oldPassword":"not this one","newPassword":"a long enough one"}}`}
			})
		}},
		Case{"G/before-validation", "", limits, func(r *run) {
			email := r.address()
			r.exhaust("rstpwd", 5, time.Hour, func() ask { return ask{path: "P/passwords", body: `{"meta":{"email":` + quote(email) + `,"foo":1}}`} })
		}})
}

// exhaust sends until a window is used up, which must take its limit and one more, and
// gives the 429. Other limits are waited for; a window that ends meanwhile is begun
// anew, because then two of them were counted.
func (r *run) exhaust(window string, limit int, length time.Duration, next func() ask, each ...func(reply)) reply {
	room := time.Duration(time.Now().UnixNano()) % length
	if left := length - room; left < 20*time.Second && left < r.MaxWait {
		r.pause(left + time.Second) // the window would end under way
	}
	for n := 0; n <= limit; {
		answer := r.once(next())
		switch {
		case answer.status != http.StatusTooManyRequests:
			n++
		case answer.header.Get("X-RateLimit-Window") != window:
			r.await(answer)
			continue
		case n != limit:
			r.fatalf("request %d is refused, want %d", n+1, limit+1)
		}
		for _, tell := range each {
			tell(answer)
		}
		if answer.status == http.StatusTooManyRequests {
			return answer
		}
	}
	r.fatalf("%d requests are let through, want %d", limit+1, limit)
	panic(stopped)
}
