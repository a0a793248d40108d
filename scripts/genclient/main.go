// Command genclient writes the generated part of package client from docs/openapi.json: a type for each schema, and a method for each
// operation that has one answer. It uses the standard library only. `make openapi` calls it.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	from := flag.String("from", "docs/openapi.json", "the OpenAPI document")
	to := flag.String("to", "client/generated.go", "the file to write")
	flag.Parse()
	if err := write(*from, *to); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "genclient:", err)
		os.Exit(1)
	}
}

func write(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	code, err := generate(text)
	if err != nil {
		return err
	}
	return os.WriteFile(to, code, 0o644)
}
