package core

import (
	"strings"
	"testing"
)

func TestParseLimit(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"off": "off", " 5/h ": "5/h", "5/10m": "5/10m", "20/m:10,200/d": "20/m:10,200/d", "20/1m:10": "20/m:10", "1/60s": "1/m", "1/90s": "1/90s", "1000000/31d": "1000000/31d",
	} {
		limit, err := ParseLimit(text)
		if err != nil || limit.String() != want {
			t.Errorf("%q: %s %v", text, limit, err)
		}
		if again, err := ParseLimit(limit.String()); err != nil || again.String() != want {
			t.Errorf("%q does not read back", limit)
		}
	}
	for _, text := range []string{"", "5", "/h", "0/h", "-1/h", "5/", "5/w", "5/0m", "5/h:", "5/h:0", "5/h,", "5 / h", "1/32d", "1/999999999999s", "1000001/h", "5/h,5/h,5/h,5/h,5/h", "+5/h", "OFF", "5/mm", "5/ö"} {
		if limit, err := ParseLimit(text); err == nil || !strings.Contains(err.Error(), "RATE/UNIT") {
			t.Errorf("%q: %s %v", text, limit, err)
		}
	}
}
