package main

import (
	"cmp"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// document is an SBOM in SPDX 2.3, the parts of it that are used.
type document struct {
	Version       string         `json:"spdxVersion"`
	DataLicense   string         `json:"dataLicense"`
	ID            string         `json:"SPDXID"`
	Name          string         `json:"name"`
	Namespace     string         `json:"documentNamespace"`
	Creation      creation       `json:"creationInfo"`
	Packages      []spdxPackage  `json:"packages"`
	Relationships []relationship `json:"relationships"`
}

type creation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	ID               string      `json:"SPDXID"`
	Name             string      `json:"name"`
	Version          string      `json:"versionInfo,omitempty"`
	DownloadLocation string      `json:"downloadLocation"`
	FilesAnalyzed    bool        `json:"filesAnalyzed"`
	LicenseConcluded string      `json:"licenseConcluded"`
	Purpose          string      `json:"primaryPackagePurpose,omitempty"`
	Checksums        []checksum  `json:"checksums,omitempty"`
	References       []reference `json:"externalRefs,omitempty"`
	Comment          string      `json:"comment,omitempty"`
}

type checksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type reference struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type relationship struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

// sbom lists the image, its binaries, and every module that the linker put into
// them, as they say themselves.
func (b build) sbom(platform v1.Platform, digest v1.Hash, binaries []program) document {
	image := spdxPackage{
		ID: "SPDXRef-image", Name: "passmend", Version: b.version, DownloadLocation: "NOASSERTION", LicenseConcluded: "Apache-2.0",
		Purpose: "CONTAINER", Checksums: []checksum{{"SHA256", digest.Hex}},
	}
	d := document{
		Version: "SPDX-2.3", DataLicense: "CC0-1.0", ID: "SPDXRef-DOCUMENT",
		Name:      fmt.Sprintf("passmend %s %s", b.version, platform),
		Namespace: fmt.Sprintf("%s/sbom/%s", source, digest.Hex),
		Creation:  creation{Created: b.time.Format(time.RFC3339), Creators: []string{"Tool: passmend-deploy-image"}},
		Packages:  []spdxPackage{image},
		Relationships: []relationship{
			{From: "SPDXRef-DOCUMENT", Type: "DESCRIBES", To: image.ID},
		},
	}
	modules := make(map[string]spdxPackage)
	for _, binary := range binaries {
		p := spdxPackage{
			ID: "SPDXRef-binary-" + binary.name, Name: binary.name, Version: b.version, DownloadLocation: "NOASSERTION",
			LicenseConcluded: "Apache-2.0", Purpose: "APPLICATION", Checksums: []checksum{{"SHA256", binary.sha256()}},
		}
		d.Packages = append(d.Packages, p)
		d.Relationships = append(d.Relationships, relationship{image.ID, "CONTAINS", p.ID})
		for _, module := range linked(binary.info) {
			m := describe(module)
			modules[m.ID] = m
			d.Relationships = append(d.Relationships, relationship{p.ID, "DEPENDS_ON", m.ID})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(modules)) {
		d.Packages = append(d.Packages, modules[id])
	}
	return d
}

// linked are the modules in a binary, as replaced, and the standard library.
func linked(info *debug.BuildInfo) []*debug.Module {
	modules := []*debug.Module{{Path: "stdlib", Version: strings.TrimPrefix(info.GoVersion, "go")}}
	for _, module := range info.Deps {
		modules = append(modules, cmp.Or(module.Replace, module))
	}
	return modules
}

func describe(module *debug.Module) spdxPackage {
	p := spdxPackage{
		ID: "SPDXRef-module-" + spdxID(module.Path+"-"+module.Version), Name: module.Path, Version: module.Version,
		DownloadLocation: "NOASSERTION", LicenseConcluded: "NOASSERTION", Purpose: "LIBRARY",
		References: []reference{{"PACKAGE-MANAGER", "purl", fmt.Sprintf("pkg:golang/%s@%s", module.Path, strings.ReplaceAll(module.Version, "+", "%2B"))}},
	}
	if module.Sum != "" {
		// Go's sum is of a list of files, no checksum of a file that SPDX could name.
		p.Comment = "go.sum " + module.Sum
	}
	return p
}

// spdxID makes an identifier of letters, digits, "." and "-" (SPDX 2.3, 3.2).
func spdxID(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, s)
}
