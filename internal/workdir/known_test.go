package workdir

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestKnown: where the clock of the file system is coarse, a change in the tick in which a file
// was seen leaves the same stamp, and shows all the same.
func TestKnown(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	if err := os.WriteFile(path+"/f", []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir, err := OpenDir(unix.AT_FDCWD, path)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	all, _ := tr.Search(t.Context())
	if len(all) != 1 {
		t.Fatal(all)
	}
	f := all[0]
	sum, err := sumOf(tr, f)
	if err != nil {
		t.Fatal(err)
	}
	other := f.Stamp
	other.inode++
	for name, tt := range map[string]struct {
		was  seen
		want bool
	}{
		"the same":                    {seen{stamp: f.Stamp}, true},
		"another stamp":               {seen{stamp: other}, false},
		"young, with the content":     {seen{stamp: f.Stamp, young: true, read: true, sum: sum}, true},
		"young, with another content": {seen{stamp: f.Stamp, young: true, read: true, sum: sum + 1}, false},
		"young and never read":        {seen{stamp: f.Stamp, young: true}, true},
	} {
		if got := (Known{nameOf("f"): tt.was}).has(tr, f); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
	if Known(nil).has(tr, f) {
		t.Error("nothing is known, but a file is")
	}
	c := &Collection{found: all, sums: map[uint64]uint64{nameOf("f"): sum}}
	tick := f.Stamp.changed
	if k := c.after(tick)[nameOf("f")]; !k.young || !k.read || k.sum != sum {
		t.Errorf("seen in its tick: %+v", k)
	}
	next := unix.NsecToTimespec(tick.Nano() + 1)
	if k := c.after(next)[nameOf("f")]; k.young {
		t.Errorf("seen later: %+v", k)
	}
	c = &Collection{found: all, Known: Known{nameOf("f"): {stamp: f.Stamp, young: true, read: true, sum: sum}}}
	if k := c.after(tick)[nameOf("f")]; !k.read || k.sum != sum {
		t.Errorf("compared in its tick: %+v", k)
	}
}
