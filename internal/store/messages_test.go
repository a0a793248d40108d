package store_test

import (
	"fmt"
	"strings"

	"github.com/kaa-run/kaa/internal/job"
)

// messages writes down what a runner is told.
type messages chan string

func (m messages) Cancelled(id string)          { m <- "cancelled " + id }
func (m messages) Watched(id string)            { m <- "watched " + id }
func (m messages) SessionReady(id, lane string) { m <- strings.TrimSpace("ready " + id + " " + lane) }
func (m messages) SessionClosed(id string)      { m <- "closed " + id }
func (m messages) SessionClosing(id string)     { m <- "closing " + id }
func (m messages) DrainChanged()                { m <- "drain" }
func (m messages) Answered(a job.Answer)        { m <- fmt.Sprintf("answered %+v", a) }
func (m messages) Replied(p job.Reply)          { m <- fmt.Sprintf("replied %+v", p) }
func (m messages) CommandTold(id string)        { m <- "command " + id }
