package contract

import "time"

// Verdict is how a case ended.
type Verdict string

// The verdicts.
const (
	Held    Verdict = "ok"
	Failed  Verdict = "failed"
	Ruled   Verdict = "ruled"   // it does not hold, and need not: a ruling decided otherwise
	Skipped Verdict = "skipped" // it could not be tried, see Reasons
)

// Result is one case on one server.
type Result struct {
	Case    string   `json:"case"`
	Ruling  string   `json:"ruling,omitempty"`
	Verdict Verdict  `json:"verdict"`
	Reasons []string `json:"reasons,omitempty"` // none for Held
	Seconds float64  `json:"seconds"`
}

// Report is a run of the suite.
type Report struct {
	URL      string    `json:"url"`
	Account  string    `json:"account"`
	Upstream bool      `json:"upstream"`
	Began    time.Time `json:"began"`
	Seconds  float64   `json:"seconds"`
	Held     int       `json:"held"`
	Failed   int       `json:"failed"`
	Ruled    int       `json:"ruled"`
	Skipped  int       `json:"skipped"`
	Cases    []Result  `json:"cases"`
}

func (r *Report) add(result Result) {
	r.Cases = append(r.Cases, result)
	r.Seconds = time.Since(r.Began).Seconds()
	switch result.Verdict {
	case Held:
		r.Held++
	case Failed:
		r.Failed++
	case Ruled:
		r.Ruled++
	case Skipped:
		r.Skipped++
	}
}
