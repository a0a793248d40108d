// Package piston speaks version 2 of the protocol of Piston: docs/dialects/piston.md.
package piston

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// Dialect answers /api/v2/runtimes and /api/v2/execute.
type Dialect struct {
	dialect.Plain
	parts dialect.Parts
}

// New returns the dialect of a process.
func New(p dialect.Parts) *Dialect { return &Dialect{parts: p} }

// Key returns the API key of a request.
func (*Dialect) Key(r *http.Request) string { return dialect.AnyKey(r) }

// failure is the answer to what is refused.
type failure struct {
	Message string `json:"message"`
}

// Refuse answers with a message.
func (d *Dialect) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := dialect.FaultOf(r.Context(), d.parts.Log, err)
	f.SetRetryAfter(w.Header())
	dialect.WriteJSON(w, f.Status, failure{f.Message})
}

func (d *Dialect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := service.CallOf(r.Context())
	path := strings.TrimPrefix(r.URL.Path, "/api/v2") // bots are configured with either address
	var err error
	switch {
	case r.Method == http.MethodGet && path == "/runtimes":
		call.Route, call.Operation = "/api/v2/runtimes", "runtimes"
		err = d.runtimes(w, r)
	case r.Method == http.MethodGet && path == "/packages":
		call.Route, call.Operation = "/api/v2/packages", "packages"
		dialect.WriteJSON(w, http.StatusOK, []struct{}{})
	case r.Method == http.MethodPost && path == "/execute":
		call.Route, call.Operation, call.Executes = "/api/v2/execute", "execute", true
		err = d.execute(w, r)
	default:
		err = dialect.NewFault(http.StatusNotFound, "no_such_route", "Not Found")
	}
	if err != nil {
		d.Refuse(w, r, err)
	}
}

// runtime is a language of which programs can be executed.
type runtime struct {
	Language string   `json:"language"`
	Version  string   `json:"version"`
	Aliases  []string `json:"aliases"`
}

const python, bash = "python", "bash"

// bashVersion is what programs in bash are said to be executed by: clients want a version, and it depends on the machine
// of the runner.
const bashVersion = "5.0.0"

// known returns the languages; the version of Python is that of the first runner's default runtime.
func (d *Dialect) known(r *http.Request) ([]runtime, error) {
	version := "3.0.0"
	all, err := d.parts.Service.Runtimes(r.Context(), service.CallerOf(r.Context()))
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(all, func(rt job.Runtime) bool { return rt.Default }); i >= 0 && all[i].Version != "" {
		version = all[i].Version
	}
	return []runtime{
		{Language: python, Version: version, Aliases: []string{"py", "py3", "python3", "python3.x"}},
		{Language: bash, Version: bashVersion, Aliases: []string{"sh"}},
	}, nil
}

func (d *Dialect) runtimes(w http.ResponseWriter, r *http.Request) error {
	all, err := d.known(r)
	if err == nil {
		dialect.WriteJSON(w, http.StatusOK, all)
	}
	return err
}

// file is a file of a program. The first one with text is the program.
type file struct {
	Name, Encoding string
	Content        *string
}

// request is the body of an execution. Limits can be -1 for none.
type request struct {
	Language, Version string
	Files             []file
	Stdin             string
	Args              []string
	RunTimeout        float64 `json:"run_timeout"`  // milliseconds
	RunCPUTime        float64 `json:"run_cpu_time"` // milliseconds
	RunMemoryLimit    float64 `json:"run_memory_limit"`
}

// stage is the end of a program.
type stage struct {
	Stdout   string  `json:"stdout"`
	Stderr   string  `json:"stderr"`
	Output   string  `json:"output"`
	Code     *int    `json:"code"`
	Signal   *string `json:"signal"`
	Message  *string `json:"message"`
	Status   *string `json:"status"`
	CPUTime  float64 `json:"cpu_time"`
	WallTime float64 `json:"wall_time"`
	Memory   int64   `json:"memory"`
}

func refuse(format string, args ...any) error {
	return dialect.NewFault(http.StatusBadRequest, "invalid_request", format, args...)
}

func (d *Dialect) execute(w http.ResponseWriter, r *http.Request) error {
	var body request
	if err := dialect.ReadJSON(r, &body); err != nil {
		return err
	}
	switch {
	case body.Language == "":
		return refuse("language is required as a string")
	case body.Version == "":
		return refuse("version is required as a string")
	case body.Files == nil:
		return refuse("files is required as an array")
	}
	all, err := d.known(r)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(rt runtime) bool { return rt.is(body.Language, body.Version) })
	if i < 0 {
		return refuse("%s-%s runtime is unknown", body.Language, body.Version)
	}
	run, err := d.request(r, body, all[i].Language)
	if err != nil {
		return err
	}
	p, _, err := dialect.RunProgram(r.Context(), d.parts.Service, run)
	if err != nil {
		return err
	}
	dialect.WriteJSON(w, http.StatusOK, struct {
		Run      stage  `json:"run"`
		Language string `json:"language"`
		Version  string `json:"version"`
	}{stageOf(p), all[i].Language, all[i].Version})
	return nil
}

// is reports whether a program wants this language. A version selects by its major number only: clients have written
// down the versions of the public Piston.
func (rt runtime) is(language, version string) bool {
	if language != rt.Language && !slices.Contains(rt.Aliases, language) {
		return false
	}
	major, _, _ := strings.Cut(strings.TrimLeft(version, "^~>=v "), ".")
	_, err := strconv.Atoi(major)
	own, _, _ := strings.Cut(rt.Version, ".")
	return err != nil && (major == "*" || major == "x") || major == own
}

// request translates the program.
func (d *Dialect) request(r *http.Request, body request, language string) (job.Request, error) {
	var files []job.FileRequest
	program := ""
	found := false
	for i, f := range body.Files {
		if f.Content == nil {
			return job.Request{}, refuse("files[%d].content is required as a string", i)
		}
		content, err := f.bytes(i)
		if err != nil {
			return job.Request{}, err
		}
		if !found && f.isText() {
			program, found = *f.Content, true
		}
		name := f.Name
		if name == "" {
			name = "file" + strconv.Itoa(i) + ".code"
		}
		files = append(files, job.FileRequest{Path: strings.TrimPrefix(name, "./"), Data: content})
	}
	if !found {
		return job.Request{}, refuse("files must include at least one utf8 encoded file")
	}
	if strings.TrimSpace(program) == "" {
		program = "pass"
		if language == bash {
			program = ":"
		}
	}
	run := job.Request{Code: program, Argv: body.Args}
	if language == bash {
		run = dialect.Shell(program, body.Args)
	}
	run.Files, run.Stdin = files, body.Stdin
	if run.Stdin != "" && !strings.HasSuffix(run.Stdin, "\n") {
		run.Stdin += "\n"
	}
	run.Timeout = dialect.Timeout(r.Context(), d.parts.Service, body.RunTimeout/1000)
	run.Limits = dialect.Memory(r.Context(), d.parts.Service, body.RunMemoryLimit)
	if body.RunCPUTime > 0 {
		if run.Limits == nil {
			run.Limits = job.QuotaRequest{}
		}
		run.Limits["cpuSeconds"] = max(body.RunCPUTime/1000, 0.01)
	}
	return run, nil
}

func (f file) isText() bool { return f.Encoding != "base64" && f.Encoding != "hex" }

func (f file) bytes(i int) (content []byte, err error) {
	switch f.Encoding {
	case "base64":
		content, err = base64.StdEncoding.DecodeString(*f.Content)
	case "hex":
		content, err = hex.DecodeString(*f.Content)
	default:
		return []byte(*f.Content), nil
	}
	if err != nil {
		return nil, refuse("files[%d].content is not %s", i, f.Encoding)
	}
	return append([]byte{}, content...), nil // not nil, which is no content
}

// stageOf words the end of a program.
func stageOf(p dialect.Program) stage {
	s := stage{
		Stdout: p.Stdout, Stderr: p.Stderr, Output: p.Output, Memory: p.Memory,
		CPUTime: milliseconds(p.CPU), WallTime: milliseconds(p.Took),
	}
	status, message := "", ""
	switch p.End {
	case dialect.TimedOut:
		status, message = "TO", "Time limit exceeded (wall clock)"
	case dialect.OutOfCPU:
		status, message = "TO", "Time limit exceeded"
	case dialect.OutOfMemory:
		status, message = "SG", "Caught fatal signal 9"
	case dialect.Exited:
		if p.Signal != "" {
			status, message = "SG", "Caught fatal signal "+strconv.Itoa(p.ExitCode-128)
		} else if p.ExitCode != 0 {
			status, message = "RE", "Exited with error status "+strconv.Itoa(p.ExitCode)
		}
	}
	if status != "" {
		s.Status, s.Message = &status, &message
	}
	if p.Signal != "" {
		s.Signal = &p.Signal
	} else {
		s.Code = &p.ExitCode
	}
	return s
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
