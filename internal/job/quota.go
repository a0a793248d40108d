package job

import (
	"cmp"
	"time"
)

// Quota has the limits of one execution. As part of a Spec every field holds. A Spec that was
// recorded before there were quotas has the zero Quota, and its runner's own defaults hold.
type Quota struct {
	MemoryBytes int64         `json:"memoryBytes,omitempty"` // resident, of all its processes together
	CPUs        float64       `json:"cpus,omitempty"`        // share of the machine: 1 is one core's time
	CPUTime     time.Duration `json:"cpuTime,omitempty"`     // of all its processes together; 0 is no limit
	Processes   int           `json:"processes,omitempty"`   // and threads, at once
	OpenFiles   int           `json:"openFiles,omitempty"`   // per process
	FileBytes   int64         `json:"fileBytes,omitempty"`   // size of one file
	DiskBytes   int64         `json:"diskBytes,omitempty"`   // of everything it writes
	OutputBytes int64         `json:"outputBytes,omitempty"` // kept of stdout, and of stderr
	// ResultBytes are kept of the values that code shows. Zero means OutputBytes, as before it
	// had a limit of its own.
	ResultBytes int64 `json:"resultBytes,omitempty"`
	// The limits of calls to functions that the caller offers. An execution without such functions
	// has none of them.
	Calls       int           `json:"calls,omitempty"`
	CallBytes   int64         `json:"callBytes,omitempty"` // arguments and answers of all calls
	CallTime    time.Duration `json:"callTime,omitempty"`  // of one call
	CallsAtOnce int           `json:"callsAtOnce,omitempty"`
}

// ValueBytes is the number of bytes that are kept of the values that code shows.
func (q Quota) ValueBytes() int64 { return cmp.Or(q.ResultBytes, q.OutputBytes) }

// longestCPUTime replaces an absent ceiling of CPU time, because a time.Duration does not hold
// every number that a caller can send.
const longestCPUTime = 365 * 24 * time.Hour

// limitTable has all limits, in the order in which their mistakes are reported. A limit is a field
// of Quota and a row here. From the row follow the field of requests with its checks, its part of
// the OpenAPI document, the two settings, and the limits that an execution of a session may set.
// Only enforcement is elsewhere.
var limitTable = []*Limit{ //nolint:gochecknoglobals // only read
	row(Limit{
		Name: "memoryBytes", Setting: "MEMORY_BYTES",
		Doc: "Memory of all its processes together, in bytes; what is resident, not the address space.",
	}, wholes[int64](64), bounds[int64]{least: 32 << 20, standard: 512 << 20, ceiling: 4 << 30}, func(q *Quota) *int64 { return &q.MemoryBytes }),
	row(Limit{
		Name: "cpus", Setting: "CPUS", ZeroCeiling: "the number of cores",
		Doc: "Cores it may keep busy; fractions are shares of one.",
	}, fractions(), bounds[float64]{least: 0.01, standard: 1}, func(q *Quota) *float64 { return &q.CPUs }),
	row(Limit{
		Name: "cpuSeconds", Setting: "CPU_TIME", PerExecution: true, ZeroCeiling: "no ceiling", Unlimited: true,
		Doc: "CPU time of all its processes together, in seconds.",
	}, durations(), bounds[time.Duration]{least: 10 * time.Millisecond}, func(q *Quota) *time.Duration { return &q.CPUTime }),
	row(Limit{
		Name: "processes", Setting: "PROCESSES",
		Doc: "Processes and threads at once.",
	}, wholes[int](32), bounds[int]{least: 1, standard: 128, ceiling: 1024}, func(q *Quota) *int { return &q.Processes }),
	row(Limit{
		Name: "openFiles", Setting: "OPEN_FILES",
		Doc: "Open files, sockets and pipes of each process.",
	}, wholes[int](32), bounds[int]{least: 16, standard: 1024, ceiling: 4096}, func(q *Quota) *int { return &q.OpenFiles }),
	row(Limit{
		Name: "fileBytes", Setting: "FILE_BYTES",
		Doc: "Size of the largest file it may write, in bytes.",
	}, wholes[int64](64), bounds[int64]{least: 0, standard: 256 << 20, ceiling: 1 << 30}, func(q *Quota) *int64 { return &q.FileBytes }),
	row(Limit{
		Name: "diskBytes", Setting: "DISK_BYTES",
		Doc: "Size of all files it may have at once, in bytes.",
	}, wholes[int64](64), bounds[int64]{least: 64 << 10, standard: 256 << 20, ceiling: 1 << 30}, func(q *Quota) *int64 { return &q.DiskBytes }),
	row(Limit{
		// KAA_MAX_OUTPUT_BYTES was once the only setting of the two, and lowering it stays enough.
		Name: "outputBytes", Setting: "OUTPUT_BYTES", PerExecution: true, Lowered: true,
		Doc: "Bytes that are kept of standard output, and of standard error. Beyond it head and tail of a stream are kept.",
	}, wholes[int64](64), bounds[int64]{least: 0, leastSet: 1, standard: 1 << 20, ceiling: 8 << 20}, func(q *Quota) *int64 { return &q.OutputBytes }),
	row(Limit{
		Name: "resultBytes", Setting: "RESULT_BYTES", PerExecution: true,
		Doc: "Bytes that are kept of results: values, figures and displayed objects. Beyond it pictures are made smaller, large forms are left out, and notices say so.",
	}, wholes[int64](64), bounds[int64]{least: 1, standard: 8 << 20, ceiling: 32 << 20}, func(q *Quota) *int64 { return &q.ResultBytes }),
	row(Limit{
		Name: "calls", Setting: "CALLS", PerExecution: true,
		Doc: "Calls that it may make to functions of its caller.",
	}, wholes[int](32), bounds[int]{least: 1, standard: 1000, ceiling: 10000}, func(q *Quota) *int { return &q.Calls }),
	row(Limit{
		Name: "callBytes", Setting: "CALL_BYTES", PerExecution: true,
		Doc: "Bytes of the arguments and the answers of all its calls together.",
	}, wholes[int64](64), bounds[int64]{least: 1, standard: 16 << 20, ceiling: 64 << 20}, func(q *Quota) *int64 { return &q.CallBytes }),
	row(Limit{
		Name: "callSeconds", Setting: "CALL_TIME", PerExecution: true,
		Doc: "Time until a call is answered, in seconds. It counts in the timeout of the execution, too.",
	}, durations(), bounds[time.Duration]{least: 10 * time.Millisecond, standard: time.Minute, ceiling: time.Hour}, func(q *Quota) *time.Duration { return &q.CallTime }),
	row(Limit{
		Name: "callsAtOnce", Setting: "CALLS_AT_ONCE", PerExecution: true,
		Doc: "Calls that wait for their answers at once. Further calls wait for their turn.",
	}, wholes[int](32), bounds[int]{least: 1, standard: 32, ceiling: 256}, func(q *Quota) *int { return &q.CallsAtOnce }),
}

// Numbers returns the limits as callers name them, without one that is no limit. A Quota of a time before there were quotas has none.
func (q Quota) Numbers() QuotaRequest {
	if q == (Quota{}) {
		return nil
	}
	all := QuotaRequest{}
	for _, l := range limitTable {
		if !l.Unlimited || !l.IsZero(&q) {
			all[l.Name] = l.Value(&q)
		}
	}
	return all
}

// LimitTable returns all limits.
func LimitTable() []*Limit { return limitTable }

// StandardQuota has the limits of an execution where no configuration says otherwise.
func StandardQuota() (q Quota) {
	for _, l := range limitTable {
		l.Copy(&q, &l.Standard)
	}
	return q
}

// Or returns q with the limits of byDefault where q has none.
func (q Quota) Or(byDefault Quota) Quota {
	for _, l := range limitTable {
		if l.IsZero(&q) {
			l.Copy(&q, &byDefault)
		}
	}
	return q
}

// With returns q, the limits of a session, with those that one of its executions sets for itself.
func (q Quota) With(own Quota) Quota {
	for _, l := range limitTable {
		if l.PerExecution && !l.IsZero(&own) {
			l.Copy(&q, &own)
		}
	}
	return q
}

// AtLeast returns the larger of each limit.
func (q Quota) AtLeast(least Quota) Quota {
	for _, l := range limitTable {
		if l.Less(&q, &least) {
			l.Copy(&q, &least)
		}
	}
	return q
}

// QuotaRequest has a caller's wishes for a Quota, by the names of the limits. The defaults hold
// for the others.
type QuotaRequest map[string]float64

// quota fills in the defaults and checks the requested values. The defaults are within the
// bounds already.
func (l Limits) quota(v *validation, r QuotaRequest) Quota {
	hi, q := l.MaxQuota, l.DefaultQuota
	if hi.CPUTime == 0 {
		hi.CPUTime = longestCPUTime
	}
	for _, row := range limitTable {
		if asked, ok := r[row.Name]; ok {
			if complaint := row.accept(asked, &hi, &q); complaint != "" {
				v.add(row.path(), "%s%s", complaint, l.ownCeiling(row.Name))
			}
		}
	}
	return q
}

// ofSession returns the requested limits that an execution of a session cannot set.
func (r QuotaRequest) ofSession() (fields []string) {
	for _, l := range limitTable {
		if _, asked := r[l.Name]; asked && !l.PerExecution {
			fields = append(fields, l.path())
		}
	}
	return fields
}

// executionQuota keeps the limits of q that an execution of a session may set and does; the
// session sets the rest.
func (r QuotaRequest) executionQuota(q Quota) (own Quota) {
	for _, l := range limitTable {
		if _, asked := r[l.Name]; asked && l.PerExecution {
			l.Copy(&own, &q)
		}
	}
	return own
}
