package interpreter

import (
	"hash/maphash"
	"io"

	"golang.org/x/sys/unix"
)

// known are the files of a working directory as they were last seen, by nameOf their paths: a
// session may have thousands with long ones. Its nil is none.
type known map[uint64]seen

type seen struct {
	stamp stamp
	// young: the file was changed in the tick of the clock in which it was seen, so the next
	// change may have left the same stamp. Then sum, if it was read, tells.
	young, read bool
	sum         uint64
}

// seed makes hashes that code cannot know.
var seed = maphash.MakeSeed() //nolint:gochecknoglobals // a constant of the process

func nameOf(path string) uint64 { return maphash.String(seed, path) }

// newSum returns a hash of a file's content.
func newSum() *maphash.Hash {
	h := new(maphash.Hash)
	h.SetSeed(seed)
	return h
}

// put notes a file that was put there.
func (k *known) put(path string, s stamp) {
	if *k == nil {
		*k = known{}
	}
	(*k)[nameOf(path)] = seen{stamp: s}
}

// has reports whether a file is as it was.
func (k known) has(t *tree, f found) bool {
	was, ok := k[nameOf(f.path)]
	if !ok || was.stamp != f.stamp {
		return false
	}
	if !was.young || !was.read {
		return true
	}
	sum, err := sumOf(t, f)
	return err == nil && sum == was.sum
}

func sumOf(t *tree, f found) (uint64, error) {
	file, _, err := t.open(f.path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	h := newSum()
	_, err = io.Copy(h, io.LimitReader(file, f.stamp.size))
	return h.Sum64(), err
}

// after returns what is known after a collection that began at a time of the file system's
// clock. What was seen and not kept is known as well: once is enough to tell of it.
func (c *collection) after(began unix.Timespec) known {
	k := make(known, len(c.found))
	for _, f := range c.found {
		name := nameOf(f.path)
		now := seen{stamp: f.stamp, young: f.stamp.changed.Nano() >= began.Nano()}
		if now.young {
			now.sum, now.read = c.sums[name]
			if was := c.known[name]; !now.read && was.stamp == f.stamp {
				now.sum, now.read = was.sum, was.read // it was compared
			}
		}
		k[name] = now
	}
	return k
}

// clock is the clock by which file systems note changes.
func clock() unix.Timespec {
	var now unix.Timespec
	// It cannot fail with a clock that there is.
	_ = unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now)
	return now
}
