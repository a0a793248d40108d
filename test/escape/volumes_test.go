package escape_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// hostileTree makes entries that a snapshot must not follow, open, wait for, or fill a disk with.
const hostileTree = `
import os, subprocess
subprocess.run("chmod -R u+rwx . 2>/dev/null; rm -rf ./*; rm -rf ./?*", shell=True)
os.mkfifo("pipe")
os.symlink(%[1]q, "link"); os.symlink("/", "root"); os.symlink("loop", "loop"); os.symlink("/proc/self/environ", "environ"); os.symlink("../" * 50 + "etc", "up")
with open("sparse", "wb") as f:
    f.truncate(60 << 20); f.seek(30 << 20); f.write(b"x")
open(b"\xff\n\\", "w").write("odd")
os.makedirs("closed/in"); os.chmod("closed", 0)
open("mine", "w").write("mine"); os.chmod("mine", 0o6755)
for i in range(100): os.link("mine", "mine%%d" %% i)
`

// showTree prints all files of the working directory, and follows no link.
const showTree = `
import os, stat
for top, dirs, files in os.walk("."):
    for name in files:
        path = os.path.join(top, name)
        if stat.S_ISREG(os.lstat(path).st_mode) and os.lstat(path).st_size < 1 << 20: print(ascii(path), open(path, "rb").read(1000))
print(sorted(os.listdir())[:5], os.stat("mine").st_nlink if os.path.exists("mine") else "")
`

// TestVolumes: code makes a hostile tree and goes on to swap files and directories for links while the tree is saved at the end of its session. The
// next session has nothing of the outside in its files, and nothing there has changed, neither by the save nor by the restore.
func TestVolumes(t *testing.T) { //nolint:paralleltest // see TestSessionFiles
	for _, level := range testedLevels() { //nolint:paralleltest // see above
		t.Run(level, func(t *testing.T) {
			o := newOutside(t)
			k := startKaa(t, level, o.secret)
			for i := range 6 {
				var session struct {
					ID string `json:"id"`
				}
				if err := k.call(t.Context(), http.MethodPost, "/v1/sessions", map[string]any{"persist": "v"}, &session); err != nil {
					t.Fatal(err)
				}
				for _, code := range []string{showTree, fmt.Sprintf(hostileTree, o.dir), fmt.Sprintf(swapping, o.dir)} {
					r, err := k.execute(t.Context(), map[string]any{"sessionId": session.ID, "code": code})
					if err != nil || r.Status != "ok" {
						t.Errorf("%d: %v: %s", i, err, r)
					}
					for _, foreign := range []string{o.secret, "KAA_TEST_SECRET", "root:x:"} {
						if strings.Contains(r.Stdout+r.Stderr, foreign) {
							t.Errorf("%d: a file has the content of one outside: %s", i, clip(r.Stdout, 500))
						}
					}
				}
				if status := k.fetch(t, o, http.MethodDelete, "/v1/sessions/"+session.ID, ""); status != http.StatusOK {
					t.Errorf("%d: delete: %d", i, status)
				}
			}
			type description struct {
				SessionID, SavedAt, Error string
				Entries, Bytes            int
			}
			var volume description
			eventually(t, "the files are saved", func() string {
				volume = description{}
				if err := k.call(t.Context(), http.MethodGet, "/v1/volumes/v", nil, &volume); err != nil || volume.SessionID != "" {
					return fmt.Sprint(volume, err)
				}
				return ""
			})
			if volume.Error != "" || volume.Entries < 100 || volume.Bytes > 100_000 {
				t.Errorf("%+v", volume)
			}
			o.check(t)
		})
	}
}
