package cli_test

import (
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestPackages: `kaa packages` has packages installed, shows their lock file and lists them.
func TestPackages(t *testing.T) {
	t.Parallel()
	index := testenv.PackageIndex(t, testenv.Wheel{Name: "alpha", Version: "1.5"})
	const admin = "key-of-the-operator-of-tests"
	url := start(t, "KAA_ADMIN_KEYS="+admin, "KAA_UV="+testenv.UV(t), "KAA_PACKAGE_INDEX="+index.URL)
	call := func(command func(p app.Process) error) (string, error) {
		out := new(testenv.Buffer)
		err := command(app.Process{Environ: app.Environment{"KAA_URL=" + url, "KAA_API_KEY=" + admin}, Stdout: out, Stderr: out})
		return out.String(), err
	}
	id, err := call(func(p app.Process) error {
		return cli.PreparePackages(t.Context(), p, []string{"Alpha"}, []string{"alpha"}, "")
	})
	if id = strings.TrimSpace(id); err != nil || len(id) != 32 {
		t.Fatalf("prepare: %v %s", err, id)
	}
	for name, tt := range map[string]struct {
		command func(p app.Process) error
		says    string
	}{
		"list": {func(p app.Process) error { return cli.ListPackages(t.Context(), p) }, id + "  ready"},
		"lock": {func(p app.Process) error { return cli.ShowPackages(t.Context(), p, id, false) }, "alpha==1.5 \\\n    --hash=sha256:"},
		"log":  {func(p app.Process) error { return cli.ShowPackages(t.Context(), p, id, true) }, "+ alpha==1.5"},
	} {
		if out, err := call(tt.command); err != nil || !strings.Contains(out, tt.says) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	if _, err := call(func(p app.Process) error { return cli.PreparePackages(t.Context(), p, []string{"no-such"}, nil, "") }); err == nil || !strings.Contains(err.Error(), "packages_unresolved") {
		t.Errorf("packages that cannot be had: %v", err)
	}
	if _, err := call(func(p app.Process) error { return cli.ShowPackages(t.Context(), p, "none", false) }); err == nil || !strings.Contains(err.Error(), "no environment") {
		t.Errorf("one that is not there: %v", err)
	}
}
