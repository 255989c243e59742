// Package tool names elastic-package, Elastic's own checker of packages, so that go.mod keeps it. Built: github.com/elastic/elastic-package.
package tool

import _ "github.com/elastic/elastic-package/cmd"
