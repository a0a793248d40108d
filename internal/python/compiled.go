package python

import (
	"os"
	"path/filepath"
	"sync"
)

// compiled is a pattern for the files in which start.py keeps the scripts that it has compiled. Their
// names differ between Pythons that cannot load each other's.
const compiled = "*.compiled"

// known has such files by name, as []byte, for further directories of this process.
var known sync.Map //nolint:gochecknoglobals // a function of the embedded scripts and of the Python

// Keep remembers what start.py has compiled in a directory, so that Write adds it to further ones. Only the
// directory's owner may have written to it so far. To compile all scripts takes half of the time in
// which a zygote starts.
func Keep(dir string) {
	paths, _ := filepath.Glob(filepath.Join(dir, compiled))
	for _, path := range paths {
		name := filepath.Base(path)
		if _, ok := known.Load(name); ok {
			continue
		}
		if data, err := os.ReadFile(path); err == nil {
			known.Store(name, data)
		}
	}
}

// writeCompiled adds what is known to a directory. Without it start.py compiles, so a full disk does
// no harm. The sources of the scripts may need that room.
func writeCompiled(dir string) {
	known.Range(func(name, data any) bool {
		path := filepath.Join(dir, name.(string))            //nolint:forcetypeassert // see known
		if os.WriteFile(path, data.([]byte), 0o600) != nil { //nolint:forcetypeassert // see known
			_ = os.Remove(path)
		}
		return true
	})
}
