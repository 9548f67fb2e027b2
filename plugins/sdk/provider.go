package sdk

import "context"

// Provider delivers mail (or webhook events) for Passmend. The host calls every
// method from many goroutines at once; a Provider keeps its own state safe.
// Cancellation and the deadline arrive in ctx and must be honoured: a call that
// outlives its deadline is abandoned and its outcome counts as unknown.
type Provider interface {
	// Describe says who the provider is and what it takes. It is called once
	// after the start, before any other method, and must not touch the network.
	Describe(ctx context.Context) (Description, error)

	// Check says whether settings are usable. It sends nothing. A refusal is a
	// *Failure of kind Misconfigured or AuthenticationFailed whose Public text
	// names the setting; reaching the server is allowed, delivering is not.
	Check(ctx context.Context, settings Settings) error

	// Send hands one message over. A nil error means the receiving side has
	// taken responsibility. Every other end is a *Failure; an error of another
	// type counts as Unknown. The same IdempotencyKey may arrive again after a
	// lost answer and must be sent with the same Message-ID.
	Send(ctx context.Context, request SendRequest) (Receipt, error)

	// Health answers nil while the provider can take work. It is called every
	// few seconds with a short deadline and touches no network.
	Health(ctx context.Context) error
}

// Content names a kind of message that a provider takes.
type Content string

// The closed list of contents.
const (
	ContentMail  Content = "mail"
	ContentEvent Content = "event"
)

// Description is a provider's account of itself.
type Description struct {
	// Name is what an operator writes after --plugin: 2 to 32 lower-case
	// letters, digits and dashes, the same as the binary's name without
	// its passmend- prefix.
	Name string
	// Version is the provider's own, in semantic versioning.
	Version string
	// Contents lists what Send takes; at least one.
	Contents []Content
	// SettingsSchema is a JSON Schema (2020-12) of the settings object as JSON
	// text. A property marked "writeOnly": true is a secret.
	SettingsSchema []byte
	// Permissions is what the provider asks of the host's cage.
	Permissions Permissions
}

// Permissions is what a provider needs of the outside. Everything else is
// refused where the host can refuse it.
type Permissions struct {
	// Ports are the TCP ports that the provider connects to.
	Ports []uint16
	// MemoryBytes is the most memory the process may use; 0 means 256 MiB.
	MemoryBytes int64
}

// Settings is one configured use of a provider: an operator or an account fills
// in the schema that Describe gave. They arrive with every call and must not be
// kept beyond it, except as the key of a connection pool.
type Settings struct {
	// Values is a JSON object that satisfies the schema, without its secrets.
	Values []byte
	// Secrets holds the schema's secret properties by name.
	Secrets map[string]Secret
}
