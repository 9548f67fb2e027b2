package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestThePageOfMetricsIsToday(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	if err := writeMetricsPage(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), string(got)); diff != "" {
		t.Errorf("docs/metrics.md (-passmend metrics --markdown +page):\n%s", diff)
	}
}
