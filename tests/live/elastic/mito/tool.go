// Package tool names mito, the interpreter of CEL with the agent's functions, so that go.mod keeps it. Built: github.com/elastic/mito/cmd/mito.
package tool

import _ "github.com/elastic/mito/lib"
