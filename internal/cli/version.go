package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

// versions are what `kaa version --check` finds.
type versions struct {
	Kaa     string   `json:"kaa"`
	URL     string   `json:"url"`
	API     string   `json:"api"`
	Runners []string `json:"runners"`
	Same    bool     `json:"same"`
}

// CheckVersions compares the version of this binary with those of the API and the runners of the Kaa at KAA_URL. It returns ExitError(1)
// if one differs. Runners show theirs to operators only.
func CheckVersions(ctx context.Context, p app.Process) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	v := versions{Kaa: app.ThisBuild().Version, URL: c.URL(), Runners: []string{}}
	if v.API, err = apiVersion(ctx, c); err != nil {
		return err
	}
	v.Same = v.API == v.Kaa
	runners, err := c.ListRunners(ctx)
	if err != nil && !client.IsProblem(err, "scope_missing", "unauthorized") {
		return err
	}
	seen := map[string]bool{}
	for _, r := range runners.Runners {
		v.Same = v.Same && r.Version == v.Kaa
		if !seen[r.Version] {
			seen[r.Version] = true
			v.Runners = append(v.Runners, r.Version)
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "kaa      %s\napi      %s at %s", v.Kaa, v.API, v.URL)
	for _, version := range v.Runners {
		text.WriteString("\nrunner   " + version)
	}
	if err != nil {
		text.WriteString("\nrunner   unknown: the key may not list runners")
	}
	if err := show(p.Stdout, v, text.String()); err != nil || v.Same {
		return err
	}
	if !inJSON(p.Stdout) {
		_, _ = fmt.Fprintln(p.Stderr, "kaa: the versions differ; update what is older")
	}
	return ExitError(1)
}

// apiVersion reads the version that the OpenAPI document of a Kaa has, which needs no scope.
func apiVersion(ctx context.Context, c *client.Client) (string, error) {
	var document struct{ Info struct{ Version string } }
	if err := c.Get(ctx, "/openapi.json", &document); err != nil {
		return "", err
	}
	if document.Info.Version == "" {
		return "", errors.New(c.URL() + " is not a Kaa: its OpenAPI document has no version")
	}
	return document.Info.Version, nil
}
