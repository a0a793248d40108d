package config

import (
	"math"
	"runtime"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Quotas are what one execution may use: by default, and at most if it asks.
type Quotas struct {
	MemoryBytes    int64         `env:"KAA_MEMORY_BYTES" envDefault:"536870912"`
	MaxMemoryBytes int64         `env:"KAA_MAX_MEMORY_BYTES" envDefault:"4294967296"`
	CPUs           float64       `env:"KAA_CPUS" envDefault:"1"`
	MaxCPUs        float64       `env:"KAA_MAX_CPUS" envDefault:"0"`
	CPUTime        time.Duration `env:"KAA_CPU_TIME" envDefault:"0s"`
	MaxCPUTime     time.Duration `env:"KAA_MAX_CPU_TIME" envDefault:"0s"`
	Processes      int           `env:"KAA_PROCESSES" envDefault:"128"`
	MaxProcesses   int           `env:"KAA_MAX_PROCESSES" envDefault:"1024"`
	OpenFiles      int           `env:"KAA_OPEN_FILES" envDefault:"1024"`
	MaxOpenFiles   int           `env:"KAA_MAX_OPEN_FILES" envDefault:"4096"`
	FileBytes      int64         `env:"KAA_FILE_BYTES" envDefault:"268435456"`
	MaxFileBytes   int64         `env:"KAA_MAX_FILE_BYTES" envDefault:"1073741824"`
	DiskBytes      int64         `env:"KAA_DISK_BYTES" envDefault:"268435456"`
	MaxDiskBytes   int64         `env:"KAA_MAX_DISK_BYTES" envDefault:"1073741824"`
	OutputBytes    int64         `env:"KAA_OUTPUT_BYTES" envDefault:"1048576"`
	MaxOutputBytes int64         `env:"KAA_MAX_OUTPUT_BYTES" envDefault:"8388608"`
	ResultBytes    int64         `env:"KAA_RESULT_BYTES" envDefault:"8388608"`
	MaxResultBytes int64         `env:"KAA_MAX_RESULT_BYTES" envDefault:"33554432"`
}

// DefaultQuota is what an execution may use that asks for nothing. It is within
// MaxQuota.
func (q Quotas) DefaultQuota() job.Quota {
	d := job.Quota{
		MemoryBytes: q.MemoryBytes, CPUs: q.CPUs, CPUTime: q.CPUTime, Processes: q.Processes, OpenFiles: q.OpenFiles,
		FileBytes: q.FileBytes, DiskBytes: q.DiskBytes, ResultBytes: q.ResultBytes,
		// KAA_MAX_OUTPUT_BYTES was the only one of the two, and lowering it has to
		// go on being enough.
		OutputBytes: min(q.OutputBytes, q.MaxOutputBytes),
	}
	if d.CPUTime == 0 {
		d.CPUTime = q.MaxCPUTime // no limit would be above every ceiling
	}
	return d
}

// MaxQuota is the most that an execution may ask for.
func (q Quotas) MaxQuota() job.Quota {
	m := job.Quota{
		MemoryBytes: q.MaxMemoryBytes, CPUs: q.MaxCPUs, CPUTime: q.MaxCPUTime, Processes: q.MaxProcesses, OpenFiles: q.MaxOpenFiles,
		FileBytes: q.MaxFileBytes, DiskBytes: q.MaxDiskBytes, OutputBytes: q.MaxOutputBytes, ResultBytes: q.MaxResultBytes,
	}
	if m.CPUs == 0 {
		// The default counts as well: one configuration serves an API on a small
		// machine and runners on large ones.
		m.CPUs = max(float64(runtime.NumCPU()), q.CPUs)
	}
	return m
}

// check reports what is out of bounds, or does not fit together.
func (q Quotas) check(bad func(format string, args ...any)) {
	least := job.MinQuota()
	for _, p := range []struct {
		name                      string
		byDefault, ceiling, least int64
	}{
		{"MEMORY_BYTES", q.MemoryBytes, q.MaxMemoryBytes, least.MemoryBytes},
		{"PROCESSES", int64(q.Processes), int64(q.MaxProcesses), int64(least.Processes)},
		{"OPEN_FILES", int64(q.OpenFiles), int64(q.MaxOpenFiles), int64(least.OpenFiles)},
		{"FILE_BYTES", q.FileBytes, q.MaxFileBytes, least.FileBytes},
		{"DISK_BYTES", q.DiskBytes, q.MaxDiskBytes, least.DiskBytes},
		{"OUTPUT_BYTES", min(q.OutputBytes, max(1, q.MaxOutputBytes)), q.MaxOutputBytes, 1},
		{"RESULT_BYTES", q.ResultBytes, q.MaxResultBytes, least.ResultBytes},
	} {
		if p.byDefault < p.least {
			bad("KAA_%s must be at least %d", p.name, p.least)
		}
		if p.ceiling < p.least {
			bad("KAA_MAX_%s must be at least %d", p.name, p.least)
		} else if p.byDefault > p.ceiling {
			bad("KAA_%[1]s (%[2]d) is above KAA_MAX_%[1]s (%[3]d)", p.name, p.byDefault, p.ceiling)
		}
	}
	if !(q.CPUs >= least.CPUs) || math.IsInf(q.CPUs, 0) { // a NaN is neither
		bad("KAA_CPUS must be at least %g", least.CPUs)
	}
	if q.MaxCPUs != 0 && !(q.MaxCPUs >= least.CPUs) || math.IsInf(q.MaxCPUs, 0) {
		bad("KAA_MAX_CPUS must be at least %g, or 0 for the number of cores", least.CPUs)
	} else if q.MaxCPUs != 0 && q.CPUs > q.MaxCPUs {
		bad("KAA_CPUS (%g) is above KAA_MAX_CPUS (%g)", q.CPUs, q.MaxCPUs)
	}
	if q.CPUTime != 0 && q.CPUTime < least.CPUTime {
		bad("KAA_CPU_TIME must be at least %s, or 0s", least.CPUTime)
	}
	if q.MaxCPUTime != 0 && q.MaxCPUTime < least.CPUTime {
		bad("KAA_MAX_CPU_TIME must be at least %s, or 0s for no ceiling", least.CPUTime)
	} else if q.MaxCPUTime != 0 && q.CPUTime > q.MaxCPUTime {
		bad("KAA_CPU_TIME (%s) is above KAA_MAX_CPU_TIME (%s)", q.CPUTime, q.MaxCPUTime)
	}
}
