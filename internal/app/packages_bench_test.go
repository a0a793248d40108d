package app_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// BenchmarkPackages measures a set of ten packages: its first use by 100 jobs at once, its use when it is installed beside an execution
// without packages, and its first use on another runner, which has no index.
func BenchmarkPackages(b *testing.B) {
	var first, plain, again, other []time.Duration
	for b.Loop() {
		index := testenv.PackageIndex(b)
		var names, imports []string
		for i := range 10 {
			name := fmt.Sprintf("package%d", i)
			names, imports = append(names, name), append(imports, "import "+name)
			w := testenv.Wheel{Name: name, Version: "1", Files: map[string]string{name + ".py": "version = 1", name + ".txt": strings.Repeat("some text\n", 1<<15)}}
			if i > 0 {
				w.Requires = []string{fmt.Sprintf("package%d", i-1)}
			}
			index.Add(b, w)
		}
		k := prepare(b, testenv.Redis(b), "KAA_PACKAGES=on", "KAA_UV="+testenv.UV(b), "KAA_PACKAGE_INDEX="+index.URL, "KAA_LOG_LEVEL=INFO")
		addr, _ := k.run(app.RunAPI)
		k.url = "http://" + addr.String()
		_, stop := k.run(app.RunRunner)
		code := strings.Join(imports, "\n") + "\nprint(package9.version)"
		at := time.Now()
		var jobs []string
		for range 100 {
			jobs = append(jobs, k.submit(fields{"code": code, "packages": names}))
		}
		for _, id := range jobs {
			if a := k.await(id); a.str("result.stdout") != "1\n" {
				b.Fatal(a.raw)
			}
		}
		first = append(first, time.Since(at))
		measure := func(body fields, want string) time.Duration {
			<-time.After(idle)
			at := time.Now()
			if a := k.execute(body); a.str("stdout") != want {
				b.Fatal(a.raw)
			}
			return time.Since(at)
		}
		for range 30 {
			plain = append(plain, measure(fields{"code": "print(1)"}, "1\n"))
			again = append(again, measure(fields{"code": "print(1)", "packages": names}, "1\n"))
		}
		if n := strings.Count(k.logs.String(), "packages are installed"); n != 1 {
			b.Errorf("%d installations", n)
		}
		if err := stop(); err != nil {
			b.Fatal(err)
		}
		release := index.Hold() // it answers nothing any more
		k.run(app.RunRunner)
		other = append(other, measure(fields{"code": code, "packages": names}, "1\n"))
		release()
	}
	report(b, "100-jobs-", first)
	report(b, "plain-", plain)
	report(b, "with-set-", again)
	report(b, "other-runner-", other)
	slices.Sort(plain)
	slices.Sort(again)
	b.ReportMetric(float64(again[len(again)/2])/float64(plain[len(plain)/2]), "with-set/plain")
}
