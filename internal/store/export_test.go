package store

import "context"

// LookAtMemory reads how much memory Redis uses, whatever is known of it.
func (s *Store) LookAtMemory(ctx context.Context) { s.lookAtMemory(ctx) }

// SchemaVersion is the version of the records that this source writes.
const SchemaVersion = schemaVersion
