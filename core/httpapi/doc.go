// Package httpapi is the edge: the API under /v1 and the hosted pages, on Gin.
//
// Limits first. It decides nothing about recovery: it turns bytes into a call of
// core and the outcome into bytes. It stores nothing; its limits live in this
// process's memory and start anew with it. It does not sign responses
// yet (Digest and Keygen-Signature): Keygen-Accept-Signature is checked for its
// form and then not acted on. URIs that net/http itself cannot parse are answered
// by net/http, not in the shape below.
//
// A request to the API passes a list of steps, which stands in routes.go as it
// runs; the first step that refuses ends it:
//
//	host ─▶ IP limit ─▶ URI, media types ─▶ JSON ─▶ version ─▶ account
//	     ─▶ headers ─▶ window ─▶ account's limit, or the limit on guesses
//	     ─▶ members of the body ─▶ core
//
// Every refusal is one entry of the table in errors.go. Handlers return errors;
// status codes and public texts are known to that table only.
//
// The step that accepts a request is given core's intake and nothing else: it has
// no way to a user, so that neither its answer nor its time depends on one.
package httpapi
