package service

import "github.com/kaa-run/kaa/internal/job"

// Shares divides waits, bytes and sockets among callers.
type Shares = job.Shares
