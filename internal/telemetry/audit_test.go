package telemetry_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kaa-run/kaa/internal/telemetry"
	"github.com/kaa-run/kaa/internal/testenv"
)

// auditTo returns an audit log in a file, and the process's log.
func auditTo(t *testing.T, path string) (audit *slog.Logger, end func(), log *testenv.Buffer) {
	t.Helper()
	log = new(testenv.Buffer)
	audit, end, err := telemetry.NewAudit(path, log, telemetry.LogJSON, slog.New(slog.NewJSONHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	return audit, end, log
}

func content(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// TestAuditFile: lines follow the name of the file through every kind of rotation.
func TestAuditFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit")
	audit, end, log := auditTo(t, path)
	say := func(what string) {
		t.Helper()
		audit.Info("audit", slog.String("what", what))
		testenv.Eventually(t, what, func() bool { return strings.Contains(content(path), what) })
	}
	say("first")
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	say("renamed")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	say("removed")
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	say("truncated")
	audit.Info("audit", slog.String("what", "a\nb"))
	end()
	var line map[string]any
	lines := strings.Split(strings.TrimSpace(content(path)), "\n")
	if err := json.Unmarshal([]byte(lines[1]), &line); err != nil || len(lines) != 2 || line["what"] != "a\nb" || line["time"] == nil {
		t.Errorf("%v %q", err, lines)
	}
	if !strings.Contains(content(path+".1"), "first") || log.String() != "" {
		t.Errorf("%s%s", content(path+".1"), log)
	}
	audit.Info("audit", slog.String("what", "late"))
	if !strings.Contains(log.String(), "late") {
		t.Error("a line after the end is lost")
	}
}

// TestAuditFileThatFails: a file that does not take lines is loud, and the lines are in the log. The file is written
// again once it can be.
func TestAuditFileThatFails(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "dir")
	path := filepath.Join(dir, "audit")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	audit, _, log := auditTo(t, path)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	audit.Info("audit", slog.String("what", "kept"))
	testenv.Eventually(t, "the log says so, and has the line", func() bool {
		return strings.Contains(log.String(), "cannot be written") && strings.Contains(log.String(), "kept")
	})
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	audit.Info("audit", slog.String("what", "again"))
	testenv.Eventually(t, "the file is written", func() bool { return strings.Contains(content(path), "again") })
	full, _, log := auditTo(t, "/dev/full")
	full.Info("audit", slog.String("what", "on a full disk"))
	testenv.Eventually(t, "the log has the line that the disk does not take", func() bool {
		return strings.Contains(log.String(), "no space left") && strings.Contains(log.String(), "on a full disk")
	})
}

// TestAuditPlaces: what cannot be a file of the audit log is refused at once, also a pipe that nobody reads. In the log, lines
// have any level's place.
func TestAuditPlaces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "none", "audit"), pipe} {
		if _, _, err := telemetry.NewAudit(path, nil, telemetry.LogJSON, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s is taken", path)
		}
	}
	if audit, _, err := telemetry.NewAudit(telemetry.AuditOff, nil, telemetry.LogJSON, nil); audit != nil || err != nil {
		t.Errorf("off: %v", err)
	}
	var out bytes.Buffer
	audit, end, err := telemetry.NewAudit(telemetry.AuditLog, &out, telemetry.LogJSON, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	audit.Info("audit")
	end()
	if !strings.Contains(out.String(), `"msg":"audit"`) {
		t.Errorf("%q", out.String())
	}
}
