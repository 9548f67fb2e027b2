package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"unicode/utf8"
)

// The files of a bundle beside its manifest and its executables.
const (
	SchemaFile       = "schema.json"
	InstructionsFile = "instructions.md"
	IconFile         = "icon.png"
	LicenseFile      = "LICENSE"
	ReportFile       = "report.json"
)

// fileLimits are the most bytes that each may have.
var fileLimits = map[string]int64{
	SchemaFile:       256 << 10,
	InstructionsFile: 256 << 10,
	IconFile:         256 << 10,
	LicenseFile:      256 << 10,
	ReportFile:       1 << 20,
}

// maxIcon is the most pixels of an icon's side.
const maxIcon = 1024

// Report is what a bundle takes of a conformance report; the rest of it is the
// kit's (plugins/sdk/sdktest).
type Report struct {
	Provider struct {
		// SHA256 is the checksum, in hex, of the executable that was tried.
		SHA256 string `json:"sha256"`
	} `json:"provider"`
	// Passed and Failed count cases.
	Passed int `json:"passed"`
	Failed int `json:"failed"`
}

// ParseReport reads a report as 'passmend plugin test' writes it.
func ParseReport(text []byte) (Report, error) {
	var report Report
	if err := json.Unmarshal(text, &report); err != nil || !sha256Form.MatchString(report.Provider.SHA256) {
		return report, errors.New("not a report of 'passmend plugin test' about an executable")
	}
	return report, nil
}

// checkReport refuses a report that says no good of one of the executables.
func (m Manifest) checkReport(text []byte) error {
	report, err := ParseReport(text)
	if err != nil {
		return err
	}
	if report.Failed > 0 || report.Passed == 0 {
		return fmt.Errorf("%d cases held and %d did not", report.Passed, report.Failed)
	}
	for _, binary := range m.Platforms {
		if binary.SHA256 == report.Provider.SHA256 {
			return nil
		}
	}
	return errors.New("it is about another executable: run 'passmend plugin test' again")
}

// checkFiles holds the small files against their kinds.
func (m Manifest) checkFiles(files map[string][]byte) error {
	if files[SchemaFile] == nil {
		return fmt.Errorf("%s is missing", SchemaFile)
	}
	for name, content := range files {
		if err := m.checkFile(name, content); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (m Manifest) checkFile(name string, content []byte) error {
	if limit := fileLimits[name]; int64(len(content)) > limit {
		return fmt.Errorf("longer than %d bytes", limit)
	}
	switch name {
	case SchemaFile:
		var object map[string]json.RawMessage
		if err := json.Unmarshal(content, &object); err != nil || object == nil {
			return errors.New("not a JSON object")
		}
	case InstructionsFile, LicenseFile:
		if !utf8.Valid(content) {
			return errors.New("not UTF-8 text")
		}
	case IconFile:
		icon, err := png.DecodeConfig(bytes.NewReader(content))
		if err != nil || icon.Width > maxIcon || icon.Height > maxIcon {
			return fmt.Errorf("not a PNG of at most %d by %d pixels", maxIcon, maxIcon)
		}
	case ReportFile:
		return m.checkReport(content)
	}
	return nil
}
