package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

// byDefault is the profile of a login that names none.
const byDefault = "default"

// noProfile is a name with which the profiles are left out.
const noProfile = "none"

// profiles is the file that `kaa login` writes.
type profiles struct {
	// Current is the profile that is used if none is named.
	Current  string             `json:"current"`
	Profiles map[string]profile `json:"profiles"`
}

// profile is the address of a Kaa and a key of it.
type profile struct {
	URL string `json:"url"`
	Key string `json:"key,omitempty"`
}

// profileFile returns the path of the file with the profiles: KAA_CONFIG, or kaa/config.json in the user's directory of configurations.
func profileFile(environ app.Environment) (string, error) {
	if path := environ.Get("KAA_CONFIG"); path != "" {
		return path, nil
	}
	dir := environ.Get("XDG_CONFIG_HOME")
	if dir == "" {
		home := environ.Get("HOME")
		if home == "" {
			return "", errors.New("neither HOME nor KAA_CONFIG is set, so there is no place for profiles")
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "kaa", "config.json"), nil
}

// readProfiles returns the profiles; none if there is no file.
func readProfiles(environ app.Environment) (profiles, error) {
	p := profiles{Profiles: map[string]profile{}}
	path, err := profileFile(environ)
	if err != nil {
		return p, nil //nolint:nilerr // without a place there are none
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("read profiles: %w", err)
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return p, fmt.Errorf("%s is no file of profiles: %w; kaa login writes it anew after it is removed", path, err)
	}
	if p.Profiles == nil {
		p.Profiles = map[string]profile{}
	}
	return p, nil
}

// write replaces the file in one step. It has keys, so only its owner may read it.
func (p profiles) write(environ app.Environment) error {
	path, err := profileFile(environ)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("encode profiles: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep profiles: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".config-*") // with mode 0600
	if err != nil {
		return fmt.Errorf("keep profiles: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	if err = cmp.Or(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("keep profiles: %w", err)
	}
	return nil
}

// isSet reports whether a variable is set, perhaps to nothing.
func isSet(environ app.Environment, name string) bool {
	return slices.ContainsFunc(environ, func(e string) bool { return strings.HasPrefix(e, name+"=") })
}

// WithProfile returns the variables with the address and the key of a profile: name, KAA_PROFILE, or the current one. KAA_URL wins over a
// profile, also if it is empty, and a key of a profile goes to its own address only.
func WithProfile(environ app.Environment, name string) (app.Environment, error) {
	if isSet(environ, "KAA_URL") {
		if name != "" && name != noProfile {
			return nil, errors.New("KAA_URL is set, and wins over --profile: unset it, or leave --profile out")
		}
		return environ, nil
	}
	if name = cmp.Or(name, environ.Get("KAA_PROFILE")); name == noProfile {
		return environ, nil
	}
	all, err := readProfiles(environ)
	if err != nil {
		return nil, err
	}
	asked := name != ""
	p, found := all.Profiles[cmp.Or(name, all.Current)]
	switch {
	case !found && asked:
		return nil, fmt.Errorf("there is no profile %q, but %s; kaa login --profile %s URL makes it", name, cmp.Or(strings.Join(slices.Sorted(maps.Keys(all.Profiles)), ", "), "none at all"), name)
	case !found:
		return environ, nil
	}
	environ = environ.With("KAA_URL", p.URL)
	if !isSet(environ, "KAA_API_KEY") {
		environ = environ.With("KAA_API_KEY", p.Key)
	}
	return environ, nil
}

// Login keeps an address and a key as a profile, after it has tried them. The key is KAA_API_KEY, or a line of stdin, which may be empty.
func Login(ctx context.Context, p app.Process, address, name string, stdin *os.File) error {
	name = cmp.Or(name, byDefault)
	if name == noProfile {
		return fmt.Errorf("a profile cannot have the name %s", noProfile)
	}
	if address = cmp.Or(address, p.Environ.Get("KAA_URL")); address == "" {
		return errors.New("name the address: kaa login http://127.0.0.1:8080")
	}
	key := p.Environ.Get("KAA_API_KEY")
	if !isSet(p.Environ, "KAA_API_KEY") {
		var err error
		if key, err = askKey(p, stdin); err != nil {
			return err
		}
	}
	c := client.New(address, key)
	runtimes, err := c.ListRuntimes(ctx)
	if err != nil && !client.IsProblem(err, "scope_missing") { // no operation is for all keys, but a Kaa that names a scope knows the key
		return fmt.Errorf("nothing is kept: %w", err)
	}
	all, err := readProfiles(p.Environ)
	if err != nil {
		return err
	}
	all.Profiles[name], all.Current = profile{c.URL(), key}, name
	if err := all.write(p.Environ); err != nil {
		return err
	}
	return show(p.Stdout, map[string]any{"profile": name, "url": c.URL(), "runtimes": runtimes.Runtimes},
		fmt.Sprintf("%s is the profile %s, and the current one", c.URL(), name))
}

// askKey reads a key, without showing it if stdin is a terminal.
func askKey(p app.Process, stdin *os.File) (string, error) {
	if windowOf(stdin) != nil {
		_, _ = fmt.Fprint(p.Stderr, "API key (empty if the Kaa asks for none): ")
		defer func() { _, _ = fmt.Fprintln(p.Stderr) }()
		defer hideKeys(stdin)()
	}
	line, err := bufio.NewReader(stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the key: %w", err)
	}
	return strings.TrimSpace(line), nil
}

// Logout removes a profile, or the current one.
func Logout(p app.Process, name string) error {
	all, err := readProfiles(p.Environ)
	if err != nil {
		return err
	}
	name = cmp.Or(name, p.Environ.Get("KAA_PROFILE"), all.Current)
	if _, found := all.Profiles[name]; !found {
		return fmt.Errorf("there is no profile %q", name)
	}
	delete(all.Profiles, name)
	if all.Current == name {
		all.Current = ""
	}
	if err := all.write(p.Environ); err != nil {
		return err
	}
	return show(p.Stdout, map[string]string{"removed": name}, "the profile "+name+" is removed")
}

// ListProfiles prints the profiles, without their keys.
func ListProfiles(p app.Process) error {
	all, err := readProfiles(p.Environ)
	if err != nil {
		return err
	}
	type entry struct {
		Name    string `json:"name"`
		URL     string `json:"url"`
		Key     bool   `json:"key"`
		Current bool   `json:"current"`
	}
	var entries []entry
	for _, name := range slices.Sorted(maps.Keys(all.Profiles)) {
		one := all.Profiles[name]
		entries = append(entries, entry{name, one.URL, one.Key != "", name == all.Current})
	}
	mark := func(b bool) string { return map[bool]string{true: "yes", false: "-"}[b] }
	return list(p.Stdout, "PROFILE URL KEY CURRENT", entries, func(e entry) []string {
		return []string{e.Name, e.URL, mark(e.Key), mark(e.Current)}
	})
}

// UseProfile makes a profile the current one.
func UseProfile(p app.Process, name string) error {
	all, err := readProfiles(p.Environ)
	if err != nil {
		return err
	}
	one, found := all.Profiles[name]
	if !found {
		return fmt.Errorf("there is no profile %q; kaa profiles lists them", name)
	}
	all.Current = name
	if err := all.write(p.Environ); err != nil {
		return err
	}
	return show(p.Stdout, map[string]string{"profile": name, "url": one.URL}, name+" is the current profile: "+one.URL)
}
