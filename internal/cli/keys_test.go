package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestKeys: what `kaa keys` makes is a key that the Kaa takes, in Redis and in a file, and a revoked one
// is none.
func TestKeys(t *testing.T) {
	t.Parallel()
	const admin = "key-of-the-operator-of-tests"
	var secret, entry testenv.Buffer
	if err := cli.KeyEntry(app.Process{Stdout: &secret, Stderr: &entry}, cli.KeyOptions{Tenant: "acme", For: time.Hour}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(path, []byte(`{"keys": [`+entry.String()+`]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	url := start(t, "KAA_ADMIN_KEYS="+admin, "KAA_API_KEYS_FILE="+path)
	as := func(key string) (p app.Process, stdout, stderr *testenv.Buffer) {
		stdout, stderr = new(testenv.Buffer), new(testenv.Buffer)
		return app.Process{Environ: app.Environment{"KAA_URL=" + url, "KAA_API_KEY=" + key}, Stdout: stdout, Stderr: stderr}, stdout, stderr
	}
	works := func(key string) error {
		var out, errs testenv.Buffer
		err := runProgram(t, app.Environment{"KAA_URL=" + url, "KAA_API_KEY=" + key}, &out, &errs, cli.RunOptions{}, "print(42)")
		return err
	}
	if err := works(strings.TrimSpace(secret.String())); err != nil {
		t.Errorf("a key of the file: %v", err)
	}
	p, stdout, stderr := as(admin)
	if err := cli.CreateKey(t.Context(), p, cli.KeyOptions{
		Tenant: "acme", Name: "ci", Scopes: []string{"execute", "read"}, Limits: job.KeyLimits{Ceilings: job.QuotaRequest{"timeout": 5}},
	}); err != nil {
		t.Fatal(err)
	}
	made := strings.TrimSpace(stdout.String())
	if access.CheckSecret(made) != nil || works(made) != nil {
		t.Errorf("%q: no key, or not valid", made)
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(stderr.String(), "id "), ",")
	p, stdout, _ = as(admin)
	if err := cli.ListKeys(t.Context(), p, "acme"); err != nil || !strings.Contains(stdout.String(), id) || strings.Count(stdout.String(), "\n") != 3 || !strings.Contains(stdout.String(), `{"ceilings":{"timeout":5}}`) {
		t.Errorf("%v\n%s", err, stdout)
	}
	p, _, _ = as(made)
	if err := cli.ListKeys(t.Context(), p, ""); err == nil || !strings.Contains(err.Error(), "scope admin") {
		t.Errorf("list without the scope: %v", err)
	}
	p, _, _ = as(admin)
	if err := cli.RevokeKey(t.Context(), p, id); err != nil {
		t.Fatal(err)
	}
	if works(made) == nil {
		t.Error("a revoked key is accepted")
	}
	if err := cli.KeyEntry(p, cli.KeyOptions{Tenant: "a b"}); err == nil || !strings.Contains(err.Error(), "--tenant") {
		t.Errorf("an entry for a tenant that can have no such name: %v", err)
	}
	for flag, limits := range map[string]job.KeyLimits{
		"--depth: ": {Depth: new(int)}, "--rate: ": {Rate: new(float64)}, "--ceiling cpus: ": {Ceilings: job.QuotaRequest{"cpus": -1}},
		"--ceiling: ": {Ceilings: job.QuotaRequest{"cpu": 1}}, "--runtimes: ": {Runtimes: []string{}},
	} {
		if err := cli.KeyEntry(p, cli.KeyOptions{Tenant: "acme", Limits: limits}); err == nil || !strings.HasPrefix(err.Error(), flag) {
			t.Errorf("%v, want %s", err, flag)
		}
	}
	if err := cli.ListKeys(t.Context(), app.Process{}, ""); err == nil || !strings.Contains(err.Error(), "KAA_URL") {
		t.Errorf("without KAA_URL: %v", err)
	}
	var parsed access.Key
	if err := json.Unmarshal([]byte(entry.String()), &parsed); err != nil || parsed.Expires.IsZero() {
		t.Errorf("%v: %+v", err, parsed)
	}
}
