package app

import "github.com/kaa-run/kaa/internal/app/config"

// Environment has the environment variables of a process: see package config.
type Environment = config.Environment
