package app

import "github.com/kaa-run/kaa/internal/app/config"

// Environment is what a process is started with: see package config.
type Environment = config.Environment
