// Package-spec's own rules on a folder or a zip. usage: speccheck PATH...; exit 1 if one breaks a rule.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/elastic/package-spec/v3/code/go/pkg/validator"
)

func main() {
	status := 0
	for _, path := range os.Args[1:] {
		check := validator.ValidateFromPath
		if strings.HasSuffix(path, ".zip") {
			check = validator.ValidateFromZip
		}
		if err := check(path); err != nil {
			status = 1
			fmt.Printf("%s: %v\n", path, err)
		}
	}
	os.Exit(status)
}
