package interpreter

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/kaa-run/kaa/internal/python"
)

// writeScripts writes all of Kaa's Python into the pool's private directory.
func writeScripts(dir string) error {
	entries, err := python.Scripts.ReadDir(".")
	if err != nil {
		return fmt.Errorf("read scripts: %w", err)
	}
	for _, entry := range entries {
		text, err := python.Scripts.ReadFile(entry.Name())
		if err != nil {
			return fmt.Errorf("read script: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, entry.Name()), text, 0o600); err != nil {
			return fmt.Errorf("write script: %w", err)
		}
	}
	return nil
}
