package arrows

import "slices"

// module is the product's; the stubs below it stand for its rooms.
const module = "github.com/passmend/passmend"

// A room is a folder of the product and what its production code and its tests
// may import: of ours by path below the module, of others by their names in
// libraries. Tests may name any library that is not banned.
type room struct {
	dir       string
	ours      []string
	libraries []string
	testOurs  []string
}

// everything but what belongs to cmd: what tests of the service's own rooms may use.
var service = []string{
	"tenants", "core", "core/worker", "core/sqlstore", "core/keys", "core/render", "core/httpapi", "core/httpapi/contract", "core/coretest", "core/sqlstore/pgtest",
	"plugins/sdk", "plugins/sdk/serve", "plugins/sdk/sdktest", "plugins/host", "plugins/host/bundle",
	"plugins/smtp", "plugins/smtp/smtptest", "plugins/postmark", "plugins/postmark/postmarktest", "plugins/webhook",
	"observability",
}

// what a vendor has too, and may test with.
var vendor = []string{"plugins/sdk", "plugins/sdk/serve", "plugins/sdk/sdktest", "plugins/smtp", "plugins/smtp/smtptest", "plugins/postmark", "plugins/postmark/postmarktest", "plugins/webhook"}

// production is what the passmend command may wire: all but the fakes.
var production = slices.DeleteFunc(slices.Clone(targets), func(s string) bool {
	return slices.Contains([]string{"core/coretest", "core/sqlstore/pgtest", "plugins/smtp/smtptest", "plugins/postmark/postmarktest"}, s)
})

// testTools are what only tests and their fakes name.
var testTools = []string{"testing", "log", "go-cmp", "rapid", "goleak", "chromedp", "openapi", "pebble", "dns", "webhooks"}

// rooms is the import table of ARCHITECTURE.md, written a second time on purpose:
// .golangci.yaml says it as prohibitions, this says it as permissions.
var rooms = []room{
	{dir: "tenants", libraries: []string{"otter"}, testOurs: []string{"tenants"}},
	{dir: "core", ours: []string{"tenants", "plugins/sdk"}, testOurs: service},
	{dir: "core/worker", ours: []string{"core", "tenants"}, libraries: []string{"gobreaker"}, testOurs: service},
	{dir: "core/sqlstore", ours: []string{"core", "tenants", "core/sqlstore"}, libraries: []string{"bun", "pgx", "sqlite", "sql"}, testOurs: service},
	{dir: "core/sqlstore/pgtest", ours: []string{"core", "tenants", "core/sqlstore", "core/sqlstore/pgtest"}, libraries: append(slices.Clone(testTools), "bun", "pgx", "sqlite", "sql"), testOurs: service},
	{dir: "core/keys", ours: []string{"core", "tenants"}, libraries: []string{"age", "tink", "x/crypto"}, testOurs: service},
	{dir: "core/render", ours: []string{"core", "tenants", "plugins/sdk", "core/render"}, testOurs: service},
	{dir: "core/httpapi", ours: []string{"core", "tenants", "core/httpapi"}, libraries: []string{"gin", "gin parts", "yaml"}, testOurs: service},
	{dir: "core/httpapi/contract", ours: []string{"core/httpapi/contract"}, testOurs: service},
	{dir: "core/coretest", ours: []string{"core", "tenants", "plugins/sdk"}, libraries: testTools, testOurs: service},
	{dir: "plugins/sdk", testOurs: vendor},
	{dir: "plugins/sdk/serve", ours: []string{"plugins/sdk", "plugins/sdk/serve"}, libraries: []string{"go-plugin", "hclog", "grpc", "protobuf"}, testOurs: vendor},
	{dir: "plugins/sdk/sdktest", ours: []string{"plugins/sdk", "plugins/sdk/serve", "plugins/sdk/sdktest"}, testOurs: vendor},
	{dir: "plugins/host", ours: []string{"plugins/sdk", "plugins/sdk/serve", "plugins/host", "plugins/host/bundle"}, libraries: []string{"go-plugin", "hclog"}, testOurs: service},
	{dir: "plugins/host/bundle", ours: []string{"plugins/sdk"}, testOurs: service},
	{dir: "plugins/smtp", ours: []string{"plugins/sdk"}, libraries: []string{"go-mail", "go-msgauth"}, testOurs: vendor},
	{dir: "plugins/smtp/smtptest", ours: []string{"plugins/sdk"}, libraries: append(slices.Clone(testTools), "go-mail", "go-msgauth", "go-smtp"), testOurs: vendor},
	{dir: "plugins/postmark", ours: []string{"plugins/sdk"}, testOurs: vendor},
	{dir: "plugins/postmark/postmarktest", ours: []string{"plugins/sdk"}, libraries: testTools, testOurs: vendor},
	{dir: "plugins/webhook", ours: []string{"plugins/sdk"}, testOurs: vendor},
	{dir: "observability", ours: []string{"core", "tenants", "plugins/sdk", "observability"}, libraries: []string{"gin", "gin parts", "otel", "prometheus"}, testOurs: service},
	{dir: "cmd/passmend", ours: production, libraries: []string{"cobra", "koanf", "go-smtp"}, testOurs: targets},
	{dir: "cmd/passmend/mailbox", ours: production, libraries: []string{"cobra", "koanf", "go-smtp"}, testOurs: targets},
	{dir: "cmd/passmend/bench", ours: production, libraries: []string{"cobra", "koanf", "go-smtp", "gin", "gin parts"}, testOurs: targets},
	{dir: "cmd/passmend-smtp", ours: []string{"plugins/sdk", "plugins/sdk/serve", "plugins/smtp", "plugins/postmark", "plugins/webhook"}, libraries: []string{"cobra", "koanf"}, testOurs: targets},
	{dir: "attic", testOurs: service}, // a folder that is no room yet
}

// targets are the packages of ours that an arrow may point at.
var targets = append(slices.Clone(service), "cmd/passmend/mailbox")

// libraries are the third-party packages with a room of their own, by the name
// used in rooms, and the import path that stands for each. free ones stand for
// all that no rule is about; banned ones belong nowhere, in tests neither.
var libraries = map[string]string{
	"gin":        "github.com/gin-gonic/gin",
	"gin parts":  "github.com/gin-contrib/sse",
	"yaml":       "go.yaml.in/yaml/v3",
	"bun":        "github.com/uptrace/bun",
	"pgx":        "github.com/jackc/pgx/v5/stdlib",
	"sqlite":     "modernc.org/sqlite",
	"sql":        "database/sql",
	"go-plugin":  "github.com/hashicorp/go-plugin",
	"hclog":      "github.com/hashicorp/go-hclog",
	"grpc":       "google.golang.org/grpc",
	"protobuf":   "google.golang.org/protobuf/proto",
	"go-mail":    "github.com/wneessen/go-mail",
	"go-smtp":    "github.com/emersion/go-smtp",
	"go-msgauth": "github.com/emersion/go-msgauth/dkim",
	"age":        "filippo.io/age",
	"tink":       "github.com/tink-crypto/tink-go/v2/aead",
	"x/crypto":   "golang.org/x/crypto/argon2",
	"otel":       "go.opentelemetry.io/otel/trace",
	"prometheus": "github.com/prometheus/client_golang/prometheus",
	"cobra":      "github.com/spf13/cobra",
	"koanf":      "github.com/knadh/koanf/v2",
	"gobreaker":  "github.com/sony/gobreaker/v2",
	"otter":      "github.com/maypok86/otter/v2",
	"go-cmp":     "github.com/google/go-cmp/cmp",
	"rapid":      "pgregory.net/rapid",
	"goleak":     "go.uber.org/goleak",
	"chromedp":   "github.com/chromedp/chromedp",
	"openapi":    "github.com/getkin/kin-openapi/openapi3",
	"pebble":     "github.com/letsencrypt/pebble/v2/ca",
	"dns":        "github.com/miekg/dns",
	"webhooks":   "github.com/standard-webhooks/standard-webhooks/libraries/go",
	"testing":    "testing",
	"log":        "log",
}

var (
	free   = []string{"context", "net/http", "log/slog", "math/rand/v2"}
	banned = []string{
		"math/rand",
		"github.com/golang/mock", "github.com/mattn/go-sqlite3", "github.com/ncruces/go-sqlite3", "github.com/pkg/errors",
		"github.com/sirupsen/logrus", "github.com/stretchr/testify/require", "go.uber.org/mock", "go.uber.org/zap",
	}
)

// anywhere says which libraries have no room of their own: forbidden to the
// ground and to the SDK only.
var anywhere = []string{"otter"}

// onlyStandard says which rooms are held to the standard library.
var onlyStandard = []string{"tenants", "plugins/sdk"}
