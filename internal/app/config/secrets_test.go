package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app/config"
)

// TestSecretsFile: what a file of secrets may say, and that no message and no setting shows a value.
func TestSecretsFile(t *testing.T) {
	t.Parallel()
	const value = "hunter2-hunter2"
	good := `{"name": "a", "value": "` + value + `", "to": ["a.example:443"], "tenants": ["*"]}`
	for text, want := range map[string]string{
		`{"secrets": []}`:             "",
		`{"secrets": [` + good + `]}`: "",
		`{"secrets": [{"name": "a", "to": ["a.example"], "tenants": ["t"], "plain": true}]}`: "",
		``:                                   "ends before its object does",
		`{"secrets": [` + good:               "ends before its object does",
		`[]`:                                 "it is no object",
		`{"a": 1}`:                           "unknown field",
		`{}`:                                 "want {",
		"{\n\n\"secrets\": [" + value + "]}": "line 3 is not JSON",
		`{"secrets": [` + good + `], "Secrets": []}`:                                                                  "a field occurs twice",
		`{"secrets": [{"name": "a", "value": "x", "Value": "` + value + `", "to": ["a.example"], "tenants": ["*"]}]}`: "a field occurs twice",
		`{"secrets": [{"value": {"` + value + `": 1}}]}`:                                                              "has another type",
		`{"secrets": [` + good + `]} x`:                                                                               "text after the object",
		`{"secrets": [` + good + `,` + good + `]}`:                                                                    "a occurs twice",
		`{"secrets": [{"name": "A b", "to": ["a.example"], "tenants": ["*"]}]}`:                                       "is not one",
		`{"secrets": [{"name": "a", "value": "` + value + `\n", "to": ["a.example"], "tenants": ["*"]}]}`:             "not one of a header",
		`{"secrets": [{"name": "a", "value": "x", "tenants": ["*"]}]}`:                                                "to is empty",
		`{"secrets": [{"name": "a", "value": "x", "to": ["https://x"], "tenants": ["*"]}]}`:                           "write host:port",
		`{"secrets": [{"name": "a", "value": "x", "to": ["a.example"]}]}`:                                             "tenants is empty",
	} {
		path := filepath.Join(t.TempDir(), "secrets.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(config.Environment{"KAA_EGRESS=*", "KAA_EGRESS_INTERCEPT=true", "KAA_SECRETS_FILE=" + path})
		said := fmt.Sprint(err)
		if (err == nil) != (want == "") || !strings.Contains(said, want) || strings.Contains(said, value) {
			t.Errorf("%s: %v", text, err)
		}
		secrets, err := config.SecretsIn(path)
		if shown := fmt.Sprintf("%+v %+v %+v", c.Shown(), secrets, err); strings.Contains(shown, value) {
			t.Errorf("%s: the value is to be seen in %s", text, shown)
		}
		if strings.Contains(text, good) && want == "" && (len(secrets) != 1 || secrets[0].Value != value) {
			t.Errorf("%s: %d secrets", text, len(secrets))
		}
	}
	for name, vars := range map[string]config.Environment{
		"KAA_SECRETS_FILE is set, but no request": {"KAA_EGRESS=*", "KAA_SECRETS_FILE=/dev/null"},
		"KAA_EGRESS allows no destination":        {"KAA_EGRESS_INTERCEPT=true"},
		"not a regular file":                      {"KAA_EGRESS=*", "KAA_EGRESS_INTERCEPT=true", "KAA_SECRETS_FILE=/dev/null"},
		"no such file":                            {"KAA_EGRESS=*", "KAA_EGRESS_INTERCEPT=true", "KAA_SECRETS_FILE=/nonexistent/file"},
	} {
		if _, err := config.Load(vars); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v: %v", vars, err)
		}
	}
}
