package layout

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/kaa-run/kaa/"

// allowed lists, for each package of ours, the packages of ours it may import.
// A new package fails the test until somebody has decided where it belongs.
var allowed = map[string][]string{
	"internal/job":              nil,
	"internal/jsonfile":         nil,
	"internal/access":           {"internal/job", "internal/jsonfile"},
	"internal/schedule":         nil,
	"internal/oidc":             {"internal/access"},
	"internal/luascript":        nil,
	"internal/store":            {"internal/access", "internal/job", "internal/luascript"},
	"internal/queue":            {"internal/job", "internal/luascript"},
	"internal/service":          {"internal/access", "internal/job", "internal/schedule"},
	"internal/door":             {"internal/access", "internal/job", "internal/service"},
	"internal/dialect":          {"internal/job", "internal/service"},
	"internal/sandboxport":      {"internal/job", "internal/service"},
	"internal/api":              {"internal/job", "internal/service", "internal/sandboxport"},
	"internal/console":          nil,
	"internal/runner":           {"internal/job"},
	"internal/sandbox":          {"internal/job"},
	"internal/python":           nil,
	"internal/workdir":          {"internal/job"},
	"internal/sandboxfs":        {"internal/job"},
	"internal/process":          {"internal/sandbox", "internal/workdir"},
	"internal/protocol":         {"internal/job"},
	"internal/capture":          {"internal/job", "internal/protocol"},
	"internal/interpreter":      {"internal/job", "internal/sandbox", "internal/python", "internal/workdir", "internal/sandboxfs", "internal/process", "internal/protocol", "internal/capture"},
	"internal/packages":         {"internal/job", "internal/interpreter", "internal/process"},
	"internal/telemetry":        {"internal/job"},
	"internal/netguard":         {"internal/job"},
	"internal/egress":           {"internal/job", "internal/netguard"},
	"internal/webhook":          {"internal/job", "internal/netguard"},
	"internal/blob":             {"internal/job"},
	"internal/blob/s3":          {"internal/blob"},
	"internal/devredis":         nil,
	"internal/job/jobtest":      {"internal/job"},
	"internal/testenv":          nil,
	"internal/layout":           nil,
	"test/dialects/toy":         {"internal/job", "internal/service"},
	"test/dialects/lines":       {"internal/job", "internal/service"},
	"test/cases":                nil,
	"test/chaos":                nil,
	"test/escape":               nil,
	"internal/app/config":       {"internal/access", "internal/job", "internal/jsonfile", "internal/store", "internal/interpreter", "internal/telemetry", "internal/blob", "internal/oidc", "internal/sandboxport"},
	"internal/app/redisclient":  nil,
	"internal/app/interpreters": {"internal/job", "internal/sandbox", "internal/interpreter", "internal/egress", "internal/app/config"},
	"internal/app/doctor":       {"internal/job", "internal/oidc", "internal/store", "internal/sandbox", "internal/interpreter", "internal/app/config", "internal/app/redisclient", "internal/app/interpreters"},
	"internal/app": {
		"internal/access", "internal/oidc", "internal/job", "internal/service", "internal/door", "internal/dialect", "internal/sandboxport", "internal/console", "internal/store", "internal/queue", "internal/api", "internal/runner", "internal/interpreter", "internal/packages", "internal/process",
		"internal/sandbox", "internal/telemetry", "internal/webhook", "internal/blob", "internal/app/config", "internal/app/redisclient", "internal/app/interpreters",
	},
	"client":            nil,
	"internal/bench":    {"client"},
	"internal/cli":      {"client", "internal/access", "internal/bench", "internal/job", "internal/sandboxport", "internal/app"},
	"cmd/api":           {"internal/app", "internal/blob/s3"},
	"cmd/runner":        {"internal/app", "internal/blob/s3"},
	"cmd/kaa":           {"internal/app", "internal/app/doctor", "internal/bench", "internal/cli", "internal/devredis"},
	"scripts/genclient": nil,
	"scripts/texts":     nil,
}

// dialects is the directory with the protocols besides Kaa's own. Each of its packages may import these packages, and
// those below its own directory; internal/app may import each of them.
const dialects = "internal/dialect/"

var ofDialect = []string{"internal/access", "internal/job", "internal/service", "internal/dialect", "internal/sandboxport"}

// mayImport reports whether a package may import another one.
func mayImport(name, other string) bool {
	rest, isDialect := strings.CutPrefix(name, dialects)
	switch folder, _, _ := strings.Cut(rest, "/"); {
	case isDialect:
		return slices.Contains(ofDialect, other) || strings.HasPrefix(other, dialects+folder+"/")
	case name == "internal/app" && strings.HasPrefix(other, dialects):
		return true
	}
	return slices.Contains(allowed[name], other)
}

// owners lists who may import the packages that are kept in one place.
var owners = map[string][]string{
	"github.com/gin-gonic/gin":          {"internal/api"},
	"connectrpc.com/connect":            {"internal/dialect/e2b"},
	"google.golang.org/protobuf/":       {"internal/dialect/e2b"},
	"github.com/danielgtaylor/huma/v2":  {"internal/api"},
	"github.com/hibiken/asynq":          {"internal/queue"},
	"github.com/elastic/go-seccomp-bpf": {"internal/sandbox"},
	"github.com/redis/go-redis/v9":      {"internal/luascript", "internal/store", "internal/queue", "internal/app", "internal/app/config", "internal/app/redisclient", "internal/testenv"},
	"github.com/prometheus/":            {"internal/telemetry"},
	"github.com/robfig/cron/v3":         {"internal/schedule"},
	"github.com/spf13/cobra":            {"cmd/kaa"},
	"github.com/HdrHistogram/":          {"internal/bench"},
	"golang.org/x/term":                 {"internal/cli"},
	"github.com/alicebob/miniredis":     {"internal/devredis"},
	"github.com/minio/minio-go/v7":      {"internal/blob/s3"},
	"github.com/go-jose/":               {"internal/oidc"},
	"github.com/modelcontextprotocol/":  {"internal/dialect/mcp"},
	"github.com/google/jsonschema-go":   {"internal/dialect/mcp"},
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func TestImportDirection(t *testing.T) {
	t.Parallel()
	packages := list(t)
	for _, p := range packages {
		name := strings.TrimPrefix(p.ImportPath, module)
		if _, known := allowed[name]; !known && !strings.HasPrefix(name, dialects) {
			t.Errorf("%s: decide in this test what it may import", name)
		}
		for _, imported := range p.Imports {
			if ours, ok := strings.CutPrefix(imported, module); ok && !mayImport(name, ours) {
				t.Errorf("%s imports %s", name, ours)
			}
			if name == "internal/job" && strings.Contains(imported, ".") {
				t.Errorf("%s imports %s; it may use the standard library only", name, imported)
			}
			for path, by := range owners {
				if strings.HasPrefix(imported, path) && !slices.Contains(by, name) {
					t.Errorf("%s imports %s, which belongs to %v", name, imported, by)
				}
			}
		}
	}
}

// list asks the go command for the packages of the module and their imports,
// tests left out: those may use testenv and more.
func list(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	if len(packages) < 10 {
		t.Fatalf("go list found %d packages only", len(packages))
	}
	return packages
}
