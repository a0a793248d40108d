package app

import (
	"fmt"
	"log/slog"

	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/packages"
)

// startPackages makes what installs packages for the pool; nil if this runner installs none.
func (s *shared) startPackages(pool *interpreter.Pool) (*packages.Manager, error) {
	if !s.cfg.InstallsPackages() {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	if _, err := s.cfg.Installer(); err != nil && s.cfg.PackageLimits().Allowed {
		s.log.Warn("executions with packages will fail, because this machine has no installer of packages", slog.Any("err", err), slog.String("advice", config.InstallerAdvice))
	}
	m, err := packages.New(pool, packages.Config{
		UV: s.cfg.UV, Index: string(s.cfg.PackageIndex), Hosts: s.cfg.PackageFileHosts(), Sdist: s.cfg.PackagesSdist, Block: s.cfg.BlockedPackages(), Preload: s.cfg.PreloadedOfSets(), MaxBytes: s.cfg.MaxPackagesBytes, DiskBytes: s.cfg.PackagesDiskBytes, StoreBytes: s.cfg.PackagesStoreBytes,
		Timeout: s.cfg.PackagesTimeout, Blobs: countedBlobs{s.blobs, s.metrics}, Records: s.store, Dir: s.cfg.WorkDir, Log: s.log,
	})
	if err != nil {
		return nil, fmt.Errorf("packages (KAA_PACKAGES, KAA_WORK_DIR): %w", err)
	}
	return m, nil
}
