package job

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// PackageLimits say which packages a request may name.
type PackageLimits struct {
	// Allowed: requests may name packages at all.
	Allowed bool
	// Allow, if not empty, are the only names that requests may have. Block are names that no set may have, not even as a
	// dependency. Both are as PackageName writes them.
	Allow, Block []string
}

const (
	// maxPackages is the largest number of requirements of a request, and maxRequirement the length of one in bytes.
	maxPackages    = 100
	maxRequirement = 256
	// setDigits are the digits of the name of a set.
	setDigits = 32
	// maxPreload is the largest number of modules of a request that are imported ahead, and maxModule the length of one in bytes.
	maxPreload = 10
	maxModule  = 100
)

// PackagesPrefix begins the keys of sets of packages in the blob store. No job owns them. They are deleted after PackagesKept.
const (
	PackagesPrefix = "packages/"
	PackagesKept   = 7 * 24 * time.Hour
)

// PackageBuild is a set of packages that a runner has installed, as runners of the same kind share it.
type PackageBuild struct {
	// Archive and Details are keys in the blob store: of the files, which is empty if they could not be stored, and of a PackageDetails.
	Archive string `json:"archive,omitempty"`
	Details string `json:"details,omitempty"`
	// SHA256 and Packed are the digest and the bytes of the archive, Bytes those of the files.
	SHA256  string        `json:"sha256,omitempty"`
	Packed  int64         `json:"packed,omitempty"`
	Bytes   int64         `json:"bytes"`
	Python  string        `json:"python"`
	BuiltAt time.Time     `json:"builtAt"`
	Took    time.Duration `json:"took"`
}

// Installation is how far a runner is with the packages that jobs wait for.
type Installation struct {
	Step InstallStep `json:"step" enum:"waiting,resolving,installing,storing,unpacking" doc:"waiting: other installations of the runner are before it. resolving: the installer looks for versions that fit together. installing: it downloads the packages and unpacks them. storing: the runner stores them for other runners. unpacking: a runner has stored them, and this one unpacks them."`
	// Line is the last line of the installer.
	Line string `json:"line,omitempty" doc:"Last line of the installer."`
	// Bytes is what has come so far, with files that the installer removes at the end.
	Bytes int64 `json:"bytes,omitempty" doc:"Bytes on the disk of the runner so far, downloads among them."`
}

// InstallStep is a step of an installation.
type InstallStep string

// The steps of an installation, in their order. A runner that finds the set in the blob store takes the last one only.
const (
	InstallWaits    InstallStep = "waiting"
	InstallResolves InstallStep = "resolving"
	InstallInstalls InstallStep = "installing"
	InstallStores   InstallStep = "storing"
	InstallUnpacks  InstallStep = "unpacking"
)

// InstallationData is the data of a status event of a job that waits for its packages.
type InstallationData struct {
	Type         EventType    `json:"type"`
	State        State        `json:"state"`
	WaitsFor     Wait         `json:"waitsFor"`
	Installation Installation `json:"installation"`
}

// PackageDetails are the lock file of a set of packages, in the form of requirements.txt, and the output of the installer.
type PackageDetails struct {
	Lock string `json:"lock"`
	Log  string `json:"log"`
}

// setMark is between a runtime and a set of packages. No runtime's name has it.
const setMark = "@"

// preloadMark is between a set of packages and the modules that are imported ahead. No set has it.
const preloadMark = "+"

// moduleForm is the form of a module's name.
var moduleForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)

var (
	// requirementForm has the parts of a requirement: its name, its extras, its versions and its marker. They are those of PEP 508
	// without URLs.
	requirementForm = regexp.MustCompile(`^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[([A-Za-z0-9._,\s-]*)\])?\s*\(?([^;()]*)\)?\s*(?:;(.*))?$`)
	versionForm     = regexp.MustCompile(`^(?:===|~=|==|!=|<=|>=|<|>)[A-Za-z0-9.*+!_-]+$`)
	markerForm      = regexp.MustCompile(`^[A-Za-z0-9_ .'"<>=!()~*+-]+$`)
	nameSeparators  = regexp.MustCompile(`[-_.]+`)
)

// PackageName returns the form of a package's name in which names are compared (PEP 503).
func PackageName(name string) string {
	return strings.ToLower(nameSeparators.ReplaceAllString(name, "-"))
}

// named returns the packages of a request, or those that the header of its code names.
func (l Limits) named(v *validation, r Request) []string {
	if r.Packages != nil || !l.Packages.Allowed || r.SessionID != "" {
		return r.Packages
	}
	list, err := scriptPackages(r.Code)
	if err != nil {
		v.add("code", "has a header with dependencies that cannot be read; %v", err)
	}
	return list
}

// packages checks the requirements of a request, and returns them in the form that equal sets have in common.
func (l Limits) packages(v *validation, list []string) []string {
	switch {
	case len(list) == 0:
		return nil
	case !l.Packages.Allowed:
		v.add("packages", "this Kaa installs no packages; import what its runtimes have, or have the operator set KAA_PACKAGES=on")
		return nil
	case len(list) > maxPackages:
		v.add("packages", "has %d packages, the limit is %d", len(list), maxPackages)
		return nil
	}
	all := make([]string, 0, len(list))
	for i, text := range list {
		field := fmt.Sprintf("packages[%d]", i)
		name, requirement, why := readRequirement(text)
		switch {
		case why != "":
			v.add(field, "%s %s", quote(text), why)
		case len(l.Packages.Allow) > 0 && !slices.Contains(l.Packages.Allow, name):
			v.add(field, "%s is not one of the packages that this Kaa installs: %s", quote(name), strings.Join(l.Packages.Allow, ", "))
		case slices.Contains(l.Packages.Block, name):
			v.add(field, "%s is a package that this Kaa does not install; leave it out", quote(name))
		default:
			all = append(all, requirement)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// readRequirement returns the name of a requirement's package and the requirement in its common form, or why it is none.
func readRequirement(text string) (name, requirement, why string) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "", "", "is empty; name a package, such as requests or pandas==2.2.3"
	case len(text) > maxRequirement:
		return "", "", fmt.Sprintf("is %d bytes long, the limit is %d", len(text), maxRequirement)
	case strings.HasPrefix(text, "-"):
		return "", "", "is an option of an installer; name packages only"
	case strings.Contains(text, "@") || strings.Contains(text, "://"):
		return "", "", "names an address; only packages of the index can be installed"
	case strings.ContainsAny(text, "/\\"):
		return "", "", "is a path; only packages of the index can be installed"
	}
	parts := requirementForm.FindStringSubmatch(text)
	if parts == nil {
		return "", "", "is not a requirement; write it as name, name==1.2 or name[extra]>=1.2,<2"
	}
	name = PackageName(parts[1])
	requirement = name
	if extras := requirementList(parts[2], PackageName); len(extras) > 0 {
		requirement += "[" + strings.Join(extras, ",") + "]"
	}
	versions := requirementList(parts[3], func(s string) string { return strings.ReplaceAll(s, " ", "") })
	for _, version := range versions {
		if !versionForm.MatchString(version) {
			return "", "", fmt.Sprintf("has %s where a version belongs; write it as ==1.2, >=1.2 or ~=1.2", quote(version))
		}
	}
	requirement += strings.Join(versions, ",")
	if marker := strings.TrimSpace(parts[4]); marker != "" {
		if !markerForm.MatchString(marker) {
			return "", "", "has a marker with characters that no marker has"
		}
		requirement += " ; " + marker
	}
	return name, requirement, ""
}

// requirementList splits the parts of a requirement and sorts them.
func requirementList(text string, form func(string) string) []string {
	var all []string
	for part := range strings.SplitSeq(text, ",") {
		if part = form(strings.TrimSpace(part)); part != "" {
			all = append(all, part)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// WithPackages returns the name of a runtime with a set of packages, which travels in tasks in the place of the runtime's.
func WithPackages(runtime string, packages []string) string {
	if len(packages) == 0 {
		return runtime
	}
	sum := sha256.Sum256([]byte(strings.Join(packages, "\n")))
	return runtime + setMark + hex.EncodeToString(sum[:])[:setDigits]
}

// PackageSet returns the set of a list of valid requirements, which is the same for all lists that differ in order or form only.
func PackageSet(list []string) string {
	all := make([]string, len(list))
	for i, text := range list {
		_, all[i], _ = readRequirement(text)
	}
	slices.Sort(all)
	_, set := SplitPackages(WithPackages("", slices.Compact(all)))
	return set
}

// WithPreload returns the name of a runtime with a set of packages of which parked interpreters import modules ahead, in this order. It
// is another name for each list of modules and for each tenant, so their interpreters serve no other list and no other tenant.
func WithPreload(name string, modules []string, tenant string) string {
	if len(modules) == 0 {
		return name
	}
	sum := sha256.Sum256([]byte(tenant + "\n" + strings.Join(modules, "\n")))
	return name + preloadMark + hex.EncodeToString(sum[:])[:setDigits]
}

// WithoutPreload returns the name of a runtime with its set of packages, without that of modules to import ahead.
func WithoutPreload(name string) string {
	name, _, _ = strings.Cut(name, preloadMark)
	return name
}

// SplitPackages returns the runtime, which may be empty for the default one, and the set of packages, which is empty if there is none.
func SplitPackages(name string) (runtime, set string) {
	runtime, set, _ = strings.Cut(WithoutPreload(name), setMark)
	return runtime, set
}

// PackageSpec is what a set of packages is made of, and which modules parked interpreters with it import ahead.
type PackageSpec struct {
	Packages []string `json:"packages"`
	Preload  []string `json:"preload"`
	// Owner is the caller for whom it is; empty if the caller had no key. A runner divides its installations by it.
	Owner string `json:"-"`
}

// IsModule reports whether a text has the form of a module's name.
func IsModule(name string) bool { return moduleForm.MatchString(name) }

// preload checks the modules that a request has imported ahead.
func (l Limits) preload(v *validation, list, packages []string) []string {
	switch {
	case len(list) == 0:
		return nil
	case !l.Packages.Allowed:
		v.add("preload", "is for executions with packages, and this Kaa installs none; leave it out")
		return nil
	case len(packages) == 0:
		v.add("preload", "is for executions with packages; name them in packages, too, or leave it out")
		return nil
	case len(list) > maxPreload:
		v.add("preload", "has %d modules, the limit is %d", len(list), maxPreload)
		return nil
	}
	var all []string
	for i, name := range list {
		field := fmt.Sprintf("preload[%d]", i)
		switch {
		case len(name) > maxModule:
			v.add(field, "is %d bytes long, the limit is %d", len(name), maxModule)
		case !IsModule(name):
			v.add(field, "%s is not the name of a module, such as pandas or matplotlib.pyplot", quote(name))
		case !slices.Contains(all, name):
			all = append(all, name)
		}
	}
	return all
}

// PackageSet returns the set of the packages of a job; empty if it has none.
func (j *Job) PackageSet() string {
	_, set := SplitPackages(j.Runtime)
	return set
}

// PreparingError says that a job cannot begin before what it needs has been prepared on this runner. Done is closed then.
type PreparingError struct{ Done <-chan struct{} }

func (*PreparingError) Error() string { return "its packages are being installed" }

// Environment is a set of packages that a caller has had prepared.
type Environment struct {
	// ID is that of its set and its runtime. It is the same for each caller. A caller finds only the environments that it has prepared.
	ID string `json:"id"`
	// Runtime is a runtime with a set of packages: see WithPackages.
	Runtime  string   `json:"runtime"`
	Packages []string `json:"packages"`
	// Preload are modules that its job has imported ahead.
	Preload []string `json:"preload,omitempty"`
	// JobID is the job that prepares it.
	JobID     string    `json:"jobId"`
	CreatedAt time.Time `json:"createdAt"`
}

// EnvironmentID returns the id of the environment of a runtime with a set of packages.
func EnvironmentID(name string) string {
	runtime, set := SplitPackages(name)
	if runtime == "" {
		return set
	}
	return set + "." + runtime
}

// MaxEnvironments is the largest number of environments of a caller that are listed. The oldest make room.
const MaxEnvironments = 100

// ErrNoEnvironment means that the caller has prepared no such environment.
var ErrNoEnvironment = errors.New("environment not found")

// PackagesArgs are the arguments of OpPackages.
type PackagesArgs struct {
	Packages []string `json:"packages"`
}

// AddedPackages is its answer.
type AddedPackages struct {
	Packages []string `json:"packages"`
	// Path is the directory of the session that has them.
	Path string `json:"path"`
	// Bytes is what they take there; 0 if they were there before.
	Bytes int64 `json:"bytes"`
}

// AddedPath is the directory of a session in which a set of packages is that was added to it.
func AddedPath(set string) string { return "/tmp/.packages/" + set }

// CheckPackages returns requirements in the form that equal ones have in common. A ValidationError says what is wrong with them.
func (l Limits) CheckPackages(list []string) ([]string, error) {
	var v validation
	all := l.packages(&v, list)
	if len(list) == 0 {
		v.add("packages", "is empty; name packages, such as requests or pandas==2.2.3")
	}
	if len(v.fields) > 0 {
		return nil, &ValidationError{Fields: v.fields}
	}
	return all, nil
}
