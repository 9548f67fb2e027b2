package main

import (
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// statement says of what and how the image was made, in the form of in-toto
// (Statement v1) and SLSA (Provenance v1). Nobody signs it here.
type statement struct {
	Type          string     `json:"_type"`
	Subject       []resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     predicate  `json:"predicate"`
}

type resource struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest"`
}

type predicate struct {
	Definition definition `json:"buildDefinition"`
	Run        runDetails `json:"runDetails"`
}

type definition struct {
	BuildType    string            `json:"buildType"`
	External     map[string]string `json:"externalParameters"`
	Internal     map[string]string `json:"internalParameters"`
	Dependencies []resource        `json:"resolvedDependencies"`
}

type runDetails struct {
	Builder    map[string]string `json:"builder"`
	Metadata   map[string]string `json:"metadata"`
	Byproducts []resource        `json:"byproducts"`
}

// provenance names the source by its commit, the toolchain and settings that the
// binaries give themselves, and their checksums.
func (b build) provenance(platform v1.Platform, digest v1.Hash, binaries []program) statement {
	first := binaries[0]
	s := statement{
		Type:          "https://in-toto.io/Statement/v1",
		Subject:       []resource{{Name: "passmend:" + b.version, Digest: map[string]string{digest.Algorithm: digest.Hex}}},
		PredicateType: "https://slsa.dev/provenance/v1",
		Predicate: predicate{
			Definition: definition{
				BuildType: source + "/deploy/image",
				External:  map[string]string{"version": b.version, "platform": platform.String()},
				Internal: map[string]string{
					"go": first.info.GoVersion, "tags": first.setting("-tags"), "trimpath": first.setting("-trimpath"), "CGO_ENABLED": first.setting("CGO_ENABLED"),
				},
				Dependencies: []resource{{URI: "git+" + source, Digest: map[string]string{"gitCommit": b.revision}}},
			},
			Run: runDetails{
				Builder:  map[string]string{"id": source + "/Makefile#image"},
				Metadata: map[string]string{"startedOn": b.time.Format(time.RFC3339)},
			},
		},
	}
	for _, p := range binaries {
		s.Predicate.Run.Byproducts = append(s.Predicate.Run.Byproducts, resource{Name: p.name, Digest: map[string]string{"sha256": p.sha256()}})
	}
	return s
}
