package packages

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
)

// Runners share sets: the files of a set are an archive in the blob store, and its record has the digest of the archive. So a
// runner uses no archive but the one that a runner has written. One runner at a time installs a set.

// Blobs is the store in which runners share sets.
type Blobs interface {
	Put(ctx context.Context, key string, content io.Reader) (int64, error)
	Open(ctx context.Context, key string) (io.ReadSeekCloser, error)
	Delete(ctx context.Context, keys ...string) error
}

// Records is what runners know of each other's sets.
type Records interface {
	// PackageBuild returns what a set is for one kind of runner. job.ErrNotFound: no runner has shared it.
	PackageBuild(ctx context.Context, set, kind string) (job.PackageBuild, error)
	SavePackageBuild(ctx context.Context, set, kind string, b job.PackageBuild) error
	// UsePackageBuild says that a runner has taken a set. EvictPackageBuilds drops those that were not used for the longest time until the archives of
	// all take at most that many bytes, and returns the keys of their blobs.
	UsePackageBuild(ctx context.Context, set string) error
	EvictPackageBuilds(ctx context.Context, most int64) ([]string, error)
	// TakeInstallation reports whether the caller is the one that installs a set. KeepInstallation prolongs that, and tells callers how far it is.
	// AwaitInstallation tells callers that a runner will, if none does so far.
	TakeInstallation(ctx context.Context, set string, lease time.Duration) (bool, error)
	KeepInstallation(ctx context.Context, set string, now job.Installation, lease time.Duration) error
	LeaveInstallation(ctx context.Context, set string) error
	AwaitInstallation(ctx context.Context, set string, lease time.Duration) error
}

const (
	// archiveVersion changes with the form of archives.
	archiveVersion = 1
	// installLease is how long a runner that has died keeps others from an installation. installLook is the period in which others look.
	installLease, installLook = 30 * time.Second, 500 * time.Millisecond
)

// errPoisoned: an archive is not the one that its record describes.
var errPoisoned = errors.New("the archive is not the one that was written")

// kindOf returns what runners that share sets have in common: their Python, their processor and their system, the index and what
// may be installed. So a name that is blocked later is not in a set that was installed before.
func (m *Manager) kindOf(runtimeName string) (kind, version string, err error) {
	version, err = m.pool.InterpreterVersion(runtimeName)
	if err != nil {
		return "", "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d\n%s\n%s\n%s\n%t\n%q\n", archiveVersion, version, runtime.GOARCH, m.index.inside(), m.cfg.Sdist, slices.Sorted(slices.Values(m.cfg.Block)))
	system, _ := os.ReadFile("/etc/os-release")
	h.Write(system)
	return hex.EncodeToString(h.Sum(nil))[:16], version, nil
}

// obtain returns the files of a set, in a new directory, which the caller removes: those that a runner has shared, or those of an
// installation. It waits for a place, and while another runner installs the set.
func (m *Manager) obtain(name string, p *place, requirements []string) (b built, shared bool, err error) {
	runtimeName, _ := job.SplitPackages(name)
	kind, version, err := m.kindOf(runtimeName)
	if err != nil {
		return b, false, err
	}
	refused := ""
	var mine *lease // nil while it is another runner's
	defer func() { mine.leave() }()
	defer m.places.leave(p)
	for {
		if err := m.enter(name, p); err != nil {
			return b, false, err
		}
		known, err := m.cfg.Records.PackageBuild(m.life, name, kind)
		switch {
		case err == nil && known.Archive != "" && known.Archive != refused:
			if mine == nil {
				mine, _ = m.takeLease(name) // for callers to see what it does; it needs no right to do that
			}
			if b, err = m.fetch(known, mine); err == nil {
				if err := m.cfg.Records.UsePackageBuild(m.life, name); err != nil {
					m.cfg.Log.Warn("the use of packages was not recorded", slog.String("packages", name), slog.Any("err", err))
				}
				return b, true, nil
			}
			if !errors.Is(err, job.ErrNoFile) {
				m.cfg.Log.Warn("packages were not taken from the blob store", slog.String("packages", name), slog.Any("err", err))
			}
			refusal, full := errors.AsType[*job.RefusedError](err)
			if err := b.remove(); err != nil {
				return built{}, false, err
			}
			if full && refusal.Code == job.FailPackagesDisk { // an installation takes more room
				return built{}, false, refusal
			}
			refused = known.Archive
			continue
		case mine != nil:
			b, err = m.installMine(name, kind, version, requirements, mine)
			if err == nil && refused != "" { // another one has taken its place
				_ = m.cfg.Blobs.Delete(m.life, refused) // it goes with its age otherwise
			}
			return b, false, err
		}
		mine, err = m.takeLease(name)
		if err != nil { // without the records each runner installs for itself
			m.cfg.Log.Warn("another runner may install the same packages", slog.String("packages", name), slog.Any("err", err))
			mine = m.newLease(name)
		}
		if mine != nil {
			continue // and look once more: a runner may have ended its installation since
		}
		m.places.leave(p)
		select {
		case <-time.After(installLook):
		case <-m.life.Done():
			return b, false, fmt.Errorf("install packages: %w", interpreter.ErrClosed)
		}
	}
}

// installMine installs a set while other runners wait, and shares it.
func (m *Manager) installMine(name, kind, version string, requirements []string, mine *lease) (b built, err error) {
	began := time.Now()
	runtimeName, _ := job.SplitPackages(name)
	if b, err = m.build(runtimeName, requirements, mine); err != nil {
		return b, err
	}
	mine.step(job.InstallStores)
	m.share(name, kind, job.PackageBuild{Python: version, Bytes: b.bytes, BuiltAt: time.Now().UTC(), Took: time.Since(began)}, b)
	return b, nil
}

// share puts a set into the blob store, for other runners. They install it themselves if that fails.
func (m *Manager) share(name, kind string, record job.PackageBuild, b built) {
	ctx, cancel := context.WithTimeout(m.life, m.cfg.Timeout)
	defer cancel()
	key := job.PackagesPrefix + kind + "-" + rand.Text()
	details, err := json.Marshal(job.PackageDetails{Lock: b.lockText, Log: b.log})
	if err == nil {
		_, err = m.cfg.Blobs.Put(ctx, key+".json", bytes.NewReader(details))
	}
	if err == nil {
		record.Details = key + ".json"
		record.SHA256, record.Packed, err = m.putArchive(ctx, key+".tar.zst", b.site)
	}
	if err == nil {
		record.Archive = key + ".tar.zst"
	}
	// Also without an archive: callers see then that there is the set.
	err = errors.Join(err, m.cfg.Records.SavePackageBuild(ctx, name, kind, record))
	if roomErr := m.makeStoreRoom(ctx); roomErr != nil && m.life.Err() == nil {
		m.cfg.Log.Warn("shared packages that are not used were not removed", slog.Any("err", roomErr))
	}
	if err != nil && m.life.Err() == nil {
		m.cfg.Log.Warn("packages are not shared, so other runners have to install them, too", slog.String("packages", name), slog.Any("err", err))
	}
}

// makeStoreRoom deletes shared sets that were not used for the longest time, until all are within the budget. A runner that reads one of them
// meanwhile installs it itself.
func (m *Manager) makeStoreRoom(ctx context.Context) error {
	blobs, err := m.cfg.Records.EvictPackageBuilds(ctx, m.cfg.StoreBytes)
	if len(blobs) > 0 {
		err = errors.Join(err, m.cfg.Blobs.Delete(ctx, blobs...))
	}
	return err
}

// putArchive writes the archive of a directory, and returns its digest and its bytes.
func (m *Manager) putArchive(ctx context.Context, key, dir string) (digest string, size int64, err error) {
	r, w := io.Pipe()
	sum := sha256.New()
	packed := make(chan struct{})
	go func() {
		defer close(packed)
		_ = w.CloseWithError(pack(io.MultiWriter(w, sum), dir))
	}()
	size, err = m.cfg.Blobs.Put(ctx, key, r)
	_ = r.CloseWithError(errors.New("the blob store takes no more"))
	<-packed
	return hex.EncodeToString(sum.Sum(nil)), size, err
}

// fetch unpacks a set that another runner has shared, in a new directory, which the caller removes. job.ErrNoFile: the blob store does not
// have it any more.
func (m *Manager) fetch(known job.PackageBuild, shown *lease) (b built, err error) {
	shown.step(job.InstallUnpacks)
	ctx, cancel := context.WithTimeoutCause(m.life, m.cfg.Timeout, errLate)
	defer cancel()
	content, err := m.cfg.Blobs.Open(ctx, known.Archive)
	if err != nil {
		return b, err
	}
	defer content.Close()
	stop := context.AfterFunc(ctx, func() { _ = content.Close() })
	defer stop()
	if b.dir, err = os.MkdirTemp(m.dir.Path, "install-"); err != nil {
		return b, diskRefusal(err)
	}
	b.site = filepath.Join(b.dir, siteDir)
	if err = os.Mkdir(b.site, 0o755); err != nil { //nolint:gosec // users of sandboxes read it
		return b, diskRefusal(err)
	}
	// What is unpacked is used only if the whole archive has its digest. One byte more than it has would show in that.
	sum := sha256.New()
	checked := io.TeeReader(io.LimitReader(shown.counted(content), known.Packed+1), sum)
	if b.bytes, err = m.unpack(checked, b.site); err == nil {
		_, err = io.Copy(io.Discard, checked)
	}
	if err != nil {
		return b, diskRefusal(err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != known.SHA256 {
		return b, fmt.Errorf("unpack packages: %w", errPoisoned)
	}
	return b, nil
}
