package sdktest

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"time"

	"github.com/passmend/passmend/plugins/sdk/serve"
)

// Verdict is how a case ended.
type Verdict string

// The verdicts.
const (
	Passed  Verdict = "ok"
	Failed  Verdict = "failed"
	Skipped Verdict = "skipped" // it could not be tried, see Reasons
)

// Result is one case on one target.
type Result struct {
	Case    string   `json:"case"`
	Verdict Verdict  `json:"verdict"`
	Reasons []string `json:"reasons,omitempty"` // none for Passed
	Seconds float64  `json:"seconds"`
}

// Report is a run of the kit, as a package carries it.
type Report struct {
	Kit      string    `json:"kit"`      // the kit's version
	Contract int       `json:"contract"` // the version of the contract that was spoken
	Provider Provider  `json:"provider"`
	Began    time.Time `json:"began"`
	Seconds  float64   `json:"seconds"`
	Passed   int       `json:"passed"`
	Failed   int       `json:"failed"`
	Skipped  int       `json:"skipped"`
	Cases    []Result  `json:"cases"`
}

// Provider is who was tested.
type Provider struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// Checksum is the executable's SHA-256 in hex; empty for a value.
	Checksum string `json:"sha256,omitempty"`
}

func (k *kit) report() Report {
	report := Report{
		Kit: Version, Contract: serve.ProtocolVersion, Began: time.Now().UTC(),
		Provider: Provider{Name: k.description.Name, Version: k.description.Version},
	}
	if k.process != nil {
		report.Contract = k.process.Version()
	}
	if executable, err := os.ReadFile(k.Path); err == nil {
		sum := sha256.Sum256(executable)
		report.Provider.Checksum = hex.EncodeToString(sum[:])
	}
	return report
}

// Add counts one more result, of a case of the caller's own perhaps.
func (r *Report) Add(result Result) {
	r.Cases = append(r.Cases, result)
	r.Seconds = time.Since(r.Began).Seconds()
	switch result.Verdict {
	case Passed:
		r.Passed++
	case Failed:
		r.Failed++
	case Skipped:
		r.Skipped++
	}
}
