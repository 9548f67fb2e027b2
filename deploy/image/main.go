// Command image puts the static binaries into a container image, as an OCI layout
// on disk: no Docker, no base image, no network.
//
// Limits first. It builds for Linux only, pushes nothing and signs nothing: the
// statement of provenance is a note, not a proof. The image has no shell and no
// package manager; what it holds is the four binaries, certificate authorities, two
// users and a place for data.
//
// The same input gives the same bytes: times are the commit's, owners and order are
// fixed, and the authorities come from a pinned module instead of the machine.
//
//	image -binaries DIR -layout DIR -license FILE -version 1.2.3 -revision COMMIT linux/amd64 linux/arm64
//
// DIR of -binaries holds a folder for each platform, as linux-amd64.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	var b build
	epoch := flag.Int64("epoch", 0, "the time of everything in the image, in seconds of Unix time")
	flag.StringVar(&b.binaries, "binaries", "", "folder with a folder of binaries for each platform")
	flag.StringVar(&b.layout, "layout", "", "folder to write the OCI layout to; an old one is replaced")
	flag.StringVar(&b.license, "license", "", "file of the licence")
	flag.StringVar(&b.version, "version", "dev", "the version of the image")
	flag.StringVar(&b.revision, "revision", "unknown", "the commit of the source")
	flag.Parse()
	b.platforms, b.time = flag.Args(), time.Unix(*epoch, 0).UTC()
	digest, err := b.run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
	fmt.Fprintf(os.Stdout, "%s@%s\n", b.layout, digest)
}
