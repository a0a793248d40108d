package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
)

const listFiles = "import os; print(*sorted(os.listdir()))"

// TestVolumeMoments: files are saved at a pause, at a restart, and at the end of a session, also if its interpreter crashes.
func TestVolumeMoments(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_VOLUME_SAVE_EVERY=1h")
	look := func() answer { return k.call(http.MethodGet, volumesPath+"/v", nil) }
	do := func(session, what string) answer {
		return k.call(http.MethodPost, sessionsPath+"/"+session+"/"+what, fields{})
	}
	one := k.persistent("v")
	k.in(one, "open('a', 'w').write('1')")
	if a := look(); a.str("savedAt") != "" || a.str("sessionId") != one {
		t.Errorf("before the first save: %s", a.raw)
	}
	if a := do(one, "pause"); a.status != http.StatusOK || a.str("persist.savedAt") == "" {
		t.Errorf("pause: %d %s", a.status, a.raw)
	}
	saved := look()
	do(one, "resume")
	if a := do(one, "pause"); a.status != http.StatusOK || look().str("savedAt") != saved.str("savedAt") {
		t.Errorf("files that have not changed are saved again: %s", a.raw)
	}
	do(one, "resume")
	k.in(one, "x = 1; open('b', 'w').write('2')")
	if a := do(one, "restart"); a.status != http.StatusOK {
		t.Errorf("restart: %d %s", a.status, a.raw)
	}
	if out := k.in(one, listFiles+"; print('x' in globals())"); out != "a b\nFalse\n" {
		t.Errorf("after a restart: %q", out)
	}
	if a := k.execute(fields{"sessionId": one, "code": "open('c', 'w').write('3')"}); len(listed(a, "files")) != 1 {
		t.Errorf("restored files are reported as new ones: %s", a.raw)
	}
	forks := do(one, "fork")
	fork := forks.body["sessions"].([]any)[0].(map[string]any)["id"].(string)
	if out := k.in(fork, "open('fork', 'w').write('4'); "+listFiles); out != "a b c fork\n" || strings.Contains(forks.raw, `"persist"`) {
		t.Errorf("a fork: %q %s", out, forks.raw)
	}
	k.end(fork)
	k.execute(fields{"sessionId": one, "code": "import os; open('d', 'w').write('5'); os._exit(1)"})
	k.wantEnded(one, "crashed")

	named := func() answer { return k.call(http.MethodPut, namesPath+"chat", fields{"persist": "v"}) }
	two := named()
	if out := k.in(two.str("id"), listFiles); two.status != http.StatusCreated || out != "a b c d\n" {
		t.Errorf("after a crash, by name: %q %s", out, two.raw)
	}
	if a := named(); a.status != http.StatusOK || a.str("id") != two.str("id") || a.str("persist.name") != "v" {
		t.Errorf("the same name: %d %s", a.status, a.raw)
	}
	k.in(two.str("id"), "import random; open('big', 'wb').write(random.randbytes(300_000)); [os.remove(n) for n in 'abcd']")
	k.end(two.str("id"))
	small := k.persistent("v", fields{"limits": fields{"diskBytes": 65536}})
	for range 2 {
		if a := k.call(http.MethodPost, executePath, fields{"sessionId": small, "code": "1"}); a.status != http.StatusInsufficientStorage || a.str("code") != "disk_full" {
			t.Errorf("too large for the session: %d %s", a.status, a.raw)
		}
	}
	if a := k.call(http.MethodGet, sessionsPath+"/"+small+"/files", nil); a.status != http.StatusInsufficientStorage {
		t.Errorf("too large for the session, as its files are listed: %d %s", a.status, a.raw)
	}
	k.end(small)
	if out := k.in(k.persistent("v"), listFiles); out != "big\n" {
		t.Errorf("after a session that was too small: %q", out)
	}
}

// TestVolumeOfALostRunner: of a runner that is killed, the files are there as they were saved last.
func TestVolumeOfALostRunner(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_VOLUME_SAVE_EVERY=100ms")
	lost := k.spawnRunner()
	one := k.persistent("v")
	k.in(one, "open('a', 'w').write('1')")
	k.volume("v", func(a answer) bool { return a.str("entries") == "1" })
	k.in(one, "open('b', 'w').write('2')")
	k.volume("v", func(a answer) bool { return a.str("entries") == "2" })
	running := k.submit(fields{"code": "import time\nopen('c', 'w').write('3')\ntime.sleep(1000)", "timeout": 1200, "sessionId": one})
	k.volume("v", func(a answer) bool { return a.str("entries") == "3" }) // also while code runs
	if err := lost.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	k.run(app.RunRunner)
	k.await(running)
	a := k.call(http.MethodGet, sessionsPath+"/"+one, nil)
	if a.str("reason") != "runner_lost" || !strings.Contains(a.str("message"), `its files are kept as they were saved last (persist: "v")`) {
		t.Errorf("%s", a.raw)
	}
	if out := k.in(k.persistent("v"), listFiles); out != "a b c\n" {
		t.Errorf("files: %q", out)
	}
}

// TestVolumeWithoutRoom: files for which the key has no room are not saved, the records say so, and the snapshot before stays.
func TestVolumeWithoutRoom(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_MAX_STORED_FILE_BYTES_PER_KEY=1000000")
	one := k.persistent("v")
	k.in(one, "open('a', 'w').write('1')")
	pause := func() answer {
		return k.call(http.MethodPost, sessionsPath+"/"+one+"/pause", fields{"autoResume": true})
	}
	before := pause().str("persist.savedAt")
	k.in(one, "import random; f = open('big', 'wb'); f.write(random.randbytes(3_000_000)); f.flush()")
	if a := pause(); a.status != http.StatusOK || !strings.Contains(a.str("persist.error"), "the limit is 1000000; delete volumes") || a.str("persist.savedAt") != before {
		t.Errorf("pause: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodPost, sessionsPath+"/"+one+"/restart", fields{}); a.status != http.StatusTooManyRequests || a.str("code") != "key_file_storage_full" {
		t.Errorf("restart: %d %s", a.status, a.raw)
	}
	k.end(one)
	a := k.volume("v", func(a answer) bool { return a.str("sessionId") == "" })
	if a.str("savedAt") != before || a.str("error") == "" || a.str("errorAt") == "" {
		t.Errorf("volume: %s", a.raw)
	}
	if a := k.call(http.MethodGet, sessionsPath+"/"+one, nil); !strings.Contains(a.str("message"), "but without the last changes") {
		t.Errorf("session: %s", a.raw)
	}
	two := k.persistent("v")
	if out := k.in(two, listFiles); out != "a\n" {
		t.Errorf("files: %q", out)
	}
	k.in(two, "open('b', 'w').write('2')")
	k.end(two)
	k.volume("v", func(a answer) bool {
		return a.str("sessionId") == "" && a.str("entries") == "2" && a.str("error") == ""
	})
}
