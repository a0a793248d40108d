package app_test

import (
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestIdleLoad checks what an idle runner costs Redis: at most 5 commands a
// second, together with an idle API, and counting those inside scripts.
func TestIdleLoad(t *testing.T) {
	testenv.Tricky(t)
	t.Parallel()
	own := testenv.OwnRedis(t)
	k := prepare(t, &own.RedisDB)
	k.run(app.RunAPI)
	k.run(app.RunRunner)
	rdb := own.Client(t)
	const settle, span, bound, windows = 5 * time.Second, 30 * time.Second, 5, 3
	<-time.After(settle) // the start itself costs more
	// A busy machine adds commands to a window, such as those of connections that are opened anew; it takes none away.
	for window := range windows {
		rdb.ConfigResetStat(t.Context())
		before, began := testenv.Commands(t.Context(), rdb), time.Now()
		<-time.After(span)
		perSecond := float64(testenv.Commands(t.Context(), rdb)-before) / time.Since(began).Seconds()
		t.Logf("%.2f commands a second", perSecond)
		if perSecond <= bound {
			return
		}
		if window == windows-1 {
			t.Errorf("more than %d commands a second:\n%s", bound, rdb.Info(t.Context(), "commandstats").Val())
		}
	}
}
