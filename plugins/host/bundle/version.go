package bundle

import (
	"cmp"
	"regexp"
	"strings"
)

// maxVersion is the host's limit for a plugin's version, in bytes.
const maxVersion = 64

// versionForm is semantic versioning 2.0.0, as its section on regular expressions
// gives the grammar: numbers without leading zeros, a pre-release, build metadata.
var versionForm = regexp.MustCompile(`^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)` +
	`(?:-((?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*))?` +
	`(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?$`)

func validVersion(s string) bool { return len(s) <= maxVersion && versionForm.MatchString(s) }

// compareVersions orders two valid versions by section 11 of semantic versioning;
// build metadata does not count.
func compareVersions(a, b string) int {
	x, y := versionForm.FindStringSubmatch(a), versionForm.FindStringSubmatch(b)
	for i := 1; i <= 3; i++ {
		if c := compareNumbers(x[i], y[i]); c != 0 {
			return c
		}
	}
	switch {
	case x[4] == y[4]:
		return 0
	case x[4] == "": // a release comes after its pre-releases
		return 1
	case y[4] == "":
		return -1
	}
	return comparePreReleases(strings.Split(x[4], "."), strings.Split(y[4], "."))
}

func comparePreReleases(a, b []string) int {
	for i := range min(len(a), len(b)) {
		if c := compareIdentifiers(a[i], b[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

// compareIdentifiers puts numbers before words.
func compareIdentifiers(a, b string) int {
	switch x, y := isNumber(a), isNumber(b); {
	case x && y:
		return compareNumbers(a, b)
	case x:
		return -1
	case y:
		return 1
	}
	return strings.Compare(a, b)
}

func isNumber(s string) bool { return strings.Trim(s, "0123456789") == "" }

// compareNumbers compares digits without leading zeros, of any length.
func compareNumbers(a, b string) int {
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}
