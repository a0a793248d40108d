package store

import (
	"cmp"
	"context"
	"errors"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// PresentUse returns what an owner has at present of each bounded thing, with the bounds of every caller. The scripts that
// record something compare the same numbers: no_bytes, room.lua, create.lua, too_many and no_session_room.
func (s *Store) PresentUse(ctx context.Context, owner string) (job.PresentUse, error) {
	caller := cmp.Or(owner, anonymous)
	_ = s.hasRoom(ctx) // so that the memory of Redis is known
	var bytes, files *redis.SliceCmd
	var waiting *redis.StringCmd
	var sessions *redis.IntCmd
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		bytes, files = p.HMGet(ctx, prefix+"bytes", caller, "*"), p.HMGet(ctx, prefix+"files", caller, "*")
		waiting, sessions = p.HGet(ctx, prefix+"waiting", caller), p.ZCard(ctx, callerSessionsKey(caller))
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return job.PresentUse{}, wrap("read the present use", err)
	}
	v, err := s.call(ctx, s.scripts.takes, keys{{"sessions", callerSessionsKey(caller)}}, args{{"caller", caller}}).Slice()
	if err != nil {
		return job.PresentUse{}, wrap("read the present use", err)
	}
	takes := reply(v)
	b, f := reply(bytes.Val()), reply(files.Val())
	most, shared := s.memory.mostOfCaller(s.cfg)
	return job.PresentUse{
		Bytes:    job.InUse{Used: atoi(b.text(0)), Allowed: shareOf(atoi(b.text(0)), atoi(b.text(1)), most, shared)},
		Files:    job.InUse{Used: atoi(f.text(0)), Allowed: s.cfg.filesOf(caller, atoi(f.text(0)), atoi(f.text(1)))},
		Waiting:  job.InUse{Used: atoi(waiting.Val()), Allowed: orUnbounded(int64(s.cfg.MaxCallerDepth))},
		Sessions: job.InUse{Used: sessions.Val(), Allowed: orUnbounded(int64(s.cfg.MaxCallerSessions))},
		Memory:   job.InUse{Used: atoi(takes.text(0)), Allowed: orUnbounded(s.cfg.MaxCallerSessionMemory)},
		Disk:     job.InUse{Used: atoi(takes.text(1)), Allowed: orUnbounded(s.cfg.MaxCallerSessionDisk)},
	}, nil
}

func orUnbounded(most int64) int64 {
	if most == 0 {
		return job.Unbounded
	}
	return most
}

// shareOf is share_of in common.lua.
func shareOf(own, all, most int64, shared string) int64 {
	if most == 0 || shared == "" {
		return orUnbounded(most)
	}
	half := most
	if shared != mark(true) {
		half, _ = strconv.ParseInt(shared, 10, 64) // mostOfCaller wrote it
	}
	return max(0, min(most, (half*2*5/8-(all-own))/2))
}

// filesOf is the bound of room.lua for the bytes of a caller's files.
func (c Config) filesOf(caller string, own, all int64) int64 {
	switch {
	case c.MaxCallerFiles > 0:
		return c.MaxCallerFiles
	case c.MaxFiles == 0:
		return job.Unbounded
	case c.OneCaller || caller == anonymous:
		return c.MaxFiles - (all - own)
	}
	return max(0, (c.MaxFiles-(all-own))/2)
}
