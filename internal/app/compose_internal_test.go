package app

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app/config"
)

// TestComposeAddsUp: what callers may make the services of docker-compose.yml hold, all at once,
// fits the limits of their containers.
func TestComposeAddsUp(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]string{}
	var environ config.Environment
	for _, m := range regexp.MustCompile(`\$\{([A-Z_]+):-([^}]*)\}`).FindAllStringSubmatch(string(text), -1) {
		given[m[1]] = m[2]
		if strings.HasPrefix(m[1], "KAA_") {
			environ = environ.With(m[1], m[2])
		}
	}
	size := func(name string) int64 {
		digits := strings.TrimRight(given[name], "kmgb")
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			t.Fatalf("%s is %q", name, given[name])
		}
		return n << map[string]int{"": 0, "k": 10, "m": 20, "g": 30}[strings.TrimSuffix(given[name][len(digits):], "b")]
	}
	// docker-compose 1.29 makes text of a variable here, and then does not start the service.
	tasks := regexp.MustCompile(`(?m)^    pids_limit: (\d+)$`).FindAllStringSubmatch(string(text), -1)
	if len(tasks) != 3 || strings.Count(string(text), "pids_limit:") != 3 {
		t.Fatalf("these limits of tasks are numbers: %q; each of the three services needs one", tasks)
	}
	given["tasks of the runner"] = tasks[2][1]
	c, err := config.Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, sum, limit int64) {
		if sum > limit {
			t.Errorf("%s: %d do not fit into %d", what, sum, limit)
		}
	}
	const (
		mib           = 1 << 20
		perExecution  = 64 * mib // that the runner holds of output and results
		runnerItself  = 512 * mib
		runnerTasks   = 256
		apiItself     = 48 * mib
		bodyHeldTimes = 8
	)
	executions := int64(c.Concurrency + c.MaxSessions)
	check("memory of the runner", executions*(c.MaxQuota().MemoryBytes+perExecution)+runnerItself, size("RUNNER_MEM_LIMIT"))
	check("file systems of the runner", size("WORK_SIZE")+size("TMP_SIZE"), runnerItself)
	check("processes of the runner", executions*int64(c.MaxQuota().Processes)+runnerTasks, size("tasks of the runner"))

	limit := size("API_MEM_LIMIT")
	c.FitMemory(environ, limit)
	check("memory of the API", apiItself+bodyHeldTimes*c.BodyMemory+c.AnswerMemory, limit/100*goShare)

	// Rewriting its file, Redis has pages twice.
	check("memory of Redis", 2*size("REDIS_MAXMEMORY"), size("REDIS_MEM_LIMIT"))
}
