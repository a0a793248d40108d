package job

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// A volume is the working directory of a session that outlives it: a snapshot in the blob store, under a name that the
// caller chose. One session at a time uses it. Its runner restores the snapshot into the session's sandbox and saves
// newer ones.

// Volume is the record of a volume.
type Volume struct {
	Name      string
	CreatedAt time.Time
	SavedAt   time.Time // of the snapshot; zero if none was saved yet
	Bytes     int64     // of the snapshot, as it is stored
	Entries   int       // files, directories and links in it
	Skipped   int       // entries that are not in it; see TreeStats
	ExpiresAt time.Time // when it is deleted unless it is used again; zero for never
	Session   string    // that uses it, or whose files are being saved; empty if there is none
	Error     string    // why the last save failed; empty if it did not
	ErrorAt   time.Time
}

// Persistence is what a session says of its volume.
type Persistence struct {
	Volume  string
	SavedAt time.Time // of the snapshot that is kept; zero if there is none, or the session has not been executed
	Bytes   int64
	Skipped int
	Error   string // why the last save failed; empty if it did not
	ErrorAt time.Time
}

// HeldVolume is a volume that a runner has for a session. The store refuses what another session, or another runner, would do
// with it.
type HeldVolume struct {
	Caller, Name    string
	Session, Runner string
	Snapshot        string // id of the snapshot to restore; empty if there is none yet
}

// Snapshot is a saved working directory.
type Snapshot struct {
	ID      string
	Bytes   int64 // as it is stored
	Entries int
	Skipped int
}

// TreeStats describe a working directory that was saved.
type TreeStats struct {
	Entries int
	Skipped int   // entries that were not saved: pipes, sockets, devices, and entries that could not be read
	Bytes   int64 // of the contents
}

// SnapshotsPrefix begins the keys of all snapshots. Those of other blobs begin with the end of an id.
const SnapshotsPrefix = "volumes/"

// SnapshotPrefix begins the keys of all blobs of a snapshot.
func SnapshotPrefix(id string) string { return SnapshotsPrefix + KeyPrefix(id) }

// snapshotOwner precedes the id of a snapshot where others are ids of jobs.
const snapshotOwner = "snapshot:"

// SnapshotOwner stands for a snapshot among the jobs to which blobs belong.
func SnapshotOwner(id string) string { return snapshotOwner + id }

// BlobPrefix begins the keys of all blobs of a job, a batch, or of a snapshot that SnapshotOwner stands for.
func BlobPrefix(owner string) string {
	if IsBatchID(owner) {
		return ArchivePrefix(owner)
	}
	if id, ok := strings.CutPrefix(owner, snapshotOwner); ok {
		return SnapshotPrefix(id)
	}
	return KeyPrefix(owner)
}

// SnapshotKey is the key of the blob of a snapshot.
func SnapshotKey(id string) string { return SnapshotPrefix(id) + "tar.zst" }

// SnapshotOfKey returns the id of the snapshot whose blob it is; empty for a key of another form.
func SnapshotOfKey(key string) string {
	rest, ok := strings.CutPrefix(key, SnapshotsPrefix)
	if !ok {
		return ""
	}
	return OwnerOfKey(rest)
}

// ErrNoVolume means that the caller has no volume of this name.
var ErrNoVolume = errors.New("volume not found")

// VolumeInUseError means that a session uses the volume.
type VolumeInUseError struct {
	Name, Session string
	// Saving: the session has ended, and its runner saves the files.
	Saving bool
}

func (e *VolumeInUseError) Error() string {
	if e.Saving {
		return fmt.Sprintf("the session %s has ended, and the files of the volume %q are being saved", e.Session, e.Name)
	}
	return fmt.Sprintf("the session %s uses the volume %q", e.Session, e.Name)
}

// VolumesFullError means that a caller has its maximum of volumes.
type VolumesFullError struct{ Count, Limit int64 }

func (e *VolumesFullError) Error() string {
	return fmt.Sprintf("there are %d volumes of the caller, the limit is %d", e.Count, e.Limit)
}

// maxVolumeName is the length of a volume's name.
const maxVolumeName = 128

var volumeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:@~-]*$`)

// checkVolume checks the name of a volume that a session is to have; an empty one is none.
func checkVolume(v *validation, name *string) string {
	switch {
	case name == nil:
		return ""
	case len(*name) > maxVolumeName || !volumeName.MatchString(*name):
		v.add("persist", "must have 1 to %d characters: a letter or digit, then letters, digits and any of . _ : @ ~ -", maxVolumeName)
	}
	return *name
}
