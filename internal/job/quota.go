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

// limit is a row of the table of limits: what differs between them.
type limit struct {
	field string // of the request
	// perExecution: an execution of a session may set it. The others belong to the session.
	perExecution    bool
	least, standard Quota // with this limit only
	given           func(r *QuotaRequest) bool
	accept          func(v *validation, r *QuotaRequest, lo, hi, q *Quota) // into q, which has the default
	isZero          func(q *Quota) bool
	copy            func(to, from *Quota)
	raise           func(q, least *Quota)
}

// limitTable has all limits, in the order in which their mistakes are reported. MinQuota,
// StandardQuota, the checks of requests, the limits that a session's execution
// cannot set, and the values that a runner fills in follow from it.
var limitTable = []limit{ //nolint:gochecknoglobals // only read
	row("memoryBytes", false, 32<<20, 512<<20, func(q *Quota) *int64 { return &q.MemoryBytes }, func(r *QuotaRequest) *int64 { return r.MemoryBytes }, within),
	row("cpus", false, 0.01, 1, func(q *Quota) *float64 { return &q.CPUs }, func(r *QuotaRequest) *float64 { return r.CPUs }, (*validation).number),
	row("cpuSeconds", true, 10*time.Millisecond, 0, func(q *Quota) *time.Duration { return &q.CPUTime }, func(r *QuotaRequest) *float64 { return r.CPUSeconds }, (*validation).seconds),
	row("processes", false, 1, 128, func(q *Quota) *int { return &q.Processes }, func(r *QuotaRequest) *int64 { return r.Processes }, within),
	row("openFiles", false, 16, 1024, func(q *Quota) *int { return &q.OpenFiles }, func(r *QuotaRequest) *int64 { return r.OpenFiles }, within),
	row("fileBytes", false, 0, 256<<20, func(q *Quota) *int64 { return &q.FileBytes }, func(r *QuotaRequest) *int64 { return r.FileBytes }, within),
	row("diskBytes", false, 64<<10, 256<<20, func(q *Quota) *int64 { return &q.DiskBytes }, func(r *QuotaRequest) *int64 { return r.DiskBytes }, within),
	row("outputBytes", true, 0, 1<<20, func(q *Quota) *int64 { return &q.OutputBytes }, func(r *QuotaRequest) *int64 { return r.OutputBytes }, within),
	row("resultBytes", true, 1, 8<<20, func(q *Quota) *int64 { return &q.ResultBytes }, func(r *QuotaRequest) *int64 { return r.ResultBytes }, within),
}

// row makes a row from the place of a limit in a Quota and in a request.
func row[N int | int64 | float64 | time.Duration, A int64 | float64](
	field string, perExecution bool, least, standard N, of func(*Quota) *N, asked func(*QuotaRequest) *A,
	accept func(v *validation, field string, asked *A, lo, hi, byDefault N) N,
) limit {
	l := limit{
		field: field, perExecution: perExecution,
		given: func(r *QuotaRequest) bool { return asked(r) != nil },
		accept: func(v *validation, r *QuotaRequest, lo, hi, q *Quota) {
			*of(q) = accept(v, "limits."+field, asked(r), *of(lo), *of(hi), *of(q))
		},
		isZero: func(q *Quota) bool { return *of(q) == 0 },
		copy:   func(to, from *Quota) { *of(to) = *of(from) },
		raise:  func(q, least *Quota) { *of(q) = max(*of(q), *of(least)) },
	}
	*of(&l.least), *of(&l.standard) = least, standard
	return l
}

// MinQuota has the lowest limits of a request or a configuration. Below them Python does not
// start, or the number means nothing.
func MinQuota() (q Quota) {
	for i := range limitTable {
		limitTable[i].copy(&q, &limitTable[i].least)
	}
	return q
}

// StandardQuota has the limits of an execution where no configuration says otherwise.
func StandardQuota() (q Quota) {
	for i := range limitTable {
		limitTable[i].copy(&q, &limitTable[i].standard)
	}
	return q
}

// Or returns q with the limits of byDefault where q has none.
func (q Quota) Or(byDefault Quota) Quota {
	for i := range limitTable {
		if limitTable[i].isZero(&q) {
			limitTable[i].copy(&q, &byDefault)
		}
	}
	return q
}

// AtLeast returns the larger of each limit.
func (q Quota) AtLeast(least Quota) Quota {
	for i := range limitTable {
		limitTable[i].raise(&q, &least)
	}
	return q
}

// quota fills in the defaults and checks the requested values. The defaults are within the
// bounds already.
func (l Limits) quota(v *validation, r QuotaRequest) Quota {
	lo, hi, q := MinQuota(), l.MaxQuota, l.DefaultQuota
	if hi.CPUTime == 0 {
		hi.CPUTime = longestCPUTime
	}
	for i := range limitTable {
		limitTable[i].accept(v, &r, &lo, &hi, &q)
	}
	return q
}

// ofSession returns the requested limits that an execution of a session cannot set.
func (r QuotaRequest) ofSession() (fields []string) {
	for i := range limitTable {
		if l := &limitTable[i]; !l.perExecution && l.given(&r) {
			fields = append(fields, "limits."+l.field)
		}
	}
	return fields
}

// executionQuota keeps the limits of q that an execution of a session may set; the session sets
// the rest.
func (r QuotaRequest) executionQuota(q Quota) (own Quota) {
	for i := range limitTable {
		if l := &limitTable[i]; l.perExecution && l.given(&r) {
			l.copy(&own, &q)
		}
	}
	return own
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
