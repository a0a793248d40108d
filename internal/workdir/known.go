package workdir

import (
	"hash/maphash"
	"io"
)

// Known maps a hash of each path to the file as it was last seen. Hashes keep it small for
// sessions with thousands of long paths. The nil map is empty.
type Known map[uint64]seen

type seen struct {
	stamp Stamp
	// young: the file was changed in the tick of the clock in which it was seen, so the next
	// change may have left the same stamp. Then sum decides, if the file was read.
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

// Put records a file that was put there.
func (k *Known) Put(path string, s Stamp) {
	if *k == nil {
		*k = Known{}
	}
	(*k)[nameOf(path)] = seen{stamp: s}
}

// has reports whether a file is unchanged.
func (k Known) has(t *Tree, f Found) bool {
	was, ok := k[nameOf(f.Path)]
	if !ok || was.stamp != f.Stamp {
		return false
	}
	if !was.young || !was.read {
		return true
	}
	sum, err := sumOf(t, f)
	return err == nil && sum == was.sum
}

func sumOf(t *Tree, f Found) (uint64, error) {
	file, _, err := t.Open(f.Path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	h := newSum()
	_, err = io.Copy(h, io.LimitReader(file, f.Stamp.Size))
	return h.Sum64(), err
}
