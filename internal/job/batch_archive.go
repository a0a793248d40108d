package job

import "strings"

// ArchiveState is the state of the archive of a batch.
type ArchiveState string

// The states of an archive.
const (
	ArchiveWaiting ArchiveState = "waiting" // the batch has not ended, or its archive is being written
	ArchiveWritten ArchiveState = "written"
)

// BatchArchive is the object with all results of a batch.
type BatchArchive struct {
	State   ArchiveState `json:"state" enum:"waiting,written" doc:"waiting: the batch has not ended, or its archive is being written. written: GET /v1/batches/{id}/archive has it."`
	Bytes   int64        `json:"bytes,omitempty" doc:"Its size, once it is written."`
	Results int64        `json:"results,omitempty" doc:"Lines in it: one for each job and each line that was refused."`
	Expired int64        `json:"expired,omitempty" doc:"Results that had expired, or were deleted, before it was written."`
	Token   string       `json:"-"` // of the attempt that wrote it
	Error   string       `json:"error,omitempty" doc:"Why it could not be written yet. Kaa tries again until the batch expires."`
}

// ArchiveClaim is the right to write the archive of a batch, until another process gets it.
type ArchiveClaim struct {
	Batch, Owner, Token string
	Attempt             int // from 1
}

// Key is the key of the blob. It differs between attempts, so one that has lost its claim overwrites nothing.
func (c ArchiveClaim) Key() string { return ArchiveKey(c.Batch, c.Token) }

// ArchivesPrefix begins the keys of all archives. A cleaner of an older Kaa, to which they would belong to no job, does not look there.
const ArchivesPrefix = "batches/"

// ArchivePrefix begins the keys of all blobs of a batch.
func ArchivePrefix(batch string) string { return ArchivesPrefix + KeyPrefix(batch) }

// ArchiveKey is the key of the archive that a claim has written.
func ArchiveKey(batch, token string) string { return ArchivePrefix(batch) + "archive." + token }

// BatchOfKey returns the id of the batch whose blob it is; empty for a key of another form.
func BatchOfKey(key string) string {
	if rest, ok := strings.CutPrefix(key, ArchivesPrefix); ok && IsBatchID(OwnerOfKey(rest)) {
		return OwnerOfKey(rest)
	}
	return ""
}
