package store

import (
	"cmp"
	"context"

	"github.com/kaa-run/kaa/internal/job"
)

// The version of the records. docs/contributing/schema.md explains when to raise which number.
const (
	// schemaVersion is the version that this source writes.
	schemaVersion = 1
	// schemaReadBy is the lowest version whose processes can work beside those of this source.
	schemaReadBy = 1
	// schemaOldest is the lowest version that this source reads.
	schemaOldest = 1
)

// SchemaConfig has other numbers than this source, for tests. The zero value of a number means that
// of this source.
type SchemaConfig struct {
	job.Schema
	Oldest int
}

func (c SchemaConfig) withDefaults() SchemaConfig {
	c.Version, c.ReadBy = cmp.Or(c.Version, schemaVersion), cmp.Or(c.ReadBy, schemaReadBy)
	c.Oldest = cmp.Or(c.Oldest, schemaOldest)
	return c
}

// AgreeOnSchema records the version of this process's records, if Redis has none or a lower one
// that this process reads. It returns the version that is in force then. A *job.SchemaError says
// that this process must not work on the records.
func (s *Store) AgreeOnSchema(ctx context.Context) (job.Schema, error) {
	own := s.cfg.Schema
	v, err := s.call(ctx, s.scripts.schema, keys{{"schema", schemaKey}, {"queues", queuesKey}},
		args{{"version", own.Version}, {"read_by", own.ReadBy}, {"oldest", own.Oldest}, {"by", own.By}}).Slice()
	if err != nil {
		return job.Schema{}, wrap("agree on the version of records", err)
	}
	return s.judgeSchema(v)
}

// Schema returns the version of the records in Redis, without a change; zero if there is none. The
// error is that of AgreeOnSchema.
func (s *Store) Schema(ctx context.Context) (job.Schema, error) {
	v, err := s.rdb.HMGet(ctx, schemaKey, "version", "read_by", "by").Result()
	if err != nil {
		return job.Schema{}, wrap("read the version of records", err)
	}
	if v[0] == nil {
		return job.Schema{}, nil
	}
	return s.judgeSchema(v)
}

func (s *Store) judgeSchema(r reply) (job.Schema, error) {
	own := s.cfg.Schema
	stored := job.Schema{Version: int(atoi(r.text(0))), ReadBy: int(atoi(r.text(1))), By: r.text(2)}
	if own.Version < stored.ReadBy || stored.Version < own.Oldest {
		return stored, &job.SchemaError{Own: own.Schema, Oldest: own.Oldest, Stored: stored}
	}
	return stored, nil
}
