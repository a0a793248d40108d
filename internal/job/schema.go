package job

import (
	"fmt"
	"strings"
)

// Schema is a version of the form in which records are kept.
type Schema struct {
	// Version is the version of the records that are written.
	Version int
	// ReadBy is the lowest version whose processes can still work on them.
	ReadBy int
	// By is the release of Kaa that wrote the first records of this version.
	By string
}

// SchemaError says that a process cannot work on the records that there are.
type SchemaError struct {
	Own    Schema
	Oldest int // the lowest version that the process reads
	Stored Schema
}

func (e *SchemaError) Error() string {
	own := strings.TrimSpace("Kaa " + e.Own.By) // doctor does not know its release
	if e.Own.Version < e.Stored.ReadBy {
		return fmt.Sprintf("the records in Redis have version %d, since Kaa %s has worked on them, and need a process of version %d at least; "+
			"this %s has version %d. Start Kaa %s or a newer one, or use another database (KAA_REDIS_URL)",
			e.Stored.Version, e.Stored.By, e.Stored.ReadBy, own, e.Own.Version, e.Stored.By)
	}
	return fmt.Sprintf("the records in Redis have version %d, written by Kaa %s; this %s reads version %d and newer ones. "+
		"Start a release between the two first, which raises them, or use another database (KAA_REDIS_URL)",
		e.Stored.Version, e.Stored.By, own, e.Oldest)
}
