package config

import (
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Batches are the bounds of batches.
type Batches struct {
	MaxBatchJobs      int64 `env:"KAA_MAX_BATCH_JOBS" envDefault:"1000000"`
	MaxBatchBytes     int64 `env:"KAA_MAX_BATCH_BYTES" envDefault:"4294967296"`
	MaxBatchLineBytes int   `env:"KAA_MAX_BATCH_LINE_BYTES" envDefault:"2097152"`
	// MaxBatchesPerKey is of those that have not ended; 0 is no limit.
	MaxBatchesPerKey int `env:"KAA_MAX_BATCHES_PER_KEY" envDefault:"100"`
	// BatchAhead is how many jobs of a batch have a record before they have ended.
	BatchAhead int `env:"KAA_BATCH_AHEAD" envDefault:"4000"`
	// BatchReceiveTimeout is how long nothing may come of a batch that is being received.
	BatchReceiveTimeout time.Duration `env:"KAA_BATCH_RECEIVE_TIMEOUT" envDefault:"1h"`
}

// BatchLimits are the bounds of batches for the service.
func (b *Batches) BatchLimits() job.BatchLimits {
	return job.BatchLimits{Jobs: b.MaxBatchJobs, Bytes: b.MaxBatchBytes, LineBytes: b.MaxBatchLineBytes, Open: b.MaxBatchesPerKey}
}

func (b *Batches) check(bad func(format string, args ...any)) {
	for name, v := range map[string]int64{
		"KAA_MAX_BATCH_JOBS": b.MaxBatchJobs, "KAA_MAX_BATCH_BYTES": b.MaxBatchBytes, "KAA_MAX_BATCH_LINE_BYTES": int64(b.MaxBatchLineBytes),
		"KAA_BATCH_AHEAD": int64(b.BatchAhead), "KAA_BATCH_RECEIVE_TIMEOUT": int64(b.BatchReceiveTimeout),
	} {
		if v <= 0 {
			bad("%s must be above 0", name)
		}
	}
	if b.MaxBatchesPerKey < 0 {
		bad("KAA_MAX_BATCHES_PER_KEY must not be negative")
	}
	if b.MaxBatchJobs > job.MaxBatchJobs {
		bad("KAA_MAX_BATCH_JOBS is %d; ids have room for %d", b.MaxBatchJobs, job.MaxBatchJobs)
	}
}
