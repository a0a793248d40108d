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
	const settle, span = 5 * time.Second, 30 * time.Second
	<-time.After(settle) // the start itself costs more
	rdb.ConfigResetStat(t.Context())
	before := testenv.Commands(t.Context(), rdb)
	<-time.After(span)
	if perSecond := float64(testenv.Commands(t.Context(), rdb)-before) / span.Seconds(); perSecond > 5 {
		t.Errorf("%.2f commands a second:\n%s", perSecond, rdb.Info(t.Context(), "commandstats").Val())
	} else {
		t.Logf("%.2f commands a second", perSecond)
	}
}
