package testenv

import (
	"context"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// Faults is a redis.Hook that makes commands fail on demand. The zero value
// lets everything pass.
type Faults struct {
	fail atomic.Pointer[func(redis.Cmder) error]
}

// Fail makes every command for which fn returns an error end with that error
// without reaching Redis; a pipeline fails as a whole if any of its commands
// does. Fail(nil) heals.
func (f *Faults) Fail(fn func(cmd redis.Cmder) error) {
	if fn == nil {
		f.fail.Store(nil)
		return
	}
	f.fail.Store(&fn)
}

func (f *Faults) errorOf(cmds ...redis.Cmder) error {
	fn := f.fail.Load()
	if fn == nil {
		return nil
	}
	for _, cmd := range cmds {
		if err := (*fn)(cmd); err != nil {
			return err
		}
	}
	return nil
}

// DialHook lets every connection pass.
func (f *Faults) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook fails a command.
func (f *Faults) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := f.errorOf(cmd); err != nil {
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook fails a pipeline.
func (f *Faults) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := f.errorOf(cmds...); err != nil {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
			return err
		}
		return next(ctx, cmds)
	}
}
