package contract

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// slowest is how long a request that never ends may stay open.
const slowest = time.Minute

// hardErrorCases are the lines of C7 that no well-behaved client meets. What is wrong
// on the server's own side (500, 503 for a database that is away) cannot be brought
// about from outside.
func hardErrorCases() []Case {
	return []Case{
		{"C7/uri-malformed", "", nothing, func(r *run) {
			for _, target := range []string{"/v1/accounts/%zz/passwords", "/v1/accounts/x%/passwords", "v1/passwords"} {
				answer := r.raw("POST " + target + " HTTP/1.1\r\nHost: HOST\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
				r.check(answer.status == http.StatusBadRequest, "%s: %s: want 400", target, answer)
				if strings.Contains(answer.header.Get("Content-Type"), "json") {
					r.refused(answer, refusal{400, "URI_INVALID", "", ""})
				}
			}
		}},
		{"C7/body-that-does-not-come", "", nothing, func(r *run) {
			answer := r.raw("POST P/passwords HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
			r.refused(answer, refusal{503, "", "", ""})
		}},
		{"C7/conflict", "", admin, conflict},
	}
}

// conflict is a call that is made again, by its Idempotency-Key, while it is under way.
func conflict(r *run) {
	if r.Upstream {
		r.skipf("what conflicts there cannot be brought about from outside")
	}
	const calls, rounds = 8, 20
	for range rounds {
		email, key := r.address(), r.name()
		answers := make([]reply, calls)
		failures := make([]error, calls)
		var all sync.WaitGroup
		for i := range calls {
			all.Go(func() {
				answers[i], failures[i] = r.exchange(ask{path: "P/users", as: r.AdminToken, header: map[string]string{"Idempotency-Key": key},
					body: newUser(`{"email":` + quote(email) + `,"password":` + quote(password) + `}`)})
			})
		}
		all.Wait()
		met := 0
		for i, answer := range answers {
			switch {
			case failures[i] != nil:
				r.fatalf("%v", failures[i])
			case answer.status == http.StatusCreated:
				p := person{id: r.one(answer).ID, email: email, account: "P", by: r.AdminToken}
				r.undo = append(r.undo, func() { r.removed(p) })
			default:
				r.refused(answer, refusal{409, "*", "header:Idempotency-Key", ""})
				met++
			}
		}
		r.check(met < calls, "none of %d calls was done", calls)
		if met > 0 {
			return
		}
	}
	r.skipf("no two calls met in %d rounds", rounds)
}

// raw sends bytes as they are, HOST and P filled in, and gives the first answer.
func (r *run) raw(text string) reply {
	base, err := url.Parse(r.URL)
	if err != nil {
		r.fatalf("%v", err)
	}
	conn := r.dial(base)
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(slowest)); err != nil {
		r.fatalf("%v", err)
	}
	text = strings.NewReplacer("HOST", base.Host, " P/", " "+r.path("P/")).Replace(text)
	if _, err := io.WriteString(conn, text); err != nil {
		r.fatalf("%v", err)
	}
	line, _, _ := strings.Cut(text, " HTTP/")
	method, path, _ := strings.Cut(line, " ")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		r.fatalf("%s: %v", line, err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		r.fatalf("%s: %v", line, err)
	}
	return reply{ask{method: method, path: path}, response.StatusCode, response.Header, string(content)}
}

func (r *run) dial(base *url.URL) net.Conn {
	port := base.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[base.Scheme]
	}
	address := net.JoinHostPort(base.Hostname(), port)
	var conn net.Conn
	var err error
	if base.Scheme == "https" {
		conn, err = (&tls.Dialer{}).DialContext(r.ctx, "tcp", address)
	} else {
		conn, err = (&net.Dialer{}).DialContext(r.ctx, "tcp", address)
	}
	if err != nil {
		r.fatalf("%v", err)
	}
	return conn
}
