package job

import (
	"cmp"
	"strconv"
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
}

// ValueBytes is the number of bytes that are kept of the values that code shows.
func (q Quota) ValueBytes() int64 { return cmp.Or(q.ResultBytes, q.OutputBytes) }

// MinQuota has the lowest limits of a request or a configuration. Below them Python does not
// start, or the number means nothing.
func MinQuota() Quota {
	return Quota{
		MemoryBytes: 32 << 20, CPUs: 0.01, CPUTime: 10 * time.Millisecond, Processes: 1, OpenFiles: 16,
		FileBytes: 0, DiskBytes: 64 << 10, OutputBytes: 0, ResultBytes: 1,
	}
}

// longestCPUTime replaces an absent ceiling of CPU time, because a time.Duration does not hold
// every number that a caller can send.
const longestCPUTime = 365 * 24 * time.Hour

// QuotaRequest has a caller's wishes for a Quota; nil means the default.
type QuotaRequest struct {
	MemoryBytes *int64
	CPUs        *float64
	CPUSeconds  *float64
	Processes   *int64
	OpenFiles   *int64
	FileBytes   *int64
	DiskBytes   *int64
	OutputBytes *int64
	ResultBytes *int64
}

// quota fills in the defaults and checks the requested values. The defaults are within the
// bounds already.
func (l Limits) quota(v *validation, r QuotaRequest) Quota {
	lo, hi, q := MinQuota(), l.MaxQuota, l.DefaultQuota
	if hi.CPUTime == 0 {
		hi.CPUTime = longestCPUTime
	}
	return Quota{
		MemoryBytes: within(v, "limits.memoryBytes", r.MemoryBytes, lo.MemoryBytes, hi.MemoryBytes, q.MemoryBytes),
		CPUs:        v.number("limits.cpus", r.CPUs, lo.CPUs, hi.CPUs, q.CPUs),
		CPUTime:     v.seconds("limits.cpuSeconds", r.CPUSeconds, lo.CPUTime, hi.CPUTime, q.CPUTime),
		Processes:   within(v, "limits.processes", r.Processes, lo.Processes, hi.Processes, q.Processes),
		OpenFiles:   within(v, "limits.openFiles", r.OpenFiles, lo.OpenFiles, hi.OpenFiles, q.OpenFiles),
		FileBytes:   within(v, "limits.fileBytes", r.FileBytes, lo.FileBytes, hi.FileBytes, q.FileBytes),
		DiskBytes:   within(v, "limits.diskBytes", r.DiskBytes, lo.DiskBytes, hi.DiskBytes, q.DiskBytes),
		OutputBytes: within(v, "limits.outputBytes", r.OutputBytes, lo.OutputBytes, hi.OutputBytes, q.OutputBytes),
		ResultBytes: within(v, "limits.resultBytes", r.ResultBytes, lo.ResultBytes, hi.ResultBytes, q.ResultBytes),
	}
}

// within returns the requested whole number, if it is from lo to hi.
func within[N int | int64](v *validation, field string, asked *int64, lo, hi, byDefault N) N {
	if asked == nil {
		return byDefault
	}
	if *asked < int64(lo) || *asked > int64(hi) {
		v.add(field, "must be from %d to %d", lo, hi)
		return byDefault
	}
	return N(*asked)
}

// number returns the requested number, if it is from lo to hi.
func (v *validation) number(field string, asked *float64, lo, hi, byDefault float64) float64 {
	if asked == nil {
		return byDefault
	}
	if *asked < lo || *asked > hi || *asked != *asked {
		v.add(field, "must be from %s to %s", decimal(lo), decimal(hi))
		return byDefault
	}
	return *asked
}

// decimal writes a number as a caller would.
func decimal(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
