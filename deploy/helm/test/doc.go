// Package helm holds the chart to its promises without a cluster: what it renders
// for many values, what it refuses, and what the pods that it asks for may do.
//
// Limits first. Nothing here runs a pod: that a server comes up under what is
// rendered, deploy/image and `helm test` show. Types that a cluster learns from an
// operator are checked against minimal descriptions in testdata/crds.
//
// It is a module of its own, and ../validate another, so that Helm and Kubernetes
// stay out of the product's go.mod.
package helm
