//go:build tools

// Package tool names Helm, which checks the chart of packaging/helm, so that go.mod keeps it. Built: helm.sh/helm/v4/cmd/helm.
package tool

import _ "helm.sh/helm/v4/cmd/helm"
