package helm

import (
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// refusal is values that must not come through, and a word of the reason.
type refusal struct{ Says, Values string }

const leastRefusals = 60

func readRefusals(t *testing.T) []refusal {
	t.Helper()
	text, err := os.ReadFile("testdata/refused.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var refusals []refusal
	if err := yaml.UnmarshalStrict(text, &refusals); err != nil {
		t.Fatal(err)
	}
	if len(refusals) < leastRefusals {
		t.Fatalf("there are %d refusals, not %d", len(refusals), leastRefusals)
	}
	return refusals
}

func TestBadValuesAreRefusedWithTheirReason(t *testing.T) {
	t.Parallel()
	chart := readChart(t)
	for _, refusal := range readRefusals(t) {
		_, err := chart.render(minimal(t, refusal.Values), cluster{})
		switch {
		case err == nil:
			t.Errorf("came through: %s", refusal.Values)
		case !strings.Contains(err.Error(), refusal.Says):
			t.Errorf("%s\ndoes not say %q: %v", refusal.Values, refusal.Says, err)
		}
	}
}

// The control: what is said against values must be said of them, not of all.
func TestWhatIsSaidAgainstBadValuesIsNotSaidOfGoodOnes(t *testing.T) {
	t.Parallel()
	if _, err := readChart(t).render(minimal(t, ""), cluster{}); err != nil {
		t.Fatal(err)
	}
	open := readChart(t)
	delete(open, "values.schema.json")
	through := 0
	for _, refusal := range readRefusals(t) {
		if _, err := open.render(minimal(t, refusal.Values), cluster{}); err == nil {
			through++
		}
	}
	if through < leastRefusals/2 {
		t.Errorf("without its schema the chart still refuses all but %d", through)
	}
}
