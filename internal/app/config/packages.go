package config

import (
	"fmt"
	"net/url"
	"os/exec"
	"slices"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// PackageSets say whether and how packages are installed for executions.
type PackageSets struct {
	// Packages is on, off or auto: on if callers need a key.
	Packages string `env:"KAA_PACKAGES" envDefault:"auto"`
	UV       string `env:"KAA_UV" envDefault:"uv"`
	// PackageIndex may have a password.
	PackageIndex Secret `env:"KAA_PACKAGE_INDEX" envDefault:"https://pypi.org/simple"`
	// PackageHosts are those of the files of the index, besides its own.
	PackageHosts []string `env:"KAA_PACKAGE_HOSTS" envDefault:"files.pythonhosted.org"`
	// PackagesSdist: source distributions are built, too.
	PackagesSdist bool     `env:"KAA_PACKAGES_SDIST" envDefault:"false"`
	PackagesAllow []string `env:"KAA_PACKAGES_ALLOW"`
	PackagesBlock []string `env:"KAA_PACKAGES_BLOCK"`
	// PackagesPreload are modules that interpreters of sets import ahead.
	PackagesPreload []string `env:"KAA_PACKAGES_PRELOAD" envDefault:"numpy,pandas,scipy,matplotlib.pyplot,sklearn,polars,pyarrow,sympy,networkx,requests,httpx,pydantic,sqlalchemy"`
	// MaxPackagesBytes bounds a set, PackagesDiskBytes all sets of a runner.
	MaxPackagesBytes  int64 `env:"KAA_MAX_PACKAGES_BYTES" envDefault:"1073741824"`
	PackagesDiskBytes int64 `env:"KAA_PACKAGES_DISK_BYTES" envDefault:"4294967296"`
	// PackagesStoreBytes bounds the archives that runners share.
	PackagesStoreBytes int64         `env:"KAA_PACKAGES_STORE_BYTES" envDefault:"21474836480"`
	PackagesTimeout    time.Duration `env:"KAA_PACKAGES_TIMEOUT" envDefault:"5m"`
}

// The values of KAA_PACKAGES.
const (
	packagesOn, packagesOff, packagesAuto = "on", "off", "auto"
)

// PackageLimits are the bounds of the packages of a request.
func (c *Config) PackageLimits() job.PackageLimits {
	return job.PackageLimits{
		Allowed: c.Packages == packagesOn || c.Packages == packagesAuto && !c.Keyless(),
		Allow:   packageNames(c.PackagesAllow), Block: c.BlockedPackages(),
	}
}

// InstallsPackages says whether a runner installs packages. It need not know the keys of callers: the API asks for nothing that
// it has not allowed.
func (c *Config) InstallsPackages() bool { return c.Packages != packagesOff }

// InstallerAdvice is what to do on a machine without the installer of packages.
const InstallerAdvice = "install uv, set KAA_UV to its path, or refuse packages with KAA_PACKAGES=off"

// Installer is the program that installs packages.
func (c *Config) Installer() (path string, err error) {
	if path, err = exec.LookPath(c.UV); err != nil {
		return "", fmt.Errorf("KAA_UV: %w", err)
	}
	return path, nil
}

// BlockedPackages are the names that no set may have, in the form in which names are compared.
func (c *Config) BlockedPackages() []string { return packageNames(c.PackagesBlock) }

// PreloadedOfSets are modules that interpreters of sets of packages import ahead, where a set has them.
func (c *Config) PreloadedOfSets() []string { return trimmed(c.PackagesPreload) }

// PackageFileHosts are the hosts of the files of the index, besides its own.
func (c *Config) PackageFileHosts() []string { return trimmed(c.PackageHosts) }

func packageNames(list []string) []string {
	var names []string
	for _, name := range trimmed(list) {
		names = append(names, job.PackageName(name))
	}
	return names
}

func (p *PackageSets) check(bad func(format string, args ...any)) {
	if !slices.Contains([]string{packagesOn, packagesOff, packagesAuto}, p.Packages) {
		bad("KAA_PACKAGES is %q; use on, off or auto", p.Packages)
	}
	index, err := url.Parse(string(p.PackageIndex))
	if err != nil || index.Host == "" || index.Scheme != "https" && index.Scheme != "http" {
		bad("KAA_PACKAGE_INDEX must be https://host/path or http://host/path")
	}
	for _, host := range trimmed(p.PackageHosts) {
		if u, err := url.Parse("https://" + host); err != nil || u.Host != host {
			bad("KAA_PACKAGE_HOSTS has %q; name hosts, such as files.pythonhosted.org", host)
		}
	}
	for _, name := range trimmed(p.PackagesPreload) {
		if !job.IsModule(name) {
			bad("KAA_PACKAGES_PRELOAD has %q; name modules, such as numpy or matplotlib.pyplot", name)
		}
	}
	for name, v := range map[string]int64{
		"KAA_MAX_PACKAGES_BYTES": p.MaxPackagesBytes, "KAA_PACKAGES_DISK_BYTES": p.PackagesDiskBytes, "KAA_PACKAGES_STORE_BYTES": p.PackagesStoreBytes, "KAA_PACKAGES_TIMEOUT": int64(p.PackagesTimeout),
	} {
		if v <= 0 {
			bad("%s must be above 0", name)
		}
	}
	if p.PackagesDiskBytes < p.MaxPackagesBytes {
		bad("KAA_PACKAGES_DISK_BYTES (%d) is below KAA_MAX_PACKAGES_BYTES (%d)", p.PackagesDiskBytes, p.MaxPackagesBytes)
	}
}
