package job

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Request is a decoded request of a caller. Pointers and zero values mean "not given". Seconds
// are still the caller's floats, so that Accept can refuse values that a time.Duration cannot
// hold.
type Request struct {
	Code    string
	Command string   // a shell line instead of code
	Program []string // a program and its arguments instead of code
	Cwd     string   // the directory in which any of them begins
	// Background: the caller does not wait for the command of a session, and may give it input.
	Background  bool
	Terminal    *TerminalSize // of the command of a session
	Attach      string        // a follower of the command of a session, from its beginning
	Port        *PortOf       // with which the command of a session connects
	Stdin       string
	Argv        []string // what follows the program's name in sys.argv
	Envs        map[string]string
	Timeout     *float64 // seconds
	Queue       string
	Delay       *float64 // seconds
	RunAt       *time.Time
	After       string // id of a batch
	MaxAttempts *int
	ResultTTL   *float64 // seconds
	Metadata    json.RawMessage
	Runtime     string // empty for the runner's default
	// Packages are requirements, as "pandas==2.2", of packages that the code imports beside those of the runtime.
	Packages []string
	// Preload are modules of them that a parked interpreter imports ahead.
	Preload   []string
	Limits    QuotaRequest
	Webhook   *WebhookRequest
	SessionID string // the session to execute in; empty for a fresh interpreter
	ContextID string // the context of that; empty for the default one
	Events    bool   // a client will follow it live
	Input     bool   // clients will answer reads of standard input, unless Stdin is given
	// PromptApart: the prompts of these reads are not in the output.
	PromptApart bool
	Options
	Files []FileRequest
	// Functions are what the code may call at its caller's. Followed: the caller sees the calls
	// while the code runs.
	Functions []Function
	Followed  bool
	// Cases are inputs with expectations; the program runs once for each.
	Cases *CasesRequest
	// Network has the destinations that the code may reach; nil for none.
	Network *Network
}

// Limits are the bounds and defaults of a request.
type Limits struct {
	MaxCodeBytes     int
	MaxStdinBytes    int
	MaxEnvs          int
	MaxEnvBytes      int // names and values of all variables together
	MaxMetadataBytes int
	DefaultTimeout   time.Duration
	MaxTimeout       time.Duration
	MaxDelay         time.Duration
	DefaultResultTTL time.Duration
	MaxResultTTL     time.Duration
	MaxAttempts      int
	// Queues are the names a job may be put on; DefaultQueue is one of them.
	Queues       []string
	DefaultQueue string
	// Runtimes are the known names. If there are none, any name is accepted, and the job waits
	// for a runner that reports its runtimes.
	Runtimes []string
	// Packages bound those of a request.
	Packages PackageLimits
	// DefaultQuota is within MaxQuota. A MaxQuota.CPUTime of 0 is no ceiling.
	DefaultQuota, MaxQuota Quota
	// Sessions are the bounds of sessions.
	Sessions SessionLimits
	// MaxInputs is the largest number of files of a request, MaxInputBytes their total size.
	MaxInputs     int
	MaxInputBytes int64
	// PrivateWebhooks allows webhooks to addresses that are not public, and http.
	PrivateWebhooks bool

	// Egress are the destinations that code may be allowed to reach; none by default.
	Egress []NetworkRule
	// Intercept allows rules for requests, for which the proxy of a sandbox looks into TLS.
	Intercept bool
	// Secrets are those that such rules may name, without their values. Tenant is the caller's; empty for a key of the configuration.
	Secrets *NetworkSecrets
	Tenant  string

	ofKey     map[string]bool // the ceilings that are lower for this API key: see For
	keyEgress []NetworkRule   // those of this API key; nil if it has none of its own
}

// minTimeout is the smallest timeout that is meaningful beside the time that it takes to start
// code at all.
const minTimeout = time.Millisecond

// envName has the form that POSIX allows for the name of an environment variable.
var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Accept checks r against l and returns the job that it requests, with every default filled in.
// The job has no ID and no caller yet. All errors are reported at once, as a *ValidationError.
func (l Limits) Accept(r Request, now time.Time) (NewJob, error) {
	var v validation
	r.Code = strings.TrimPrefix(r.Code, "\ufeff") // files have it, and Python ignores it there
	command := l.command(&v, r)
	if command == nil {
		l.checkCode(&v, r)
	} else {
		r.Code = codeOfCommand
	}
	l.checkStdin(&v, r)
	l.checkEnvs(&v, r.Envs)
	l.checkArguments(&v, "args", r.Argv)
	lane := r.inContext(&v)

	j := Job{
		State:       Queued,
		CreatedAt:   now,
		Queue:       l.queue(&v, r.Queue),
		MaxAttempts: l.maxAttempts(&v, r.MaxAttempts),
		Timeout:     v.secondsOf("timeout", r.foregroundTimeout(), minTimeout, l.MaxTimeout, l.DefaultTimeout, l.ownCeiling(timeoutCeiling)),
		ResultTTL:   v.seconds("resultTtl", r.ResultTTL, time.Second, l.MaxResultTTL, l.DefaultResultTTL),
		ScheduledAt: l.scheduledAt(&v, r, now),
		After:       r.After,
		Metadata:    l.metadata(&v, r.Metadata),
		Runtime:     l.runtime(&v, r.Runtime),
		Webhook:     l.webhook(&v, r.Webhook),
	}
	var packages []string
	if command == nil {
		packages = l.pipInstalls(&v, &r)
	}
	packages = l.packages(&v, append(slices.Clip(l.named(&v, r)), packages...))
	var preload []string
	if r.SessionID == "" {
		preload = l.preload(&v, r.Preload, packages)
		j.Runtime = WithPreload(WithPackages(j.Runtime, packages), preload, l.Tenant)
	}
	options := r.accept(&v)
	quota := l.quota(&v, r.Limits)
	network := l.network(&v, r.Network)
	functions := r.functions(&v)
	if functions == nil {
		quota = quota.withoutCalls()
	}
	disk := quota.DiskBytes
	if r.SessionID != "" {
		disk = l.MaxQuota.DiskBytes // the session checks its own disk when they are put there
	}
	inputs, contents := l.inputs(&v, r.Files, disk)
	cases := l.cases(&v, &r, command, quota, j.Timeout)
	if cases != nil {
		if r.Network != nil {
			v.add("network", "cannot be combined with cases; leave it out")
		}
		more, theirs := l.caseInputs(&v, &r, cases, inputs, disk)
		inputs, contents = append(inputs, more...), append(contents, theirs...)
	}
	if r.SessionID != "" {
		r.inSession(&v)
		j.Lane = lane
		if command != nil {
			l.besideSession(&v, r, &j, command)
		}
		j.Queue, j.SessionID, j.InSession = SessionQueue, r.SessionID, true
		quota = r.Limits.executionQuota(quota)
	}
	if len(v.fields) > 0 {
		return NewJob{}, &ValidationError{Fields: v.fields}
	}
	if j.ScheduledAt.After(now) || j.After != "" {
		j.State = Scheduled
	} else {
		j.QueuedAt = now
	}
	spec := Spec{
		Code: r.Code, Command: command, Timeout: j.Timeout, Envs: r.Envs, Stdin: r.Stdin, Runtime: j.Runtime, Packages: packages, Preload: preload, Quota: quota, Options: options,
		Argv: r.Argv, Files: inputs, Input: r.Input && r.Stdin == "", PromptApart: r.PromptApart,
		Functions: functions, Network: network,
	}
	if command == nil { // it has its own
		spec.Cwd = r.Cwd
	}
	if functions != nil {
		spec.Code, spec.CallingCode = codeOfFunctions, r.Code
	}
	if cases != nil {
		spec.Code, spec.Command, spec.Cases = codeOfCases, nil, cases
	}
	return NewJob{Job: j, Spec: spec, Contents: contents, Events: r.Events || functions != nil}, nil
}

// foregroundTimeout is the timeout of a request; nil for a command in the background, which besideSession checks.
func (r Request) foregroundTimeout() *float64 {
	if r.Background && r.SessionID != "" {
		return nil
	}
	return r.Timeout
}

func (l Limits) checkCode(v *validation, r Request) {
	switch {
	case strings.TrimSpace(r.Code) == "":
		v.add("code", "is empty; send the Python source to execute, or a command")
	case len(r.Code) > l.MaxCodeBytes:
		v.add("code", "is %d bytes long, the limit is %d", len(r.Code), l.MaxCodeBytes)
	}
	if i := strings.IndexByte(r.Code, 0); i >= 0 {
		v.add("code", "contains a NUL byte at offset %d, which Python source cannot; remove it", i)
	}
	if !utf8.ValidString(r.Code) {
		v.add("code", "is not valid UTF-8")
	}
}

func (l Limits) checkStdin(v *validation, r Request) {
	if len(r.Stdin) > l.MaxStdinBytes {
		v.add("stdin", "is %d bytes long, the limit is %d", len(r.Stdin), l.MaxStdinBytes)
	}
}

func (l Limits) checkEnvs(v *validation, envs map[string]string) {
	if len(envs) > l.MaxEnvs {
		v.add("envs", "has %d variables, the limit is %d", len(envs), l.MaxEnvs)
		return
	}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(envs)) {
		value := envs[name]
		size += len(name) + len(value)
		if !envName.MatchString(name) {
			v.add("envs", "%s is not a variable name; use letters, digits and underscores, not starting with a digit", quote(name))
		}
		if strings.IndexByte(value, 0) >= 0 {
			v.add("envs."+name, "contains a NUL byte, which an environment variable cannot; remove it")
		}
	}
	if size > l.MaxEnvBytes {
		v.add("envs", "is %d bytes long in all, the limit is %d", size, l.MaxEnvBytes)
	}
}

// maxArgs is the largest number of arguments of a program.
const maxArgs = 1000

func (l Limits) queue(v *validation, name string) string {
	if name == "" {
		return l.DefaultQueue
	}
	if !slices.Contains(l.Queues, name) {
		v.add("queue", "%s is not a queue; use one of %s", quote(name), strings.Join(l.Queues, ", "))
	}
	return name
}

func (l Limits) maxAttempts(v *validation, n *int) int {
	if n == nil {
		return 1
	}
	if *n < 1 || *n > l.MaxAttempts {
		v.add("maxAttempts", "must be from 1 to %d", l.MaxAttempts)
	}
	return *n
}

func (l Limits) scheduledAt(v *validation, r Request, now time.Time) time.Time {
	switch {
	case r.After != "" && (r.RunAt != nil || r.Delay != nil && *r.Delay != 0):
		v.add("after", "cannot be combined with delay or runAt; send one of them")
	case r.Delay != nil && r.RunAt != nil:
		v.add("delay", "cannot be combined with runAt; send one of them")
	case r.Delay != nil && *r.Delay != 0:
		if d := v.seconds("delay", r.Delay, 0, l.MaxDelay, 0); d > 0 {
			return milliseconds(now.Add(d))
		}
	case r.RunAt != nil:
		if r.RunAt.Sub(now) > l.MaxDelay {
			v.add("runAt", "must be at most %s seconds ahead", plain(l.MaxDelay))
		}
		return milliseconds(*r.RunAt)
	}
	return time.Time{}
}

// milliseconds is the precision in which the store keeps times.
func milliseconds(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

func (l Limits) metadata(v *validation, m json.RawMessage) json.RawMessage {
	if len(m) > l.MaxMetadataBytes {
		v.add("metadata", "is %d bytes long, the limit is %d", len(m), l.MaxMetadataBytes)
	}
	return m
}

// validation collects the errors of a request.
type validation struct {
	fields []FieldError
}

func (v *validation) add(field, format string, args ...any) {
	v.fields = append(v.fields, FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
}

// seconds turns a caller's seconds into a duration within [lo, hi]. The
// comparison is made on the float, because 1e300 s overflows a time.Duration.
func (v *validation) seconds(field string, s *float64, lo, hi, byDefault time.Duration) time.Duration {
	return v.secondsOf(field, s, lo, hi, byDefault, "")
}

// secondsOf is seconds with words about the bounds.
func (v *validation) secondsOf(field string, s *float64, lo, hi, byDefault time.Duration, words string) time.Duration {
	if s == nil {
		return byDefault
	}
	if *s < lo.Seconds() || *s > hi.Seconds() || *s != *s {
		v.add(field, "must be from %s to %s seconds%s", plain(lo), plain(hi), words)
		return byDefault
	}
	return time.Duration(*s * float64(time.Second))
}

// plain writes a duration in seconds as a caller would.
func plain(d time.Duration) string { return decimal(d.Seconds()) }

// quote shows a caller's string in a message without repeating all of a long one.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}
