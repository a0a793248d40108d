// Command api runs Kaa's api process. Environment variables configure it; see
// docs/configuration.md.
package main

import (
	"os"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/blob/s3"
)

func main() {
	os.Exit(app.Main("api", app.RunAPI, app.APIHealthAddr, s3.Open))
}
