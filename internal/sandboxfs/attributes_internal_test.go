package sandboxfs

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// fake is a reader of attributes that file systems of tests may not take.
func fake(names []string, values map[string]string) reader {
	copied := func(text string, into []byte) (int, error) {
		if len(into) == 0 {
			return len(text), nil
		}
		if len(into) < len(text) {
			return 0, unix.ERANGE
		}
		return copy(into, text), nil
	}
	return reader{
		list: func(_ string, into []byte) (int, error) { return copied(strings.Join(names, "\x00")+"\x00", into) },
		get: func(_, name string, into []byte) (int, error) {
			value, ok := values[name]
			if !ok {
				return 0, unix.ENODATA
			}
			return copied(value, into)
		},
	}
}

// TestReadBounds: what is read of attributes has its bounds, whatever the code has set.
func TestReadBounds(t *testing.T) {
	t.Parallel()
	half, all := strings.Repeat("x", job.MaxAttributeBytes/2), strings.Repeat("x", job.MaxAttributeBytes)
	for _, tt := range []struct {
		name   string
		names  []string
		values map[string]string
		want   string
		more   bool
	}{
		{"others", []string{"security.a", "user.a", "trusted.b"}, map[string]string{"security.a": "1", "user.a": "2", "trusted.b": "3"}, "user.a", false},
		{"one that goes meanwhile", []string{"user.a", "user.b"}, map[string]string{"user.b": "2"}, "user.b", false},
		{"as large as one may be", []string{"user.a"}, map[string]string{"user.a": all[len("user.a"):]}, "user.a", false},
		{"one byte more", []string{"user.a", "user.b"}, map[string]string{"user.a": all[len("user.a")-1:], "user.b": "2"}, "user.b", true},
		{"two that are too large together", []string{"user.a", "user.b"}, map[string]string{"user.a": half, "user.b": half}, "user.a", true},
		{"names without end", []string{"user.a", strings.Repeat("user."+half+"\x00", 10)}, map[string]string{"user.a": "1"}, "", true},
	} {
		got, more := fake(tt.names, tt.values).read()
		size := 0
		var found []string
		for name, value := range got {
			found, size = append(found, name), size+len(name)+len(value)
		}
		if strings.Join(found, " ") != tt.want || more != tt.more || size > job.MaxAttributeBytes {
			t.Errorf("%s: %q of %d bytes, %v", tt.name, found, size, more)
		}
	}
}

// TestReadsNoLink: code may put a link in the place of a file between two system calls. The attributes of its target are not read.
func TestReadsNoLink(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir, err := os.Open(top)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := errors.Join(os.WriteFile(top+"/secret", nil, 0o600), os.Symlink(top+"/secret", top+"/link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(top+"/secret", "user.secret", []byte("1"), 0); err != nil {
		t.Skipf("the file system has no attributes: %v", err)
	}
	if all, _ := ofChild(dir, "secret").read(); len(all) != 1 {
		t.Errorf("of the file: %v", all)
	}
	if all, more := ofChild(dir, "link").read(); len(all) > 0 || more {
		t.Errorf("of a link: %v", all)
	}
	link, err := openIn(dir, "link", unix.O_PATH|unix.O_NOFOLLOW, unix.RESOLVE_BENEATH)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	if all, more := ofFile(link).read(); len(all) > 0 || more {
		t.Errorf("of a link that was opened: %v", all)
	}
}
