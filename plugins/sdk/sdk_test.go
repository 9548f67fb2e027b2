package sdk_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/plugins/sdk"
)

// A vendor who implements the contract takes on nothing but the standard library.
func TestTheSDKImportsTheStandardLibraryOnly(t *testing.T) {
	t.Parallel()
	const own = "github.com/passmend/passmend/plugins/sdk"
	if foreign := foreignTo(t, own); !slices.Equal(foreign, []string{own}) {
		t.Errorf("%s depends on %v", own, foreign)
	}
	// The control: the same question finds what the wire depends on.
	if foreign := foreignTo(t, own+"/serve"); !slices.Contains(foreign, "google.golang.org/grpc") {
		t.Error("the list does not show foreign packages")
	}
}

// foreignTo lists what a package depends on beyond the standard library, itself
// included.
func foreignTo(t *testing.T, name string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps",
		"-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

func TestASecretPrintsNowhere(t *testing.T) {
	t.Parallel()
	const value = "s3cret-value"
	settings := sdk.Settings{Secrets: map[string]sdk.Secret{"password": sdk.NewSecret(value)}}
	encoded, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "settings", settings, "secret", settings.Secrets["password"])
	texts := []string{string(encoded), log.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, settings), fmt.Sprintf(verb, settings.Secrets["password"]))
	}
	for _, text := range texts {
		if strings.Contains(text, value) || strings.Contains(text, fmt.Sprintf("%x", value)) {
			t.Errorf("printed: %s", text)
		}
	}
	// The control: a plain string in its place is found.
	if text := fmt.Sprintf("%v", map[string]string{"password": value}); !strings.Contains(text, value) {
		t.Error("the control did not print")
	}
	if got := settings.Secrets["password"].Reveal(); got != value {
		t.Errorf("Reveal = %q", got)
	}
}

func TestFailureOf(t *testing.T) {
	t.Parallel()
	refused := &sdk.Failure{Kind: sdk.RecipientRefused, Public: "no such mailbox", Private: "550"}
	if got := sdk.FailureOf(fmt.Errorf("send: %w", refused)); got != refused {
		t.Errorf("FailureOf = %+v", got)
	}
	want := &sdk.Failure{Kind: sdk.Unknown, Public: "the provider gave no usable answer", Private: "boom"}
	if diff := cmp.Diff(want, sdk.FailureOf(errors.New("boom"))); diff != "" {
		t.Errorf("FailureOf (-want +got):\n%s", diff)
	}
	if got := refused.Error(); got != "recipient-refused: no such mailbox" {
		t.Errorf("Error = %q", got)
	}
}
