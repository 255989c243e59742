// The syntax of CEL programs, by the parser that the agent has. usage: celparse FILE...; exit 1 if one does not parse.
package main

import (
	"fmt"
	"os"

	"github.com/google/cel-go/cel"
)

func main() {
	env, err := cel.NewEnv(cel.OptionalTypes())
	if err != nil {
		panic(err)
	}
	status := 0
	for _, path := range os.Args[1:] {
		source, err := os.ReadFile(path)
		if err != nil {
			panic(err)
		}
		if _, issues := env.Parse(string(source)); issues.Err() != nil {
			status = 1
			fmt.Printf("%s: %v\n", path, issues.Err())
		}
	}
	os.Exit(status)
}
