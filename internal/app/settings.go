package app

import (
	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/service"
)

// Environment has the environment variables of a process: see package config.
type Environment = config.Environment

// settingsOf lists the settings of a process for operators.
func settingsOf(c *config.Config) []service.Setting {
	var all []service.Setting
	for _, s := range c.Shown() {
		all = append(all, service.Setting{Name: s.Name, Value: s.Value, Default: s.Default, Secret: s.Secret, Changed: s.Changed})
	}
	return all
}
