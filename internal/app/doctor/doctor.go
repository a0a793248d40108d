// Package doctor tries what a runner with the configuration of this process needs, and says what to
// change: it is the command `kaa doctor`.
package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/app/interpreters"
	"github.com/kaa-run/kaa/internal/app/redisclient"
	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/oidc"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/store"
)

// The values of Holds.
const (
	yes     = "yes"
	no      = "no"
	unknown = "unknown" // a layer before this one failed
)

// redisTimeout is how long doctor waits for Redis.
const redisTimeout = 2 * time.Second

// diagnosis is the report of `kaa doctor`.
type diagnosis struct {
	Sandbox  string           `json:"sandbox"` // KAA_SANDBOX
	Holds    bool             `json:"holds"`   // a runner would start with it
	Level    string           `json:"level"`   // the level that the runner would have
	UID      int              `json:"uid"`
	Kernel   string           `json:"kernel"`
	Levels   []levelDiagnosis `json:"levels"`
	Memory   finding          `json:"memoryControl"`
	Runtimes []runtimeReport  `json:"runtimes"`
	Packages *finding         `json:"packages,omitempty"` // their installer; nil if a runner would install none
	Redis    finding          `json:"redis"`
	Records  *finding         `json:"records,omitempty"`          // the version of the records in Redis; nil without Redis
	Provider *finding         `json:"identityProvider,omitempty"` // nil if none is set
}

type levelDiagnosis struct {
	Level  string    `json:"level"`
	Holds  bool      `json:"holds"`
	Layers []finding `json:"layers"`
}

// finding is one line of the report.
type finding struct {
	Name   string `json:"name"`
	Holds  string `json:"holds"`
	Detail string `json:"detail,omitempty"`
	Advice string `json:"advice,omitempty"`
}

type runtimeReport struct {
	finding
	Python  string   `json:"python"`
	Version string   `json:"version,omitempty"`
	Modules []string `json:"modules"`
}

// exitUnfit and exitSignal are exit codes: a runner would not start here, and the attempt was
// interrupted.
const (
	exitUnfit  = 1
	exitSignal = 130
)

// Run tries the sandbox, the interpreters and Redis that a runner with this configuration would
// need, and prints the results. Its exit code is not 0 if the runner would not start because its
// configuration is wrong, or because its sandbox or an interpreter fails. Redis does not affect
// the exit code.
func Run(ctx context.Context, environ config.Environment, stdout, stderr io.Writer, asJSON bool) (exitCode int, err error) {
	cfg, err := config.Load(environ)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "kaa: configuration:\n%v\n", err)
		return exitUnfit, nil
	}
	d := diagnose(ctx, &cfg)
	if ctx.Err() != nil {
		return exitSignal, nil
	}
	if d.Redis.Holds == no && environ.Get("KAA_REDIS_URL") == "" {
		d.Redis.Advice = "kaa dev and kaa run need none; for api and runner start it, or set KAA_REDIS_URL"
	}
	if asJSON {
		out := json.NewEncoder(stdout)
		out.SetIndent("", "  ")
		err = out.Encode(d)
	} else {
		err = d.print(stdout)
	}
	if !d.Holds {
		exitCode = exitUnfit
	}
	return exitCode, err
}

func diagnose(ctx context.Context, cfg *config.Config) diagnosis {
	d := diagnosis{Sandbox: cfg.Sandbox, UID: os.Geteuid(), Kernel: kernel(), Memory: diagnoseMemory()}
	d.Redis, d.Records = diagnoseRedis(ctx, cfg)
	d.Provider = diagnoseProvider(ctx, cfg)
	d.Packages = diagnoseInstaller(cfg)
	for _, level := range []sandbox.Level{sandbox.Strict, sandbox.Basic, sandbox.None} {
		wanted := d.Level == "" && slices.Contains(interpreters.Levels(cfg), level)
		insteadOfStrict := level == sandbox.Basic && !d.Levels[0].Holds
		if level != sandbox.Strict && !wanted && !insteadOfStrict {
			continue
		}
		diagnosed, runtimes := diagnoseLevel(ctx, cfg, level)
		d.Levels = append(d.Levels, diagnosed)
		if !wanted {
			continue
		}
		d.Runtimes = runtimes
		if diagnosed.Holds {
			d.Level = string(level)
			d.Holds = !slices.ContainsFunc(runtimes, func(r runtimeReport) bool { return r.Holds != yes })
		}
	}
	return d
}

// diagnoseLevel starts each runtime at a level. A layer holds if it holds for all runtimes.
func diagnoseLevel(ctx context.Context, cfg *config.Config, level sandbox.Level) (levelDiagnosis, []runtimeReport) {
	var failed *interpreter.LayerError
	started := false
	runtimes := make([]runtimeReport, len(cfg.Runtimes))
	for i, rt := range cfg.Runtimes {
		one := interpreters.Config(cfg, level)
		one.Runtimes, one.Size = []interpreter.RuntimeConfig{one.Runtimes[i]}, 1
		pool, err := interpreters.Start(ctx, one)
		r := runtimeReport{finding: finding{Name: rt.Name, Holds: yes}, Python: rt.Python, Modules: append([]string{}, rt.Preload...)}
		var layer *interpreter.LayerError
		var part *interpreter.PartError
		switch {
		case err == nil:
			r.Version = pool.Runtimes()[0].Version
			started = true
			err = interpreters.Close(ctx, pool)
		case errors.As(err, &layer):
			failed = layer
			r.Holds, r.Detail = unknown, "the sandbox does not hold: "+layer.Layer
		case errors.As(err, &part):
			r.Holds, r.Advice = no, part.Advice
			err = fmt.Errorf("%s: %w", part.Part, part.Err)
		default:
			r.Holds, r.Advice = no, "see KAA_PYTHON, KAA_PRELOAD, KAA_RUNTIMES and KAA_WORK_DIR in docs/configuration.md"
		}
		if err != nil && layer == nil {
			r.Detail = oneLine(err)
		}
		runtimes[i] = r
	}
	d := levelDiagnosis{Level: string(level), Holds: started && failed == nil}
	switch {
	case failed != nil:
		d.Layers = layersUpTo(level, failed)
	case started:
		d.Layers = layers(level, yes)
	default:
		d.Layers = layers(level, unknown)
	}
	return d, runtimes
}

func layers(level sandbox.Level, holds string) []finding {
	var all []finding
	for _, name := range level.Layers() {
		all = append(all, finding{Name: name, Holds: holds})
	}
	return all
}

// layersUpTo returns the layers of a level of which one failed. The layers before it hold, the
// layers after it are unknown.
func layersUpTo(level sandbox.Level, failed *interpreter.LayerError) []finding {
	missing := interpreters.Missing(failed)
	line := finding{Name: missing.Name, Holds: no, Detail: missing.Detail, Advice: missing.Advice}
	name := line.Name
	if name == "namespaces" { // the namespaces of a slot or a worker, which are made at once
		name = "pid namespace"
	}
	all := layers(level, unknown)
	at := slices.IndexFunc(all, func(f finding) bool { return f.Name == name })
	if at < 0 { // the failed step belongs to no layer
		return append([]finding{line}, all...)
	}
	for i := range all {
		held := i < at
		if failed.Held != nil {
			held = slices.Contains(failed.Held, all[i].Name)
		}
		if held {
			all[i].Holds = yes
		}
	}
	all[at] = line
	return all
}

func diagnoseMemory() finding {
	f := finding{Name: sandbox.MemoryControl, Holds: yes}
	groups, err := sandbox.NewGroups()
	f.Detail = groups.Control()
	if err != nil {
		f.Detail += ", since no control groups can be made: " + oneLine(err)
		f.Advice = sandbox.ThisHost().Advice(sandbox.MemoryControl, "")
		return f
	}
	if groups.Outside() {
		f.Detail += ", outside of the own control group, so that its limits do not hold for executions"
		f.Advice = sandbox.ThisHost().Advice(sandbox.MemoryControl, "")
	}
	if missing := groups.Missing(); len(missing) > 0 {
		f.Detail += " without " + strings.Join(missing, " and ")
		f.Advice = sandbox.ThisHost().Advice(sandbox.MemoryControl, "")
	}
	if err := groups.Close(); err != nil {
		f.Detail += "; " + oneLine(err)
	}
	return f
}

func diagnoseRedis(ctx context.Context, cfg *config.Config) (f finding, records *finding) {
	f = finding{Name: "Redis", Holds: yes}
	options, err := config.RedisOptions(cfg)
	if err == nil {
		f.Detail = strings.Join(options.Addrs, ", ")
		redisclient.SetLog(slog.New(slog.DiscardHandler))
		rdb := redisclient.Connect(*options, "doctor")
		defer func() { _ = rdb.Close() }()
		ctx, cancel := context.WithTimeout(ctx, redisTimeout)
		defer cancel()
		err = rdb.Ping(ctx).Err()
		if err == nil {
			// A Redis that refuses to show its settings is not at fault.
			warnings, _ := redisclient.Inspect(ctx, rdb)
			f.Advice = strings.Join(warnings, "; ")
			records = diagnoseRecords(ctx, store.New(rdb, store.Config{}))
		}
	}
	if err != nil {
		f.Holds, f.Detail, f.Advice = no, oneLine(err), "start it, or set KAA_REDIS_URL"
		if advice := redisclient.Advice(err, options != nil && options.TLSConfig != nil); advice != "" {
			f.Advice = advice
		}
	}
	return f, records
}

// diagnoseRecords compares the version of the records with that of this build. It writes nothing.
func diagnoseRecords(ctx context.Context, records *store.Store) *finding {
	f := &finding{Name: "records", Holds: yes}
	stored, err := records.Schema(ctx)
	refusal, refused := errors.AsType[*job.SchemaError](err)
	switch {
	case refused:
		f.Holds, f.Detail, f.Advice = no, oneLine(refusal), "use a release that works on them, or another database (KAA_REDIS_URL)"
	case err != nil:
		f.Holds, f.Detail = unknown, oneLine(err)
	case stored.Version == 0:
		f.Detail = "none with a version yet"
	default:
		f.Detail = fmt.Sprintf("version %d, since Kaa %s", stored.Version, stored.By)
	}
	return f
}

// diagnoseProvider reads the keys of the identity provider. Like Redis, it does not affect the verdict.
func diagnoseProvider(ctx context.Context, cfg *config.Config) *finding {
	if cfg.Issuer == "" {
		return nil
	}
	f := &finding{Name: "identity provider", Holds: yes}
	keys, err := oidc.Probe(ctx, cfg.Tokens())
	if err != nil {
		f.Holds, f.Detail, f.Advice = no, oneLine(err), "API processes have to reach it, by the address in KAA_OIDC_ISSUER"
		return f
	}
	f.Detail = fmt.Sprintf("%s: %d keys", cfg.Issuer, keys)
	return f
}

// diagnoseInstaller looks for the installer of packages. A runner starts without it, so it does not affect the verdict.
func diagnoseInstaller(cfg *config.Config) *finding {
	if !cfg.InstallsPackages() {
		return nil
	}
	f := &finding{Name: "installer", Holds: yes}
	path, err := cfg.Installer()
	f.Detail = path
	if err != nil {
		f.Holds, f.Detail, f.Advice = no, oneLine(err), "executions with packages need it: "+config.InstallerAdvice
	}
	return f
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// print writes the diagnosis as a table.
func (d diagnosis) print(w io.Writer) error {
	rows := [][]string{{"LAYER", "HOLDS", "DETAIL", "WHAT TO CHANGE"}}
	line := func(f finding) { rows = append(rows, []string{f.Name, f.Holds, f.Detail, f.Advice}) }
	section := func(name string) { rows = append(rows, []string{"[" + name + "]", "", "", ""}) }
	for _, level := range d.Levels {
		section(level.Level)
		for _, f := range level.Layers {
			line(f)
		}
	}
	section("limits")
	line(d.Memory)
	section("runtimes")
	for _, r := range d.Runtimes {
		if r.Detail == "" {
			r.Detail = "Python " + r.Version + " (" + r.Python + ")"
			if len(r.Modules) > 0 {
				r.Detail += ", preloaded: " + strings.Join(r.Modules, ", ")
			}
		}
		line(r.finding)
	}
	if d.Packages != nil {
		section("packages")
		line(*d.Packages)
	}
	section("queue")
	line(d.Redis)
	if d.Records != nil {
		line(*d.Records)
	}
	if d.Provider != nil {
		section("callers")
		line(*d.Provider)
	}
	rows = append(rows, []string{}, []string{fmt.Sprintf("%s (user %d, Linux %s)", d.verdict(), d.UID, d.Kernel)})
	_, err := io.WriteString(w, columns(rows))
	return err
}

// columns pads cells. A cell that is longer than the widest column shifts the rest of its row.
func columns(rows [][]string) string {
	const widest = 60
	var widths [4]int
	for _, row := range rows[:len(rows)-1] {
		for i, cell := range row {
			widths[i] = min(max(widths[i], len(cell)), widest)
		}
	}
	var text strings.Builder
	for _, row := range rows {
		var out strings.Builder
		for i, cell := range row {
			fmt.Fprintf(&out, "%-*s  ", widths[i], cell)
		}
		text.WriteString(strings.TrimRight(out.String(), " ") + "\n")
	}
	return text.String()
}

func (d diagnosis) verdict() string {
	switch {
	case d.Holds && d.Sandbox == interpreters.Auto:
		return "KAA_SANDBOX=auto: a runner would start at " + d.Level
	case d.Holds:
		return "KAA_SANDBOX=" + d.Sandbox + ": it holds"
	case d.Level != "":
		return "KAA_SANDBOX=" + d.Sandbox + ": it holds, but a runner would not start: a runtime does not"
	}
	return "KAA_SANDBOX=" + d.Sandbox + ": it does not hold; a runner would not start"
}
