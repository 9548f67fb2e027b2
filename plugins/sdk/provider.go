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

// EventParser is a Provider whose service reports back: what was delivered, what
// bounced, who complained. A provider without such reports leaves it out.
type EventParser interface {
	Provider

	// ParseEvent proves that callback comes from the service, by its signature
	// or by the credentials that the settings ask for, and only then reads it.
	// One that proves nothing is a *Failure of kind AuthenticationFailed, one
	// that cannot be read ContentRefused. A callback about nothing of interest
	// gives no events and no error. It touches no network.
	ParseEvent(ctx context.Context, settings Settings, callback Callback) ([]ProviderEvent, error)
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
	// text, at most 256 KiB. Of a property, "title" and "description" are its
	// label and help, "writeOnly": true makes it a secret, "x-order" (a number)
	// is its place in a form, and "x-show-if" ({"other": value}) shows it only
	// while another property has that value.
	SettingsSchema []byte
	// ParsesEvents says that the provider is an EventParser; serve sets it.
	ParsesEvents bool
	// Permissions is what the provider asks of the host's cage.
	Permissions Permissions
}

// Permissions is what a provider needs of the outside. Everything else is
// refused where the host can refuse it.
type Permissions struct {
	// Hosts are the names that the provider connects to, for the operator to read
	// and for network policies; "*" stands for hosts that the settings name.
	Hosts []string
	// Ports are the TCP ports that the provider connects to. Name resolution is
	// always allowed.
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
