package access

import (
	"errors"
	"fmt"
	"time"

	"github.com/kaa-run/kaa/internal/jsonfile"
)

// format is that of the file of keys: about 200,000 keys.
//
//nolint:gochecknoglobals // constant
var format = jsonfile.Format{
	Most: 64 << 20, Fields: "a key has id, tenant, name, scopes, created, expires, sha256 and limits, and limits have " +
		"rate, burst, concurrency, depth, sessions, ceilings, runtimes and egress",
}

// ReadFile reads the keys that a file lists: {"keys": [...]}.
func ReadFile(path string) ([]Key, error) {
	var file struct {
		Keys *[]entry `json:"keys"`
	}
	if err := format.Read(path, &file); err != nil {
		return nil, fmt.Errorf("keys file: %w", err)
	}
	if file.Keys == nil {
		return nil, fmt.Errorf(`keys file: %s: want {"keys": [{"id", "tenant", "sha256", ...}]}`, path)
	}
	keys, err := checked(*file.Keys)
	if err != nil {
		return nil, fmt.Errorf("keys file: %s: %w", path, err)
	}
	return keys, nil
}

// checked returns the keys of entries, which are different.
func checked(entries []entry) ([]Key, error) {
	ids, sums := map[string]int{}, map[string]int{}
	keys := make([]Key, len(entries))
	for i, e := range entries {
		k, err := e.key()
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		if other, taken := ids[k.ID]; taken {
			return nil, fmt.Errorf("key %d: id %q is that of key %d, too", i+1, k.ID, other)
		}
		if other, taken := sums[k.SHA256]; taken {
			return nil, fmt.Errorf("key %d: its sha256 is that of key %d, too", i+1, other)
		}
		ids[k.ID], sums[k.SHA256], keys[i] = i+1, i+1, k
	}
	return keys, nil
}

// entry is a key in the file. Its expiry hides the key's, in which the year 1 means never.
type entry struct {
	Key
	Expires *time.Time `json:"expires"`
}

func (e entry) key() (Key, error) {
	k := e.Key
	if e.Expires != nil {
		k.Expires = *e.Expires
		if k.Expires.IsZero() {
			return k, &FieldError{"expires", errors.New("is a time long ago; leave it out for a key without an end")}
		}
	}
	return k, k.Check()
}
