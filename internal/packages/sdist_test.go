package packages_test

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/packages"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/testenv"
)

// lookAround is a build script that tries what it should not be able to do, and puts what it found into its module.
const lookAround = `
import json, os, socket, subprocess, urllib.request, zipfile

def tries():
    found = {"env": sorted(os.environ.items()), "reached": [], "read": [], "written": [], "processes": []}
    for host, port in [("127.0.0.1", CANARY), ("169.254.169.254", 80), ("1.1.1.1", 53), ("127.0.0.1", 6379)]:
        try:
            socket.create_connection((host, port), timeout=3).close()
            found["reached"].append([host, port])
        except OSError:
            pass
    proxy = os.environ["http_proxy"]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
    for url in ["http://127.0.0.1:CANARY/", "http://169.254.169.254/latest/meta-data/", "https://pypi.org/simple/", "http://example.com/"]:
        try:
            opener.open(url, timeout=3)
            found["reached"].append(url)
        except OSError:
            pass
    for path in ["/etc/shadow", "DIR", "/root", "/home", "/proc/1/environ", "/var/run/docker.sock"]:
        try:
            found["read"] += [path + " " + name for name in os.listdir(path)] if os.path.isdir(path) else [path + str(len(open(path, "rb").read()))]
        except OSError:
            pass
    for path in ["/etc/x", "/usr/x", "/x", "DIR/x", "/packages/x", "/work/x"]:
        try:
            open(path, "w").close()
            found["written"].append(path)
        except OSError:
            pass
    for pid in os.listdir("/proc"):
        try:
            if pid.isdigit():
                found["processes"].append(open("/proc/%s/cmdline" % pid).read() + open("/proc/%s/environ" % pid).read())
        except OSError:
            pass
    subprocess.Popen(["sleep", "3000"], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # it ends with the installation
    return found

def links():
    # The lock file and the place of the set are links to what is the machine's, when the installer has ended.
    code = "import os, time\nwhile True:\n  for name in ['lock.txt', 'site']:\n    path = '/run/dir/' + name\n    try:\n      os.path.islink(path) or (os.rename(path, path + '.old'), os.symlink('/etc', path))\n    except OSError: pass"
    subprocess.Popen(["/usr/bin/env", "python3", "-c", code], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return {}

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = NAME + "-1-py3-none-any.whl"
    info = NAME + "-1.dist-info/"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as z:
        z.writestr(NAME + ".py", "found = " + repr(json.dumps(LOOK)))
        z.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: " + NAME + "\nVersion: 1\n")
        z.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr(info + "RECORD", "")
    return name
`

const buildsItself = "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n"

func sourceOf(name, script string) testenv.Wheel {
	return testenv.Wheel{Name: name, Version: "1", Sdist: true, Files: map[string]string{
		"pyproject.toml": buildsItself, "backend.py": strings.NewReplacer("NAME", `"`+name+`"`, "CANARY", "9").Replace(script),
	}}
}

// TestSourceDistributions: with Sdist, build scripts run in the sandbox of the installation, and find nothing there.
func TestSourceDistributions(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	canary, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // of a test
	if err != nil {
		t.Fatal(err)
	}
	defer canary.Close()
	_, port, _ := net.SplitHostPort(canary.Addr().String())
	index := testenv.PackageIndex(t, testenv.Wheel{Name: "alpha", Version: "1.0"})
	const secret = "hunter2-hunter2"
	index.Protect("kaa:" + secret)
	r := start(t, index, func(c *packages.Config) {
		c.Sdist, c.Index = true, strings.Replace(index.URL, "http://", "http://kaa:"+secret+"@", 1)
	})
	script := strings.NewReplacer("CANARY", port, "DIR", r.dir).Replace(lookAround)
	index.Add(t, sourceOf("quiet", strings.Replace(script, "LOOK", "{}", 1)), sourceOf("looks", strings.Replace(script, "LOOK", "tries()", 1)),
		sourceOf("links", strings.Replace(script, "LOOK", "links()", 1)))
	if _, err := r.prepare("alpha"); err != nil { // whose files are beside
		t.Fatal(err)
	}
	quiet, err := r.prepare("quiet")
	if err != nil {
		t.Fatal(err)
	}
	r.want(quiet, "import quiet; print(quiet.found)", "{}\n")
	looks, err := r.prepare("looks")
	if err != nil {
		t.Fatal(err)
	}
	r.lookedAround(looks, secret)
	if _, err := r.prepare("links"); err != nil && strings.Contains(err.Error(), "root:") {
		t.Errorf("the refusal shows a file of the machine: %v", err)
	}
	for _, b := range r.cfg.Records.(*records).all() {
		details, err := os.ReadFile(filepath.Join(r.blobDir, b.Details))
		if err != nil || strings.Contains(string(details), "root:") || strings.Contains(string(details), secret) {
			t.Errorf("what callers see: %v %s", err, details)
		}
	}
}

// lookedAround says what a build script has found.
func (r *runner) lookedAround(name, secret string) {
	r.tb.Helper()
	out := r.execute(name, "import looks; print(looks.found)").Stdout
	var found struct {
		Env                               [][2]string
		Reached, Read, Written, Processes []any
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		r.tb.Fatalf("%v: %s", err, out)
	}
	if len(found.Reached)+len(found.Written) > 0 || strings.Contains(out, secret) {
		r.tb.Errorf("a build script has reached %v and written %v: %s", found.Reached, found.Written, out)
	}
	if slices.ContainsFunc(found.Read, func(what any) bool {
		text, _ := what.(string)
		return strings.Contains(text, "set-") || strings.HasPrefix(text, "/etc/shadow")
	}) {
		r.tb.Errorf("a build script has read %v", found.Read)
	}
}

// TestInstallationAtBasic: without namespaces, too, an installation knows no password, and builds nothing.
func TestInstallationAtBasic(t *testing.T) {
	t.Parallel()
	index := testenv.PackageIndex(t, testenv.Wheel{Name: "alpha", Version: "1.0"}, sourceOf("quiet", strings.Replace(lookAround, "LOOK", "{}", 1)))
	index.Protect("kaa:hunter2-hunter2")
	r := startAt(t, index, func(c *interpreter.Config) { c.Sandbox, c.Size = sandbox.Basic, 1 }, func(c *packages.Config) {
		c.Sdist, c.Index = true, strings.Replace(index.URL, "http://", "http://kaa:hunter2-hunter2@", 1)
	})
	name, err := r.prepare("alpha")
	if err != nil {
		t.Fatal(err)
	}
	r.want(name, "import alpha; print(alpha.version)", "1.0\n")
	if _, err := r.prepare("quiet"); err == nil {
		t.Error("a build script ran without a strict sandbox")
	}
}
