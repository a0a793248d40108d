package sandbox

import (
	"os"
	"path/filepath"
	"testing"
)

// TestRemoveLeftovers: what a runner that was killed has left goes, and nothing of others.
func TestRemoveLeftovers(t *testing.T) {
	t.Parallel()
	const dead = "kaa-999999999-1" // no process has this number
	base := t.TempDir()
	// Groups are empty directories for whoever removes them; their files go with them.
	for _, path := range []string{dead + "/1", dead + "/22", "kaa-999999999", "kaa-mine", "kaa-999999999-1x", "kaa-999999998-1/other", "kaa-999999997-1/1", "kaa-1-1"} {
		if err := os.MkdirAll(filepath.Join(base, path), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := lockGroup(filepath.Join(base, "kaa-999999997-1")) // it lives where its number cannot be seen
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	removeLeftovers(base)
	for path, want := range map[string]bool{
		dead: false, "kaa-999999999": true, "kaa-mine": true, "kaa-999999999-1x": true, "kaa-999999998-1/other": true,
		"kaa-999999997-1/1": true, "kaa-1-1": true,
	} {
		if _, err := os.Stat(filepath.Join(base, path)); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %t", path, err, want)
		}
	}
}

// TestGroupsAreLocked: another runner of the same parent does not take them for left-overs.
func TestGroupsAreLocked(t *testing.T) {
	t.Parallel()
	g, err := NewGroups()
	if err != nil {
		t.Skip(err)
	}
	for _, parent := range g.parents {
		if lock, err := lockGroup(parent); err == nil {
			t.Errorf("%s is not locked", parent)
			_ = lock.Close()
		}
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}
