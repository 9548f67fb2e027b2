// Package keys keeps the deployment's keys in one file outside the database, and
// does with them what the domain needs: link tags, keyed digests, sealed values,
// sealed cookies, password hashes.
//
// Limits first. The file is cleartext: whoever reads it and the database reads
// everything, so it is refused when others can read it. It is read once; a
// rotation reaches a process at its next start. Passwords arrive normalised and
// within the policy (package core); API tokens are digested by package core
// without a key. A key that is lost is lost with all that it sealed.
//
// The file is one JSON object, a Tink keyset a slot:
//
//	slot    keys              makes                              a rotation leaves
//	token   HMAC-SHA-256 PRF  link tags                          old links verifying
//	digest  HMAC-SHA-256 PRF  digests of an account's values     old digests unfindable
//	limit   HMAC-SHA-256 PRF  keys of limits, deployment-wide    limits starting afresh
//	seal    AES-256-GCM       sealed columns                     old columns opening
//	pepper  AES-256-GCM       the seal round password hashes     old hashes opening, outdated
//	cookie  AES-256-GCM       sealed cookies                     old cookies opening
//
// Every input begins with a domain of its own and a length before each part, so
// that no value made for one purpose, account or row serves another.
package keys
