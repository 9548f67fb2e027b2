package sdk

import (
	"errors"
	"time"
)

// Outcome is how an attempt ended.
type Outcome string

// The closed list of outcomes. What the host does about each is in its
// dispatcher; a provider only tells them apart.
const (
	Accepted             Outcome = "accepted"
	AcceptedUnknown      Outcome = "accepted-unknown"
	RecipientRefused     Outcome = "recipient-refused"     // this address, for good
	ContentRefused       Outcome = "content-refused"       // this message, for good
	Misconfigured        Outcome = "misconfigured"         // the settings cannot work
	AuthenticationFailed Outcome = "authentication-failed" // the secrets are refused
	RateLimited          Outcome = "rate-limited"          // later, see RetryAfter
	QuotaExhausted       Outcome = "quota-exhausted"       // later, see Until
	Temporary            Outcome = "temporary"             // surely not delivered, try again
	Unknown              Outcome = "unknown"               // may have been delivered
)

// Failure is the error of Send and Check.
type Failure struct {
	Kind Outcome
	// Public is for the account's owner: what happened, without addresses,
	// host names of others, or secrets. At most 256 printable characters.
	Public string
	// Private is for the operator: codes and the server's own words.
	Private string
	// Code and Answer are as in Receipt.
	Code, Answer string
	// RetryAfter is the shortest wait for RateLimited; 0 leaves it to the host.
	RetryAfter time.Duration
	// Until is when a QuotaExhausted ends; zero leaves it to the host.
	Until time.Time
	Steps []Step
}

// Error gives the kind and the public text; the private detail is not in it.
func (f *Failure) Error() string {
	if f.Public == "" {
		return string(f.Kind)
	}
	return string(f.Kind) + ": " + f.Public
}

// FailureOf finds the Failure in err. An error of any other type is Unknown:
// nothing is known of what happened to the message.
func FailureOf(err error) *Failure {
	var failure *Failure
	if errors.As(err, &failure) {
		return failure
	}
	return &Failure{Kind: Unknown, Public: "the provider gave no usable answer", Private: err.Error()}
}
