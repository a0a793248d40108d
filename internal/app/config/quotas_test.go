package config_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/job"
)

func TestQuotas(t *testing.T) {
	t.Parallel()
	cores := float64(runtime.NumCPU())
	tests := []struct {
		name   string
		vars   config.Environment
		change func(byDefault, ceiling *job.Quota)
	}{
		{"none given", nil, func(*job.Quota, *job.Quota) {}},
		{
			"all given",
			config.Environment{
				"KAA_MEMORY_BYTES=33554432", "KAA_MAX_MEMORY_BYTES=33554433", "KAA_CPUS=0.5", "KAA_MAX_CPUS=1.5", "KAA_CPU_TIME=1s", "KAA_MAX_CPU_TIME=2s",
				"KAA_PROCESSES=1", "KAA_MAX_PROCESSES=2", "KAA_OPEN_FILES=16", "KAA_MAX_OPEN_FILES=17", "KAA_FILE_BYTES=0", "KAA_MAX_FILE_BYTES=0",
				"KAA_DISK_BYTES=65536", "KAA_MAX_DISK_BYTES=65537", "KAA_OUTPUT_BYTES=1", "KAA_MAX_OUTPUT_BYTES=2",
				"KAA_RESULT_BYTES=1", "KAA_MAX_RESULT_BYTES=2", "KAA_CALLS=1", "KAA_MAX_CALLS=2", "KAA_CALL_BYTES=1", "KAA_MAX_CALL_BYTES=2",
				"KAA_CALL_TIME=1s", "KAA_MAX_CALL_TIME=2s", "KAA_CALLS_AT_ONCE=1", "KAA_MAX_CALLS_AT_ONCE=2",
			},
			func(d, m *job.Quota) {
				*d = job.Quota{Calls: 1, CallBytes: 1, CallTime: time.Second, CallsAtOnce: 1, MemoryBytes: 33554432, CPUs: 0.5, CPUTime: time.Second, Processes: 1, OpenFiles: 16, DiskBytes: 65536, OutputBytes: 1, ResultBytes: 1}
				*m = job.Quota{Calls: 2, CallBytes: 2, CallTime: 2 * time.Second, CallsAtOnce: 2, MemoryBytes: 33554433, CPUs: 1.5, CPUTime: 2 * time.Second, Processes: 2, OpenFiles: 17, DiskBytes: 65537, OutputBytes: 2, ResultBytes: 2}
			},
		},
		{
			"a lowered ceiling of output lowers the default",
			config.Environment{"KAA_MAX_OUTPUT_BYTES=1000"},
			func(d, m *job.Quota) { d.OutputBytes, m.OutputBytes = 1000, 1000 },
		},
		{
			"a ceiling of CPU time is the default too",
			config.Environment{"KAA_MAX_CPU_TIME=1m"},
			func(d, m *job.Quota) { d.CPUTime, m.CPUTime = time.Minute, time.Minute },
		},
		{
			"a limit of CPU time without a ceiling",
			config.Environment{"KAA_CPU_TIME=1m"},
			func(d, _ *job.Quota) { d.CPUTime = time.Minute },
		},
		{
			"more cores than this machine has",
			config.Environment{"KAA_CPUS=1000"},
			func(d, m *job.Quota) { d.CPUs, m.CPUs = 1000, 1000 },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg, err := config.Load(tt.vars)
			if err != nil {
				t.Fatal(err)
			}
			byDefault := job.StandardQuota()
			ceiling := job.Quota{
				MemoryBytes: 4 << 30, CPUs: cores, Processes: 1024, OpenFiles: 4096, FileBytes: 1 << 30, DiskBytes: 1 << 30, OutputBytes: 8 << 20, ResultBytes: 32 << 20,
				Calls: 10000, CallBytes: 64 << 20, CallTime: time.Hour, CallsAtOnce: 256,
			}
			tt.change(&byDefault, &ceiling)
			if diff := cmp.Diff(byDefault, cfg.DefaultQuota()); diff != "" {
				t.Errorf("default (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(ceiling, cfg.MaxQuota()); diff != "" {
				t.Errorf("ceiling (-want +got):\n%s", diff)
			}
		})
	}
}

func TestQuotasRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		vars string // separated by spaces
		want string
	}{
		{"KAA_MEMORY_BYTES=33554431", "KAA_MEMORY_BYTES must be at least 33554432"},
		{"KAA_MEMORY_BYTES=4294967297", "KAA_MEMORY_BYTES (4294967297) is above KAA_MAX_MEMORY_BYTES (4294967296)"},
		{"KAA_MAX_MEMORY_BYTES=1", "KAA_MAX_MEMORY_BYTES must be at least 33554432"},
		{"KAA_CPUS=0", "KAA_CPUS must be at least 0.01"},
		{"KAA_CPUS=NaN", "KAA_CPUS must be at least 0.01"},
		{"KAA_CPUS=Inf", "KAA_CPUS must be at least 0.01"},
		{"KAA_MAX_CPUS=-1", "KAA_MAX_CPUS must be at least 0.01, or 0"},
		{"KAA_MAX_CPUS=NaN", "KAA_MAX_CPUS must be at least 0.01, or 0"},
		{"KAA_CPUS=2 KAA_MAX_CPUS=1.5", "KAA_CPUS (2) is above KAA_MAX_CPUS (1.5)"},
		{"KAA_CPU_TIME=9ms", "KAA_CPU_TIME must be at least 10ms, or 0s"},
		{"KAA_MAX_CPU_TIME=-1s", "KAA_MAX_CPU_TIME must be at least 10ms, or 0s"},
		{"KAA_CPU_TIME=2s KAA_MAX_CPU_TIME=1s", "KAA_CPU_TIME (2s) is above KAA_MAX_CPU_TIME (1s)"},
		{"KAA_PROCESSES=0", "KAA_PROCESSES must be at least 1"},
		{"KAA_MAX_PROCESSES=100", "KAA_PROCESSES (128) is above KAA_MAX_PROCESSES (100)"},
		{"KAA_OPEN_FILES=15", "KAA_OPEN_FILES must be at least 16"},
		{"KAA_MAX_OPEN_FILES=1000", "KAA_OPEN_FILES (1024) is above KAA_MAX_OPEN_FILES (1000)"},
		{"KAA_FILE_BYTES=-1", "KAA_FILE_BYTES must be at least 0"},
		{"KAA_MAX_FILE_BYTES=1", "KAA_FILE_BYTES (268435456) is above KAA_MAX_FILE_BYTES (1)"},
		{"KAA_DISK_BYTES=65535", "KAA_DISK_BYTES must be at least 65536"},
		{"KAA_MAX_DISK_BYTES=65536", "KAA_DISK_BYTES (268435456) is above KAA_MAX_DISK_BYTES (65536)"},
		{"KAA_OUTPUT_BYTES=0", "KAA_OUTPUT_BYTES must be at least 1"},
		{"KAA_MAX_OUTPUT_BYTES=0", "KAA_MAX_OUTPUT_BYTES must be at least 1"},
	}
	for _, tt := range tests {
		t.Run(tt.vars, func(t *testing.T) {
			t.Parallel()
			_, err := config.Load(strings.Fields(tt.vars))
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("err = %v, want only %s…", err, tt.want)
			}
		})
	}
}
