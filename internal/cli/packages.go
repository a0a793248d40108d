package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

// ListPackages prints the packages that were prepared.
func ListPackages(ctx context.Context, p app.Process) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	all, err := c.ListEnvironments(ctx)
	if err != nil {
		return err
	}
	return list(p.Stdout, "ENVIRONMENT STATE BYTES READY PACKAGES", all.Environments, func(e client.EnvironmentView) []string {
		return []string{e.ID, e.State, number(valueOf(e.Bytes)), momentOr(e.ReadyAt), strings.Join(e.Packages, " ")}
	})
}

// PreparePackages has packages installed, and modules of theirs imported, ahead. It waits for that, and prints the id of their environment.
func PreparePackages(ctx context.Context, p app.Process, packages, preload []string, runtime string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	body := client.EnvironmentBody{Packages: packages, Preload: preload}
	if runtime != "" {
		body.Runtime = &runtime
	}
	e, err := c.CreateEnvironment(ctx, body)
	if err != nil {
		return err
	}
	for e.State == "queued" || e.State == "building" {
		if _, err := c.GetJob(ctx, e.JobID, client.GetJobParams{Wait: "30"}); err != nil {
			return err
		}
		if e, err = c.GetEnvironment(ctx, e.ID); err != nil {
			return err
		}
	}
	if e.State == "failed" {
		return failed(e)
	}
	return show(p.Stdout, e, e.ID)
}

func failed(e client.EnvironmentView) error {
	if e.Failure == nil {
		return fmt.Errorf("%s was given up", e.ID)
	}
	return fmt.Errorf("%s: %s", e.Failure.Code, e.Failure.Message)
}

// ShowPackages prints the lock file of an environment, or the output of the installer.
func ShowPackages(ctx context.Context, p app.Process, id string, log bool) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	e, err := c.GetEnvironment(ctx, id)
	if err != nil {
		return err
	}
	if inJSON(p.Stdout) {
		return encode(p.Stdout, e)
	}
	text := e.Lock
	switch {
	case e.State == "failed":
		return failed(e)
	case log:
		text = e.Log
	case text == "":
		text = e.State + "\n"
	}
	_, err = io.WriteString(p.Stdout, text)
	return err
}
