// Command runner runs Kaa's runner process. Environment variables configure it; see
// docs/configuration.md.
package main

import (
	"os"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/blob/s3"
)

func main() {
	app.ShareProcessors()
	os.Exit(app.Main("runner", app.RunRunner, app.RunnerHealthAddr, s3.Open))
}
