package contract

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// domain is where the suite's addresses lie: no mail server is there (RFC 2606).
const domain = "contract.example"

const (
	password    = "a contract is a promise"
	newPassword = "and a promise is kept"
)

func randomWord() string {
	word := make([]byte, 6)
	_, _ = rand.Read(word) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(word)
}

// name gives one that nobody has had.
func (s *suite) name() string {
	s.number++
	return fmt.Sprintf("c%s-%d", s.word, s.number)
}

func (s *suite) address() string { return s.name() + "@" + domain }

// person is a user that the suite has made.
type person struct {
	id, email string
	account   string // P, or the path of another account
	by        string // the token that governs it
}

func (p person) path() string { return p.account + "/users/" + p.id }

func newUser(attributes string) string {
	return `{"data":{"type":"users","attributes":` + attributes + `}}`
}

// user makes a user of the target's account who can sign in, and takes it away again.
func (r *run) user() person { return r.userWith(`"password":` + quote(password)) }

// managed makes a user without a password.
func (r *run) managed() person { return r.userWith("") }

// userWith makes a user with further attributes, as members of JSON.
func (r *run) userWith(attributes string) person {
	return r.userIn("P", r.AdminToken, attributes)
}

func (r *run) userIn(account, by, attributes string) person {
	email := r.address()
	if attributes != "" {
		attributes = "," + attributes
	}
	made := r.expect(http.StatusCreated, ask{path: account + "/users", as: by, body: newUser(`{"email":` + quote(email) + attributes + `}`)})
	p := person{id: r.one(made).ID, email: email, account: account, by: by}
	r.undo = append(r.undo, func() { r.removed(p) })
	return p
}

func (r *run) removed(p person) {
	if gone := r.send(ask{method: http.MethodDelete, path: p.path(), as: p.by}); gone.status != http.StatusNoContent && gone.status != http.StatusNotFound {
		r.errorf("clean up: %s", gone)
	}
}

// signIn gives a fresh API token of somebody.
func (r *run) signIn(p person) string { return r.signInWith(p, password) }

func (r *run) signInWith(p person, password string) string {
	return r.one(r.expect(http.StatusCreated, ask{path: p.account + "/tokens", header: basic(p.email, password)})).text("token")
}

// tenant is an account that the suite has made.
type tenant struct {
	id, slug string
	admin    string // a token of an admin
}

func (t tenant) path() string { return "/v1/accounts/" + t.id }

// tenant makes an account with an admin, and takes it away again. Attributes are
// members of JSON; what would keep its admin from being made is set by change.
func (r *run) tenant(attributes string) tenant {
	t := tenant{slug: r.name()}
	if attributes != "" {
		attributes = "," + attributes
	}
	made := r.expect(http.StatusCreated, ask{path: "/v1/accounts", as: r.OperatorToken,
		body: `{"data":{"type":"accounts","attributes":{"name":"Contract","slug":` + quote(t.slug) + attributes + `}}}`})
	t.id = r.one(made).ID
	r.undo = append(r.undo, func() {
		if gone := r.send(ask{method: http.MethodDelete, path: t.path(), as: r.OperatorToken}); gone.status != http.StatusNoContent {
			r.errorf("clean up: %s", gone)
		}
	})
	boss := r.address()
	r.expect(http.StatusCreated, ask{path: t.path() + "/users", as: r.OperatorToken,
		body: newUser(`{"email":` + quote(boss) + `,"role":"admin","password":` + quote(password) + `}`)})
	t.admin = r.one(r.expect(http.StatusCreated, ask{path: t.path() + "/tokens", header: basic(boss, password)})).text("token")
	return t
}

// change sets attributes of an account by the operator.
func (r *run) change(t tenant, attributes string) {
	r.expect(http.StatusOK, ask{method: http.MethodPatch, path: t.path(), as: r.OperatorToken,
		body: `{"data":{"type":"accounts","attributes":{` + attributes + `}}}`})
}

// forget asks for a reset of somebody's password, without a mail.
func (r *run) forget(email string) reply {
	return r.send(ask{path: "P/passwords", body: `{"meta":{"email":` + quote(email) + `,"deliver":false}}`})
}

// link asks for a reset of somebody's password and gives the token in the mail.
func (r *run) link(p person) string { return r.mailFor(p).Token }

// mailFor asks for a reset of somebody's password and gives the mail.
func (r *run) mailFor(p person) Mail {
	r.accepted(r.send(ask{path: p.account + "/passwords", body: `{"meta":{"email":` + quote(p.email) + `,"deliver":true}}`}))
	ctx, cancel := context.WithTimeout(r.ctx, 20*time.Second)
	defer cancel()
	found, err := r.Mail(ctx, p.email)
	if err != nil {
		r.fatalf("no reset mail to %s: %v", p.email, err)
	}
	return found
}

func resetBody(token, password string) string {
	return `{"meta":{"passwordResetToken":` + quote(token) + `,"newPassword":` + quote(password) + `}}`
}

func (r *run) reset(p person, token, password string) reply {
	return r.send(ask{path: p.path() + "/actions/reset-password", body: resetBody(token, password)})
}

func escaped(email string) string { return strings.ReplaceAll(url.PathEscape(email), "@", "%40") }

func unhyphened(id string) string { return strings.ReplaceAll(id, "-", "") }

// nobody is an id that no row has.
const nobody = "0197c0de-0000-7000-8000-00000000dead"

// eventually asks until something holds, for at most 20 s.
func (r *run) eventually(what string, holds func() bool) {
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) || r.ctx.Err() != nil {
			r.fatalf("it did not come to pass within 20 s: %s", what)
		}
		r.pause(50 * time.Millisecond)
	}
}

// pause waits, or ends the case with the run.
func (r *run) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.ctx.Done():
		r.fatalf("it was ended: %v", r.ctx.Err())
	}
}
