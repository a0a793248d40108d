package app_test

import (
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestMissingInstaller: where callers may name packages, a runner without the installer says so at its start, and what to change.
func TestMissingInstaller(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		vars  []string
		warns bool
	}{
		"on":                       {[]string{"KAA_PACKAGES=on"}, true},
		"auto, with keys":          {[]string{"KAA_API_KEYS=key-of-a-test-of-installers"}, true},
		"auto, without keys":       {nil, false},
		"off":                      {[]string{"KAA_PACKAGES=off", "KAA_API_KEYS=key-of-a-test-of-installers"}, false},
		"on, with what can be run": {[]string{"KAA_PACKAGES=on", "KAA_UV=" + testenv.SystemPython()}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := prepare(t, testenv.Redis(t), append([]string{"KAA_UV=/nowhere/uv", "KAA_SANDBOX=none"}, tt.vars...)...)
			k.run(app.RunRunner)
			logs := k.logs.String()
			for _, word := range []string{"no installer of packages", "KAA_UV: ", "install uv", "KAA_PACKAGES=off"} {
				if strings.Contains(logs, word) != tt.warns {
					t.Errorf("%q in the log: want %v\n%s", word, tt.warns, logs)
				}
			}
		})
	}
}
