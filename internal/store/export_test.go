package store

import "context"

// LookAtMemory reads how much memory Redis uses, whatever is known of it.
func (s *Store) LookAtMemory(ctx context.Context) { s.lookAtMemory(ctx) }

// SchemaVersion is the version of the records that this source writes.
const SchemaVersion = schemaVersion

// JobsLooked is how many jobs a narrowed listing looks at for one page.
const JobsLooked = jobsLooked

// PackagesKey has the sets of packages by the time of their last use, PackageSetKey is the record of one.
const PackagesKey = packagesKey

func PackageSetKey(set string) string { return packageSetKey(set) }
